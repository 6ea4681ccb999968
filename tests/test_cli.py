import json

import pytest

from retimbre.cli import main
from retimbre.provenance import digest_of_files
from retimbre.systems.catalogue import DEFAULTS


def test_help_of_every_command_is_complete(capsys):
    for arguments, words in (
        (["--help"], ("transfer", "summary")),
        (["transfer", "--help"], ("--to", "--vocoder", "source_phase", *DEFAULTS)),
        (["export", "--help"], ("--to", ".onnx", ".pt2", "griffin_lim")),
        (["summary", "--help"], ("--metrics",)),
        (["compare", "--help"], ("RUN_A", "--metric", "--system", "--json", "workspace")),
    ):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 0
        said = capsys.readouterr().out
        assert all(word in said for word in words)


def test_summary_prints_the_table_and_where_to_listen(tmp_path, capsys):
    evaluation = tmp_path / "evaluation"
    (evaluation / "audio").mkdir(parents=True)
    (evaluation / "report.html").write_text("<html>")
    (evaluation / "audio" / "a_to_b.tune.source.flac").write_bytes(b"")
    for name in DEFAULTS:
        (evaluation / "audio" / f"a_to_b.tune.{name}.flac").write_bytes(b"")
    (tmp_path / "evaluation.json").write_text(
        json.dumps(
            {
                "calibration": {"passed": 3, "failed": 1, "verdict": "CALIBRATION FAILED, believe no number"},
                "copy": {"feature_lsd": 9.54, "skill": 0.0, "fail_unchanged": 1.0, "fail_muted": 0.0},
                "cyclegan": {"feature_lsd": 7.4, "skill": 0.53, "fail_muted": 0.0},
            }
        )
    )
    (evaluation / "outputs.csv").write_text("path,sha256\n")
    known = {"outputs": digest_of_files([evaluation / "outputs.csv"]), "rtf": {"cyclegan": 0.012, "gone": 1}}
    (tmp_path / "speed.json").write_text(json.dumps(known))
    (tmp_path / "stages").mkdir()
    heard = {"style_a_real": 1.0, "style_a_copy": 0.1, "hard_a_real": 0.87}
    (tmp_path / "stages" / "classifier.json").write_text(json.dumps({"on_recordings": heard}))
    main(["summary", "--metrics", str(tmp_path), "--evaluation", str(evaluation)])
    said = capsys.readouterr().out
    assert "feature LSD dB -" in said and "9.54" in said and "0.53" in said
    assert "report.html" in said and said.count("a_to_b.tune.") == 1 + len(DEFAULTS)
    header = said.splitlines()[0]
    assert "unchanged -" in header and "RTF -" in header
    assert "muted" not in header and "note F1" not in header, "no empty columns"
    assert "0.012" in said and "CALIBRATION FAILED" in said
    rates = ("target rate: a 1.00", "beyond EQ: a 0.87")
    assert all(rate in said for rate in rates), "the classifiers' own rates stand beside theirs"

    (evaluation / "outputs.csv").write_text("path,sha256\nanother.flac,0\n")
    main(["summary", "--metrics", str(tmp_path), "--evaluation", str(evaluation)])
    assert "RTF" not in capsys.readouterr().out, "the times are another run's"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "run `dvc repro`"),
        *((broken, "not valid JSON") for broken in ("{broken", "[]", '{"copy": 3}', '{"calibration": 1}')),
        *((broken, "not valid JSON") for broken in ('{"copy": {"skill": "1"}}', '{"copy": {"skill": true}}')),
    ],
)
def test_summary_without_metrics_says_what_to_do(tmp_path, capsys, content, words):
    if content:
        (tmp_path / "evaluation.json").write_text(content)
    with pytest.raises(SystemExit) as stop:
        main(["summary", "--metrics", str(tmp_path)])
    assert stop.value.code == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("content", ["[]", '{"copy": "1"}', '{"on_recordings": {"style_a_real": true}}'])
def test_optional_metrics_of_another_shape_count_as_absent(tmp_path, capsys, content):
    (tmp_path / "evaluation.json").write_text('{"copy": {"skill": 0.0}}')
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "classifier.json").write_text(content)
    (tmp_path / "speed.json").write_text(content)
    main(["summary", "--metrics", str(tmp_path), "--evaluation", str(tmp_path / "evaluation")])
    said = capsys.readouterr().out
    assert "copy" in said and "RTF" not in said and "real test recordings" not in said


@pytest.mark.parametrize(
    "words",
    [
        ("transfer", "a.wav", "--to", "guitar", "--seed", "-1"),
        ("listen", "simulate", "--seed", "-1"),
        ("listen", "simulate", "--listeners", "0"),
        ("listen", "analyse", "--draws", "²"),
    ],
)
def test_counts_are_whole_numbers(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(list(words))
    assert stop.value.code == 2 and "is not a whole number from" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "given", "said"),
    [
        ("--transpose", "up", "'up' is neither auto nor a whole number of octaves"),
        ("--transpose", "1.5", "'1.5' is neither auto nor a whole number of octaves"),
        ("--expression", "2", "'2' is not a number from 0 to 1"),
        ("--expression", "nan", "'nan' is not a number from 0 to 1"),
    ],
)
def test_knobs_are_checked(option, given, said, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["transfer", "a.wav", "--to", "guitar", option, given])
    assert stop.value.code == 2 and said in capsys.readouterr().err
