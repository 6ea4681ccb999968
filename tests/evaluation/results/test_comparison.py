"""``retimbre compare``: runs of a DVC repository, folders, several seeds, known differences."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas
import pytest

from retimbre import cli
from retimbre.errors import RetimbreError
from retimbre.evaluation.results import comparison as c
from retimbre.evaluation.results.table import make_table, write_table

DIRECTIONS = ("piano_to_guitar", "guitar_to_piano")
PIPELINE = """\
stages:
  evaluate:
    cmd: mkdir -p data/evaluation && cp tables/${table}.parquet data/evaluation/per_item.parquet
    params: [table]
    outs: [data/evaluation]
"""


def table(seed=0, skill=0.0, f1=0.0, pieces=12, first=0, systems=("copy", "cyclegan"), sets=1.0):
    """A run whose CycleGAN has ``skill`` and ``f1`` more than the common one; items are hard or easy."""
    hard = np.random.default_rng(1).normal(0, 0.1, (40, 2))
    noise = np.random.default_rng([seed, 7]).normal(0, 0.01, (40, 2, 3))
    records = []
    for system in systems:
        gain = system == "cyclegan"
        for d, direction in enumerate(DIRECTIONS):
            for i in range(first, first + pieces):
                values = {
                    "skill": 0.5 + hard[i, d] + gain * skill + noise[i, d, 0],
                    "content_note_f1": 0.8 + hard[i, d] + gain * f1 + noise[i, d, 1],
                    "paired_lsd": 9 - 5 * hard[i, d] + noise[i, d, 2],
                    "paired_mel_l1_db": 2 + hard[i, d] - gain * skill,
                }
                stratum = "mono" if i % 3 == 0 else "poly"
                common = {"system": system, "direction": direction, "item": f"tune{i}", "stratum": stratum}
                records += [{**common, "metric": m, "value": v} for m, v in values.items()]
            common = {"system": system, "direction": direction, "item": "all"}
            records.append({**common, "metric": "style_kad_clf", "value": sets})
    return make_table(records)


def run(name="x", versions=None, **options):
    return c.Run(name, table(**options), versions or {})


def rows(found):
    return {row.metric: row for row in found.rows}


# ---------------------------------------------------------------------------------------- statistics


def test_a_real_difference_is_better_in_its_own_direction_and_noise_is_none():
    found = rows(c.compare_runs([run(seed=1)], [run(seed=3, skill=0.1, f1=-0.1)]))
    # The headline, as far as it was measured.
    assert list(found) == ["content_note_f1", "style_kad_clf", "skill", "paired_lsd"]
    assert found["skill"].difference == pytest.approx(0.1, abs=0.01)
    assert found["skill"].low < 0.1 < found["skill"].high
    assert (found["skill"].verdict, found["skill"].improved, found["skill"].items) == ("better", 1.0, 24)
    assert (found["content_note_f1"].verdict, found["content_note_f1"].improved) == ("worse", 0.0)
    assert found["paired_lsd"].verdict == "no difference shown"
    assert found["style_kad_clf"].verdict == "one value per run: no test" and found["style_kad_clf"].p is None


def test_lower_is_better_for_distances_and_the_rest_is_exploratory():
    (row,) = c.compare_runs([run(seed=1)], [run(seed=2, skill=0.1)], metrics=["paired_mel_l1_db"]).rows
    assert row.verdict == "better (exploratory)" and row.corrected is None
    assert row.difference < 0 and row.improved == 1.0
    names = ("paired_timbre", "style_shift", "quality_lufs_delta")
    assert [c.better_sign(name) for name in names] == [-1, 1, 0]


def answers(*predicted):
    return pandas.DataFrame({"actual": ["piano"] * len(predicted), "predicted": predicted})


def test_classifiers_are_compared_by_mcnemar_on_the_same_windows():
    good, bad = answers(*["piano"] * 20), answers(*["piano"] * 12, *["guitar"] * 8)

    def said(a, b):
        sides = [[c.Run("x", table(seed=seed), {}, side)] for seed, side in enumerate((a, b))]
        return [note for note in c.compare_runs(*sides).notes if "McNemar" in note]

    (note,) = said(good, bad)
    # 2 x 0.5^8
    assert "1.000 (A) and 0.600 (B), only A right 8, only B right 0, exact McNemar p = 0.0078" in note
    assert said(good, good) == said(good, None) == said(good, answers("piano")) == []


def test_asking_for_one_metric_does_not_weaken_the_correction():
    sides = [run(seed=1)], [run(seed=2, skill=0.004)]
    asked = ({"metrics": ["skill"]}, {})
    alone, among = (rows(c.compare_runs(*sides, **given))["skill"] for given in asked)
    assert alone == among and alone.corrected > alone.p


def test_one_training_and_few_seeds_are_said():
    one = c.compare_runs([run()], [run(seed=1)])
    assert "one training run" in one.notes[0]
    three = c.compare_runs([run(seed=s) for s in (1, 2, 3)], [run(seed=s, skill=0.3) for s in (4, 5, 6)])
    assert any("3 seeds a side are few" in note and "0.1" in note for note in three.notes)
    assert rows(three)["skill"].p == pytest.approx(0.1)
    assert rows(three)["skill"].verdict == "no difference shown"


def test_a_system_that_did_not_change_is_said_and_those_that_did_are_named():
    a, b = run(seed=1), run(seed=1)
    note = c.compare_runs([a], [b]).notes[0]
    assert note == "cyclegan has the same values in both runs; and so has every other system."
    b.table.loc[(b.table.system == "copy") & (b.table["item"] == "tune3"), "value"] += 0.1
    note = c.compare_runs([a], [b]).notes[0]
    assert note == "cyclegan has the same values in both runs; choose one that changed with --system: copy."
    assert "same values" not in " ".join(c.compare_runs([a], [b], "copy").notes)


def test_two_rows_of_one_run():
    one = run(seed=1, skill=0.1)
    found = c.compare_runs([one], [one], "copy", ["skill"], against="cyclegan")
    (row,) = found.rows
    assert row.difference == pytest.approx(0.1, abs=0.01) and row.verdict == "better"
    assert "system copy (A) and cyclegan (B)" in c.to_text(found)
    assert "same values" not in " ".join(found.notes)
    with pytest.raises(RetimbreError, match="nothing"):
        c.compare_runs([one], [one], "copy", against="nothing")


def test_five_seeds_show_a_difference_that_holds_for_every_training():
    found = c.compare_runs(
        [run(seed=s, sets=1 + s / 100) for s in range(5)],
        [run(seed=s + 9, skill=0.3, sets=2 + s / 100) for s in range(5)],
    )
    assert not found.notes
    skill, sets = rows(found)["skill"], rows(found)["style_kad_clf"]
    assert skill.p == sets.p == pytest.approx(2 / 252) and skill.corrected == pytest.approx(4 * 2 / 252)
    # A distance between sets is tested over trainings.
    assert (skill.verdict, sets.verdict) == ("better", "worse")


def test_seeds_that_differ_as_much_as_the_sides_show_nothing():
    skills = (0.0, 0.3, 0.1, 0.25, 0.05)
    sides = [[run(seed=10 * k + s, skill=x + 0.03 * k) for s, x in enumerate(skills)] for k in (0, 1)]
    several, single = (rows(c.compare_runs(sides[0][:n], sides[1][:n]))["skill"] for n in (5, 1))
    assert single.verdict == "better", "on the items of one training it is clear"
    assert several.verdict == "no difference shown" and several.low < 0 < several.high


# ----------------------------------------------------------------------------------- what is compared


def test_only_common_items_are_compared():
    found = c.compare_runs([run(pieces=12)], [run(seed=1, first=4, pieces=12)])
    assert rows(found)["skill"].items == 16
    assert any("only the 16" in note for note in found.notes)
    with pytest.raises(RetimbreError, match="no test item in common"):
        c.compare_runs([run()], [run(first=20)])


def test_other_classifiers_metrics_or_data_are_said():
    known = {"classifiers": "1", "metrics": "1", "test_set": "1"}
    other = dict.fromkeys(known, "2")
    notes = " ".join(c.compare_runs([run(versions=known)], [run(seed=1, versions=other)]).notes)
    for words in ("different classifiers", "different versions", "not tested on the same data"):
        assert words in notes
    assert len(c.compare_runs([run(versions=known)], [run(seed=1, versions=known)]).notes) == 1


def test_unknown_systems_and_metrics():
    with pytest.raises(RetimbreError, match="no system 'wavenet': its systems are copy, cyclegan"):
        c.compare_runs([run()], [run()], system="wavenet")
    with pytest.raises(RetimbreError, match="no metric 'skil' of cyclegan: the table has content_note_f1"):
        c.compare_runs([run()], [run()], metrics=["skil"])


# --------------------------------------------------------------------------------------- repositories


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Two commits (tag ``old``, branch ``main``) and an experiment ``tried``, each with its own table."""
    folder = tmp_path_factory.mktemp("compare") / "repository"
    (folder / "tables").mkdir(parents=True)
    for name, seed, skill in (("one", 1, 0.0), ("two", 2, 0.1), ("three", 3, -0.1)):
        write_table(folder / "tables" / f"{name}.parquet", table(seed, skill))
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "params.yaml").write_text("table: one\n")
    (folder / ".gitignore").write_text("/data\n")
    who = ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL")
    names = {f"GIT_{name}": "tester@example.org" for name in who}
    added = {**names, "DVC_SITE_CACHE_DIR": str(folder.parent / "site"), "DVC_NO_ANALYTICS": "1"}

    def do(*words):
        done = subprocess.run(words, cwd=folder, env={**os.environ, **added}, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def dvc(*words):
        do(sys.executable, "-m", "dvc", *words)

    do("git", "init", "-q", "-b", "main")
    dvc("init", "-q")
    dvc("repro", "-q")
    do("git", "add", "-A")
    do("git", "commit", "-q", "-m", "one")
    do("git", "tag", "old")
    (folder / "params.yaml").write_text("table: two\n")
    dvc("repro", "-q")
    do("git", "commit", "-q", "-a", "-m", "two")
    dvc("exp", "run", "-q", "-n", "tried", "-S", "table=three")
    do("git", "checkout", "-q", ".")
    dvc("checkout", "-q", "--force")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_SITE_CACHE_DIR", added["DVC_SITE_CACHE_DIR"])
        yield folder


@pytest.fixture
def here(repository, monkeypatch):
    monkeypatch.chdir(repository)
    return repository


def said(capsys, *words):
    cli.main(["compare", *words])
    return capsys.readouterr().out


def test_tags_branches_experiments_and_the_workspace(here, capsys):
    text = said(capsys, "old", "main")
    (line,) = (line for line in text.splitlines() if line.startswith("skill"))
    assert line.endswith("better") and "A = old; B = main; system cyclegan" in text
    assert "one training run" in text
    found = json.loads(said(capsys, "workspace", "tried", "--metric", "skill", "--json"))
    assert [row["metric"] for row in found["rows"]] == ["skill"]
    assert found["rows"][0]["verdict"] == "worse"
    assert found["rows"][0]["difference"] == pytest.approx(-0.2, abs=0.01)
    same = json.loads(said(capsys, "main", "workspace", "--json"))
    assert all(row["difference"] == 0 for row in same["rows"]), "the branch's table is the workspace's"
    assert "2 seeds a side are few" in said(capsys, "old,main", "HEAD,tried")


def test_a_folder_is_a_run_too(here, tmp_path, capsys):
    write_table(tmp_path / "per_item.parquet", table(skill=0.2))
    (tmp_path / "versions.json").write_text('{"classifiers": "a"}')
    assert "better" in said(capsys, "old", str(tmp_path), "--metric", "skill")
    assert c.read_run(str(tmp_path)).versions == {"classifiers": "a"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("old", "nowhere"), "'nowhere' is neither a folder nor a revision"),
        (("old", "tables"), "tables has no per_item.parquet"),
        (("old", "broken"), "per_item.parquet is not a readable Parquet file"),
        (("old", ","), "a side of the comparison is empty"),
        (("old", "main", "--system", "none"), "no system 'none'"),
    ],
)
def test_mistakes_are_one_sentence(here, tmp_path, capsys, words, message):
    if words[1] == "broken":
        words = ("old", str(tmp_path))
        (tmp_path / "per_item.parquet").write_text("no table")
    with pytest.raises(SystemExit) as stop:
        cli.main(["compare", *words])
    error = capsys.readouterr().err
    assert stop.value.code == 1 and message in error and error.count("\n") == 1


def test_a_table_that_is_not_in_the_cache(here, tmp_path, monkeypatch):
    clone = tmp_path / "clone"
    shutil.copytree(here, clone)
    shutil.rmtree(clone / ".dvc" / "cache")
    shutil.rmtree(clone / "data")
    monkeypatch.chdir(clone)
    with pytest.raises(RetimbreError, match="not in DVC's cache: fetch it with `dvc pull`"):
        c.read_run("old")
    missing = "the workspace has no data/evaluation/per_item.parquet: make it with `dvc repro evaluate`"
    with pytest.raises(RetimbreError, match=missing):
        c.read_run("workspace")


def test_outside_a_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RetimbreError, match="is not a DVC repository"):
        c.read_run("main")
