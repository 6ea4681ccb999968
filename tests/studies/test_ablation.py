"""The study: its variants, its tables against its results, and all of it at smoke scale through DVC."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas
import pytest
import yaml

from retimbre.audio.levels import loudness_lufs
from retimbre.errors import RetimbreError
from retimbre.evaluation.results.table import make_table, write_table
from tests.toys import ROOT
from tests.toys.models import FEATURES
from tests.toys.project import copy_checkout, run_stages, smoke

STUDY = ROOT / "studies/ablation"
Scripts, Given = dict[str, ModuleType], dict[str, Any]
SECONDS = 1200  # no single command may take longer: it hangs


@pytest.fixture(scope="module")
def scripts() -> Iterator[Scripts]:
    """The study's modules, imported as they import each other."""
    before = {name: os.environ.get(name) for name in ("DVC_ROOT",)}
    sys.path.insert(0, str(STUDY))
    yield {name: importlib.import_module(name) for name in ("study", "tables", "scoring")}
    sys.path.remove(str(STUDY))
    for name in ("study", "tables", "scoring"):
        del sys.modules[name]
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture(scope="module")
def given(scripts: Scripts) -> Given:
    return scripts["study"].read_variants()


def test_every_variant_is_valid_and_says_what_it_changes(scripts: Scripts, given: Given) -> None:
    study = scripts["study"]
    merged = {}
    for group, variants in study.groups(given).items():
        for variant in variants:
            assert variant not in merged, "names of results"
            v = study.variant(group, variant, given)
            merged[variant] = (v.system, v.data, v.params.model_dump_json())
    assert len(set(merged.values())) == len(merged), "no two variants are the same"


def test_a_variant_that_is_wrong_is_refused_in_a_sentence(scripts: Scripts, given: Given) -> None:
    study = scripts["study"]
    claims = {"typo": {"model.lambda_cylce": 1}, "value": {"model.gan_loss": "wgan"}}
    claims["control"] = {"system": "eq_mach"}
    wrong = given | {"groups": {"claims": claims}}
    with pytest.raises(RetimbreError, match="variants.yaml, typo: model.lambda_cylce is not a parameter"):
        study.variant("claims", "typo", wrong)
    with pytest.raises(RetimbreError, match="variants.yaml, value: model.gan_loss is 'wgan'"):
        study.variant("claims", "value", wrong)
    said = "variants.yaml, control: system is 'eq_mach': use one of .*eq_match, eq_affine"
    with pytest.raises(RetimbreError, match=said):
        study.variant("claims", "control", wrong)
    with pytest.raises(RetimbreError, match="claims has no variant 'ptach': it has typo, value, control"):
        study.variant("claims", "ptach", wrong)
    with pytest.raises(RetimbreError, match="tables name defualt, which no group has"):
        scripts["tables"].markdown(given | {"tables": {"All": ["defualt"]}}, {}, {}, {})


def test_every_variant_has_one_place_in_the_tables(scripts: Scripts, given: Given) -> None:
    shown = [variant for variants in given["tables"].values() for variant in variants if variant != "default"]
    study = scripts["study"]
    named = {study.reference_of(group, variant, given) for group, variant, _ in study.cells(given)}
    assert named <= {variant for _, variant, _ in study.cells(given)}
    assert sorted(shown) == sorted({variant for _, variant, _ in scripts["study"].cells(given)} - {"default"})


def test_stages_are_the_cells_and_write_their_results(scripts: Scripts, given: Given) -> None:
    """The matrices as written; the smoke run shows that DVC expands them like study.cells does."""
    stages = yaml.safe_load((STUDY / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    study = scripts["study"]
    assert set(stages) == {"code", "data", "tables", *study.groups(given)}
    assert given["seeds"][0] == 1
    for group in study.groups(given):
        stage = stages[group]
        several = study.seeds_of(group, given) != [1]
        assert stage["matrix"] == {"variant": f"${{groups.{group}}}", "seed": "${seeds}" if several else [1]}
        assert stage["cmd"] == f"python cell.py {group} ${{item.variant}} ${{item.seed}}"
        # Committed, listed by dvc metrics show.
        assert stage["metrics"] == [{"results/${item.variant}-${item.seed}.json": {"cache": False}}]
        read = {name for entry in stage["params"] for name in entry.get("variants.yaml", ())}
        assert {"all", f"groups.{group}.${{item.variant}}"} <= read
        data = study.data_of(group, given)
        assert ("../../data/features" in stage["deps"]) == (data == "default")
        assert (f"data/{data}" in stage["deps"] and f"data.{data}" in read) == (data != "default")


# ------------------------------------------------------------------------------------------ tables


def result(skill: list[float], **more: Any) -> dict[str, Any]:
    items = [f"{d}/piece{i}" for d in ("a_to_b", "b_to_a") for i in range(len(skill) // 2)]
    return {
        "finished": 1,
        "skill": sum(skill) / len(skill),
        "items": items,
        "strata": ["poly"] * len(skill),
        "values": {"skill": skill},
    } | more


HALVES = slice(0, 6), slice(6, 12)  # of the twelve items: one direction each


def test_tables_hold_the_results_means_intervals_and_paired_differences(
    scripts: Scripts, tmp_path: Path
) -> None:
    tables = scripts["tables"]
    small = {
        "seeds": [1, 2],
        "one_seed": ["singles"],
        "all": {"model.steps": 5},
        "data": {},
        "groups": {
            "claims": {"default": None, "worse": {"model.lambda_cycle": 1}},
            "singles": {"broken": {}, "absent": {}, "equalised": {"system": "eq_match"}},
        },
        "tables": {"All": ["default", "worse", "broken", "absent", "equalised"], "Again": ["broken"]},
        "by_seed": ["worse", "broken", "absent"],
        "directions": ["worse", "absent"],
        "brief": ["worse", "absent", "equalised"],
    }
    rng = np.random.default_rng(0)
    pieces = rng.normal(0.5, 0.2, 12)  # pieces differ much, variants little: only pairing shows it
    for seed in (1, 2):
        noise = rng.normal(0, 0.002, (2, 12))
        (tmp_path / f"default-{seed}.json").write_text(json.dumps(result(list(pieces + noise[0]))))
        (tmp_path / f"worse-{seed}.json").write_text(json.dumps(result(list(pieces - 0.05 + noise[1]))))
    (tmp_path / "equalised-1.json").write_text(json.dumps(result(list(pieces))))
    diverged = {"finished": 0, "reason": "cyclegan: it has diverged"}
    (tmp_path / "broken-1.json").write_text(json.dumps(diverged))
    text, short, summaries = tables.make(small, tmp_path, tmp_path / "none.parquet")
    worse = summaries["worse"]["skill"]
    assert worse["mean"] == pytest.approx(pieces.mean() - 0.05, abs=0.002)
    assert worse["low"] < worse["mean"] < worse["high"] and worse["high"] - worse["low"] > 0.05
    assert worse["difference"] == pytest.approx(-0.05, abs=0.002)
    assert worse["difference_high"] < -0.04, "pieces are paired"
    assert "difference" not in summaries["default"]["skill"]
    row = next(line for line in text.splitlines() if line.startswith("| worse"))
    assert "`model.lambda_cycle=1`" in row and f"{worse['mean']:.2f} [" in row and "**-0.05" in row
    assert "| absent | nothing | not run |" in text
    assert text.count("- broken did not finish: cyclegan: it has diverged") == 1, "though it is in two tables"
    assert "| equalised | `system=eq_match` | none | 0." in text, "nothing was trained"
    assert [line.split(" | ")[0] for line in short.splitlines()[2:]] == ["| worse", "| absent", "| equalised"]
    assert f"| 2 | {worse['mean']:.2f} [" in short and "| absent | nothing | not run | – |" in short
    skills = [json.loads((tmp_path / f"worse-{s}.json").read_text())["values"]["skill"] for s in (1, 2)]
    rows = text.split("### Seed by seed")[1].split("###")[0].strip().splitlines()[2:]
    assert [row.split(" | ")[:3] for row in rows] == [
        ["| worse", str(s), f"{np.mean(skill):.2f}"] for s, skill in enumerate(skills, 1)
    ]
    halves = [np.mean([skill[half] for skill in skills]) for half in HALVES]
    rows = [line for line in text.split("### By direction")[1].splitlines() if line.startswith("| worse")]
    assert [row.split(" | ")[1] for row in rows] == ["a to b", "b to a"]
    assert [row.split(" | ")[3].split()[0] for row in rows] == [f"{half:.2f}" for half in halves]
    (tmp_path / "worse-2.json").write_text(json.dumps(result(list(pieces[:10]))))
    with pytest.raises(RetimbreError, match="the results of worse are not of one study: run `make study`"):
        tables.make(small, tmp_path, tmp_path / "none.parquet")


def test_a_group_with_its_own_data_is_compared_with_its_own_row(scripts: Scripts, tmp_path: Path) -> None:
    small = {
        "seeds": [1],
        "one_seed": [],
        "all": {"model.steps": 5},
        "data": {"coarse": {"features.cqt_bins": 84}},
        "groups": {
            "claims": {"default": None},
            "coarse": {
                "coarse": {},
                "other": {"model.batch_size": 2},
                "last": {"model.batch_size": 3, "against": "other"},
            },
        },
        "tables": {"All": ["default", "coarse", "other", "last"]},
        "by_seed": [],
        "directions": [],
        "brief": [],
    }
    for variant, skill in (("default", 0.5), ("coarse", 0.6), ("other", 0.4), ("last", 0.45)):
        (tmp_path / f"{variant}-1.json").write_text(json.dumps(result([skill] * 6)))
    text, _, summaries = scripts["tables"].make(small, tmp_path, tmp_path / "none.parquet")
    assert summaries["coarse"]["skill"]["difference"] == pytest.approx(0.1)
    assert summaries["other"]["skill"]["difference"] == pytest.approx(-0.2)
    assert summaries["last"]["skill"]["difference"] == pytest.approx(0.05)
    assert "other: **+0.05" in text and "`against" not in text
    assert "default: **+0.10" in text and "coarse: **-0.20" in text and "`features.cqt_bins=84`" in text


def test_the_documents_tables_are_what_the_results_say(scripts: Scripts, given: Given) -> None:
    tables = scripts["tables"]
    pages = ("docs/ablation.md", "docs/findings.md")
    documents = [(ROOT / page).read_text(encoding="utf-8") for page in pages]
    made, short, summaries = tables.make(given, STUDY / "results", ROOT / "data/evaluation/per_item.parquet")
    if not summaries:
        pytest.skip("the study has not been run")
    shown, quoted = (document.split(tables.BEGIN)[1].split(tables.END)[0].strip() for document in documents)
    assert quoted == short.strip(), "run `make study`"
    # The vocoders' rows are of the evaluation that the study was made with; the pipeline's may be newer.
    without = [text.split("### Vocoders")[0].strip() for text in (shown, made)]
    assert without[0] == without[1], "run `make study`"
    assert json.loads((STUDY / "summary.json").read_text()).keys() == summaries.keys()


def test_vocoders_are_compared_on_the_pieces_that_both_have(scripts: Scripts, tmp_path: Path) -> None:
    path = tmp_path / "per_item.parquet"
    assert scripts["tables"].of_vocoders(path) == ""
    write_table(path, of_an_evaluation())
    lines = scripts["tables"].of_vocoders(path).splitlines()
    head, _, default, other = (line.strip("| ").split(" | ") for line in lines)
    assert head[:3] == ["row", "pieces", "LSD dB"]
    assert default[:2] == ["cyclegan", "10"] and default[3:] == ["–"] * 4
    assert default[2].startswith("4.45 [4.")
    # Two pieces have a range, no interval.
    assert other == ["cyclegan_istft", "2", "4.35", "–", "–", "–", "cyclegan: -0.500"]


def test_tables_are_put_between_the_markers_only(scripts: Scripts) -> None:
    tables = scripts["tables"]
    document = f"by hand\n{tables.BEGIN}\nold\n{tables.END}\nmore by hand\n"
    once = tables.insert(document, "new", "ablation.md")
    assert once.startswith("by hand\n") and once.endswith("\nmore by hand\n")
    assert "old" not in once and "new" in once
    assert tables.insert(once, "new", "ablation.md") == once
    with pytest.raises(RetimbreError, match="ablation.md must hold"):
        tables.insert("no markers", "new", "ablation.md")


# ----------------------------------------------------------------------------------------- scoring


@pytest.mark.parametrize("representation", ["cqt", "mel", "stft"])
def test_the_filter_changes_what_the_gain_says(scripts: Scripts, representation: str) -> None:
    scoring, config = scripts["scoring"], FEATURES
    rate, n = config.sample_rate, config.sample_rate
    turns = 2 * np.pi * np.arange(n) / rate
    low, high = (np.sin(f * turns).astype(np.float32) * 0.3 for f in (220.0, 1760.0))
    centres = config.frequencies_hz(representation)
    gain = np.where(centres < 700, 0.0, -40.0)[:, None].repeat(config.frames(n), axis=1)
    same = scoring.filtered(low + high, np.zeros_like(gain), config, representation)
    np.testing.assert_allclose(same, low + high, atol=1e-4)
    out = scoring.filtered(low + high, gain, config, representation)

    def level_db(x: np.ndarray, wave: np.ndarray) -> float:
        inner = slice(rate // 4, -rate // 4)
        return 20 * np.log10(abs(np.dot(x[inner], wave[inner])) / np.dot(wave[inner], wave[inner]))

    assert level_db(out, high) - level_db(out, low) == pytest.approx(-40, abs=2)
    assert loudness_lufs(out, rate) == pytest.approx(loudness_lufs(low + high, rate), abs=0.1)


# ------------------------------------------------------------------------------------- smoke scale

NEEDED = r"src/|stages/|studies/|params|README|docs/|\.dvc|dvc\.yaml"  # of the working tree
SMALL = {
    "seeds": [1, 2],
    "one_seed": ["singles"],
    "all": {"model.steps": 6, "model.guard_action": "warn"},
    "data": {},
    "groups": {"claims": {"default": None}, "singles": {"cycle_1": {"model.lambda_cycle": 1}}},
    "tables": {"All": ["default", "cycle_1"]},
    "by_seed": ["default"],
    "directions": [],
    "brief": ["cycle_1"],
}


def of_an_evaluation() -> pandas.DataFrame:
    """Ten pieces; the other vocoder, heard on the two worst of them, is better by 0.5 dB there."""
    lsd = {("cyclegan", piece): 4 + piece / 10 for piece in range(10)}
    lsd |= {("cyclegan_istft", piece): 3.5 + piece / 10 for piece in (8, 9)}
    common = {"vocoder": "griffin_lim", "metric": "paired_lsd"}
    return make_table(
        {**common, "system": system, "direction": direction, "item": str(piece), "value": value}
        for (system, piece), value in lsd.items()
        for direction in ("a_to_b", "b_to_a")
    )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working tree with smoke params, the data that the study needs, and a study of two variants."""
    folder = tmp_path_factory.mktemp("study") / "repository"
    copy_checkout(folder, lambda name: re.match(NEEDED, name))
    values = smoke(rendering={"vocoder": "source_phase"})
    values["vocoders"], values["evaluate"]["vocoders"] = {"inverter": "features"}, {}
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    study = folder / "studies/ablation"
    shutil.rmtree(study / "results", ignore_errors=True)
    (study / "dvc.lock").unlink(missing_ok=True)
    stages = yaml.safe_load((study / "dvc.yaml").read_text(encoding="utf-8"))
    kept = {name: stages["stages"][name] for name in ("code", "data", "claims", "singles", "tables")}
    text = yaml.safe_dump(stages | {"stages": kept}, sort_keys=False)
    (study / "dvc.yaml").write_text(text, encoding="utf-8")
    (study / "variants.yaml").write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    write_table(folder / "data/evaluation/per_item.parquet", of_an_evaluation())
    (folder / "metrics").mkdir(exist_ok=True)
    (folder / "metrics/evaluation.json").write_text("{}")
    run(folder, "git", "init", "-q")
    run_stages(folder, "download", "resample", "features", "classifier", "vocoder inverter")
    return folder


def run(folder: Path, *words: str) -> str:
    """Run a command; what it printed. Fails when its exit status is not 0."""
    others = ("DVC_", "MLFLOW_", "GIT_", "PYTHONPATH")
    here = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    path = os.pathsep.join([str(Path(sys.executable).parent), here["PATH"]])
    cache = {"DVC_SITE_CACHE_DIR": str(folder.parent / "site-cache"), "PATH": path}
    here |= cache | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    options = dict(capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL)
    done = subprocess.run(words, cwd=folder, env=here, **options)
    assert done.returncode == 0, f"{words}: status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def test_a_variant_of_two_seeds_and_one_of_one_through_dvc(checkout: Path, scripts: Scripts) -> None:
    study = checkout / "studies/ablation"
    said = run(checkout, sys.executable, "studies/ablation/run.py")
    assert "3 of 3 cells to do, 2 at a time" in said
    names = {"default-1.json", "default-2.json", "cycle_1-1.json"}
    assert {path.name for path in (study / "results").iterdir()} == names
    found = {name: json.loads((study / "results" / name).read_text()) for name in names}
    for cell in found.values():
        assert cell["finished"] == 1
        assert {"skill", "change_db", "chroma_ratio", "beyond_eq", "paired_lsd"} <= set(cell)
        assert "filter_paired_lsd" in cell
        assert cell["skill"] == pytest.approx(np.mean(cell["values"]["skill"]), rel=1e-3)
        assert len(cell["items"]) == 4 == len(set(cell["items"])), "two pieces in both directions"
    # Every cell is a training of its own; results can be committed: no machine's paths.
    assert len({json.dumps(cell["values"]) for cell in found.values()}) == 3
    assert str(checkout) not in (study / "dvc.lock").read_text()
    lock = yaml.safe_load((study / "dvc.lock").read_text())["stages"]
    cells = {"claims@default-1", "claims@default-2", "singles@cycle_1-1"}
    assert {name for name in lock if name.startswith(("claims@", "singles@"))} == cells

    summary = json.loads((study / "summary.json").read_text())
    mean = np.mean([found[f"default-{s}.json"]["skill"] for s in (1, 2)])
    assert summary["default"]["skill"] == pytest.approx(mean, rel=2e-3)
    tables = scripts["tables"]
    shown = (checkout / "docs/ablation.md").read_text().split(tables.BEGIN)[1].split(tables.END)[0]
    assert "| cyclegan_istft | 2 | 4.35" in shown
    assert "`model.lambda_cycle=1`" in shown and shown.strip() == (study / "tables.md").read_text().strip()
    quoted = (checkout / "docs/findings.md").read_text().split(tables.BEGIN)[1].split(tables.END)[0]
    assert "`model.lambda_cycle=1`" in quoted and quoted.strip() == (study / "brief.md").read_text().strip()

    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{checkout / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("ablation").experiment_id])
    assert sorted(run.info.run_name for run in runs) == sorted(name.removesuffix(".json") for name in names)
    assert {(r.data.params["variant"], r.data.params["model.lambda_cycle"], r.info.status) for r in runs} == {
        ("default", "4", "FINISHED"),
        ("cycle_1", "1", "FINISHED"),
    }
    assert all({"skill", "loss/cycle"} <= set(run.data.metrics) for run in runs)

    assert "out of date" not in said
    # A variant changed: its cells, and no others, are out of date. Accepted, they are so no more.
    groups = SMALL["groups"] | {"singles": {"cycle_1": {"model.lambda_cycle": 2}}}
    (study / "variants.yaml").write_text(yaml.safe_dump(SMALL | {"groups": groups}))
    status = (sys.executable, "-m", "dvc", "status", "--json", "claims", "singles")
    assert set(json.loads(run(study, *status))) == {"singles@cycle_1-1"}
    said = run(checkout, sys.executable, "studies/ablation/run.py", "--accept")
    assert "0 of 3 cells to do" in said and "out of date" not in said
    assert {name: json.loads((study / "results" / name).read_text()) for name in names} == found
