"""MLflow, as a view of what the pipeline does; the only module that imports it.

DVC's metric files are the truth. One parent run stands for an experiment and has a nested run per
executed training stage, whichever way the stage was started: ``dvc repro``, ``dvc exp run`` in the
workspace, ``--temp`` or the queue. A cell of a study is a run of its own, in an experiment named as
the study (``study_run``). The store is $MLFLOW_TRACKING_URI when that is set, else
``mlflow.db`` and ``mlartifacts/`` under DVC_ROOT (the original checkout, also in a temporary copy).

Params keep the names that people type after ``-S`` (``model.lambda_cycle``), on the nested run and on
the parent; a stage's final metrics are on the parent as ``stage/metric``.

A problem with tracking (no server, broken database, full disk) is one warning; from then on this
process logs nothing and the training goes on.
"""

import contextlib
import fcntl
import getpass
import hashlib
import logging
import math
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from retimbre.errors import RetimbreError
from retimbre.paths import project_root

EXPERIMENT = "retimbre"
FLUSH_SECONDS, FLUSH_VALUES = 10.0, 200  # one logged value costs 25 ms alone and 0.5 ms in a batch of 200
LOCK_SECONDS = 60.0  # creating the database takes about ten


def flatten(values: Mapping[str, Any], separator: str) -> dict[str, Any]:
    """A nested mapping as one level: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}`` for separator ``.``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update({f"{key}{separator}{name}": item for name, item in flatten(value, separator).items()})
        else:
            flat[str(key)] = value
    return flat


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a nested mapping, under slash names; a database does not take NaN everywhere."""
    flat = {key: value for key, value in flatten(values, "/").items() if isinstance(value, int | float)}
    return {key: float(value) for key, value in flat.items() if math.isfinite(value)}


def _text(value: Any) -> str:
    """A param as people write it: a weight of ``4`` stays ``4`` though validation made it a float."""
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e15
    return str(int(value) if whole else value)


def _head() -> str:
    """The commit that is checked out, or an empty string outside Git."""
    result = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""


def _key(head: str) -> str:
    """What the stages of one experiment have in common: its DVC name, else the commit and the params."""
    if name := os.environ.get("DVC_EXP_NAME"):
        return name
    params = Path("params.yaml")
    content = params.read_bytes() if params.exists() else b""
    return f"ws-{hashlib.sha1(head.encode() + content).hexdigest()[:8]}"


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """One process at a time: two that create the database or a parent run at once both fail."""
    with (project_root() / ".mlflow.lock").open("a") as lock:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{lock.name} is held by another process") from None
                time.sleep(0.1)
        yield


class _Store:
    """The connection to MLflow, and the fuse: after a process's first failure nothing is tried again."""

    works = True  # of the whole process: a server that is away must not stall it twice

    def __init__(self) -> None:
        self.client: Any = None
        self.experiment = ""

    def attempt(self, action: Callable[[], Any]) -> Any:
        """The action's result, or None when it (or an earlier one) failed."""
        if not self.works:
            return None
        try:
            return action()
        except Exception as error:  # whatever it is, a training is worth more than its log
            _Store.works = False
            reason = " ".join(str(error).split())
            short = reason if len(reason) <= 160 else reason[:160] + "..."
            own = isinstance(error, RetimbreError)  # a whole sentence that says what to do
            problem = reason.rstrip(".") if own else f"{type(error).__name__}: {short}"
            said = f"warning: nothing more is logged to MLflow, the stage goes on ({problem})"
            print(said, file=sys.stderr, flush=True)
            return None

    def connect(self) -> None:
        """Connect to the store; a database that does not exist is created. Call it under the lock."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # A server that is away stalls us 15 s at most.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "6")
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            database = project_root() / "mlflow.db"
            _check_database(database)
            # With the driver's name: of sqlite: alone MLflow would make the folder of the quoted path.
            uri = f"sqlite+pysqlite:///{quote(str(database))}"
        elif uri.startswith("file:") or "://" not in uri and uri != "databricks":
            raise RetimbreError(
                f"MLFLOW_TRACKING_URI is the folder {uri}, and MLflow writes to folders no more: set it to "
                "sqlite:////absolute/path/mlflow.db, or unset it; `mlflow migrate-filestore` moves old runs."
            )
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # not its chatter about migrations
        self.client = MlflowClient(tracking_uri=uri)

    def open(self, name: str = EXPERIMENT) -> None:
        """Connect, and find or create the experiment ``name``. Call it under the lock."""
        self.connect()
        experiment = self.client.get_experiment_by_name(name)
        if experiment is not None and experiment.lifecycle_stage == "deleted":
            raise RetimbreError(
                f"the experiment {name!r} is deleted in MLflow: bring it back with `mlflow experiments "
                f"restore --experiment-id {experiment.experiment_id}`, or remove it with `mlflow gc`."
            )
        if experiment is not None:
            self.experiment = experiment.experiment_id
        else:
            # Artifacts beside the database too: MLflow's default is the current directory, which a temporary
            # experiment deletes.
            # A server decides itself.
            served = os.environ.get("MLFLOW_TRACKING_URI", "").startswith(("http", "databricks"))
            place = None if served else (project_root() / "mlartifacts").as_uri()
            self.experiment = self.client.create_experiment(name, artifact_location=place)

    def find(self, *conditions: str) -> list[Any]:
        """Runs that meet all conditions, newest first."""
        return self.client.search_runs(
            [self.experiment], " and ".join(conditions), order_by=["attributes.start_time DESC"]
        )

    def log(
        self,
        run: str,
        params: Mapping[str, Any] | None = None,
        metrics: Iterable[tuple[str, float, int, int]] = (),
    ) -> None:
        """Log to a run, within the sizes that one call may have."""
        from mlflow.entities import Metric, Param

        pairs = [Param(key, _text(value)) for key, value in (params or {}).items()]
        values = [Metric(*value) for value in metrics]
        for i in range(0, len(pairs), 100):
            self.client.log_batch(run, params=pairs[i : i + 100])
        for i in range(0, len(values), 1000):
            self.client.log_batch(run, metrics=values[i : i + 1000])

    def send(self, run: str, path: Path, folder: str) -> None:
        """Copy a file, or what is in a folder, to the artifacts of a run."""
        send = self.client.log_artifacts if path.is_dir() else self.client.log_artifact
        send(run, str(path), folder or None)


def _check_database(path: Path) -> None:
    """Raise at once when ``path`` cannot be used: MLflow itself tries for minutes."""
    if path.exists():
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as database:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise PermissionError(f"{path} is not writable")


def _metrics(values: Mapping[str, float], step: int = 0) -> list[tuple[str, float, int, int]]:
    """Name, value, time in milliseconds and step of each value."""
    now = int(time.time() * 1000)
    return [(key, value, now, step) for key, value in values.items()]


def _tags(head: str, **more: str) -> dict[str, str]:
    """What both kinds of run carry. An experiment's own commit does not exist yet while it runs."""
    names = ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "DVC_STAGE")
    tags = {name: os.environ[name] for name in names if os.environ.get(name)}
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    source = {"mlflow.user": user, "mlflow.source.type": "LOCAL", "mlflow.source.git.commit": head}
    return {"dvc.key": _key(head), **source, **tags, **more}


def _parent(store: _Store, params: Mapping[str, Any]) -> str:
    """The id of this experiment's parent run, found or made. Params of a run cannot be changed, so a run
    of the same name with other values (an experiment that was forced to run again) gets a new parent.
    """
    head = _head()
    key = _key(head)
    with _locked():
        store.open()
        for run in store.find(f"tags.`dvc.key` = '{key}'", "tags.role = 'parent'"):
            if all(run.data.params.get(name, _text(value)) == _text(value) for name, value in params.items()):
                store.client.update_run(run.info.run_id, status="RUNNING")
                parent = run.info.run_id
                break
        else:
            tags = _tags(head, role="parent", **{"mlflow.source.name": "dvc.yaml"})
            tags.pop("DVC_STAGE", None)
            parent = store.client.create_run(store.experiment, run_name=key, tags=tags).info.run_id
        store.log(parent, params)
    return parent


class StageRun:
    """A nested run that is open. Every method is cheap to call often and never raises."""

    def __init__(self, store: _Store, stage: str, params: Mapping[str, Any]):
        self._store, self._stage = store, stage
        self._waiting: list[tuple[str, float, int, int]] = []
        self._step = 0  # the last of the curves
        self._flushed = time.monotonic()
        self._parent = store.attempt(lambda: _parent(store, params))
        self._run = store.attempt(lambda: self._start(params))

    def _start(self, params: Mapping[str, Any]) -> str:
        client = self._store.client
        own = f"tags.`mlflow.parentRunId` = '{self._parent}'", f"tags.`mlflow.runName` = '{self._stage}'"
        for run in self._store.find(*own, "attributes.status = 'RUNNING'"):
            client.set_terminated(run.info.run_id, "KILLED")  # its process could not say so itself
        more = {"mlflow.parentRunId": self._parent, "mlflow.source.name": f"stages.{self._stage}"}
        tags = _tags(_head(), role="stage", DVC_STAGE=self._stage, **more)
        run = client.create_run(self._store.experiment, run_name=self._stage, tags=tags).info.run_id
        self._store.log(run, params)
        return run

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Points of curves: ``log(100, {"loss/cycle": 0.1})``. They are sent in batches."""
        if not self._store.works:
            return
        self._step = max(self._step, step)
        self._waiting += _metrics(_numbers(values), step)
        if len(self._waiting) >= FLUSH_VALUES or time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Send what waits."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._store.attempt(lambda: self._store.log(self._run, metrics=waiting))
        self._flushed = time.monotonic()

    def metrics(self, values: Mapping[str, Any]) -> None:
        """The stage's final numbers, at the end of its curves; on the parent as ``stage/metric``.

        Nested names are joined by slashes.
        """
        numbers = _numbers(values)
        for_parent = {f"{self._stage}/{key}": value for key, value in numbers.items()}
        self._store.attempt(lambda: self._store.log(self._run, metrics=_metrics(numbers, self._step)))
        self._store.attempt(lambda: self._store.log(self._parent, metrics=_metrics(for_parent)))

    def artifact(self, path: Path | str, folder: str = "") -> None:
        """A file (a picture, a clip, a config) or a whole folder, below ``folder`` of the run."""
        self._store.attempt(lambda: self._store.send(self._run, Path(path), folder))

    def text(self, text: str, name: str) -> None:
        """A text as the file ``name`` of the run."""
        self._store.attempt(lambda: self._store.client.log_text(self._run, text, name))

    def end(self, status: str) -> None:
        self.flush()
        for run in (self._run, self._parent):
            self._store.attempt(lambda run=run: self._store.client.set_terminated(run, status))


class StudyRun(StageRun):
    """One cell of a study that is open: a run of its own, without a parent, in the study's experiment."""

    def __init__(self, store: _Store, study: str, cell: str, params: Mapping[str, Any]):
        self._store, self._stage = store, cell
        self._waiting, self._step, self._flushed = [], 0, time.monotonic()
        self._run = store.attempt(lambda: self._begin(study, cell, params))

    def _begin(self, study: str, cell: str, params: Mapping[str, Any]) -> str:
        with _locked():
            self._store.open(study)
        client = self._store.client
        for run in self._store.find(f"tags.`mlflow.runName` = '{cell}'", "attributes.status = 'RUNNING'"):
            client.set_terminated(run.info.run_id, "KILLED")  # its process could not say so itself
        tags = _tags(_head(), role="cell", **{"mlflow.source.name": f"studies/{study}"})
        run = client.create_run(self._store.experiment, run_name=cell, tags=tags).info.run_id
        self._store.log(run, params)
        return run

    def metrics(self, values: Mapping[str, Any]) -> None:
        """The cell's final numbers (nested names are joined by slashes)."""
        numbers = _numbers(values)
        self._store.attempt(lambda: self._store.log(self._run, metrics=_metrics(numbers, self._step)))

    def end(self, status: str) -> None:
        self.flush()
        self._store.attempt(lambda: self._store.client.set_terminated(self._run, status))


@contextlib.contextmanager
def stage_run(stage: str, params: Mapping[str, Any]) -> Iterator[StageRun]:
    """A nested run for one execution of a training stage, below the experiment's parent run.

    ``params`` are named as after ``-S`` (see params.flatten). The run ends as FINISHED, KILLED (Ctrl-C)
    or FAILED (any other exception, which passes through).
    """
    with _ending(StageRun(_Store(), stage, flatten(params, "."))) as run:
        yield run


@contextlib.contextmanager
def study_run(study: str, cell: str, params: Mapping[str, Any]) -> Iterator[StudyRun]:
    """A run for one cell (variant and seed) of a study, in the experiment ``study``; as ``stage_run``."""
    with _ending(StudyRun(_Store(), study, cell, flatten(params, "."))) as run:
        yield run


@contextlib.contextmanager
def _ending(run: StageRun) -> Iterator[StageRun]:
    """End the run as what happens inside says."""
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        run.end(status)


def log_to_parent(
    params: Mapping[str, Any], metrics: Mapping[str, Any], artifacts: Iterable[Path | str] = ()
) -> None:
    """Complete the parent run with everything that holds in this experiment, cached stages' numbers too.

    ``params``: all of them, flat or nested (joined by dots). ``metrics``: ``{"evaluation": {...}, ...}``,
    what the metric files say (joined by slashes). ``artifacts``: files or folders.
    """
    store = _Store()
    flat = flatten(params, ".")
    parent = store.attempt(lambda: _parent(store, flat))
    store.attempt(lambda: store.log(parent, metrics=_metrics(_numbers(metrics))))
    for path in map(Path, artifacts):
        store.attempt(lambda path=path: store.send(parent, path, path.name if path.is_dir() else ""))
    store.attempt(lambda: store.client.set_terminated(parent, "FINISHED"))
