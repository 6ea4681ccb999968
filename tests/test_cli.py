import json

import pytest

from retimbre.cli import main


def test_help_of_every_command_is_complete(capsys):
    for arguments, words in (
        (["--help"], ("transfer", "summary")),
        (["transfer", "--help"], ("--to", "--vocoder", "source_phase")),
        (["summary", "--help"], ("--metrics",)),
    ):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 0
        said = capsys.readouterr().out
        assert all(word in said for word in words)


def test_summary_prints_the_table_and_where_to_listen(tmp_path, capsys):
    (tmp_path / "audio").mkdir()
    (tmp_path / "report.html").write_text("<html>")
    (tmp_path / "audio" / "a_to_b.tune.source.wav").write_bytes(b"")
    (tmp_path / "audio" / "a_to_b.tune.cyclegan.wav").write_bytes(b"")
    (tmp_path / "evaluation.json").write_text(
        json.dumps({"copy": {"feature_lsd": 9.54, "skill": 0.0}, "cyclegan": {"feature_lsd": 7.4, "skill": 0.53}})
    )
    main(["summary", "--metrics", str(tmp_path), "--evaluation", str(tmp_path)])
    said = capsys.readouterr().out
    assert "feature LSD dB -" in said and "9.54" in said and "0.53" in said
    assert "report.html" in said and said.count("a_to_b.tune.") == 2


@pytest.mark.parametrize(("content", "words"), [(None, "run `dvc repro`"), ("{broken", "not valid JSON")])
def test_summary_without_metrics_says_what_to_do(tmp_path, capsys, content, words):
    if content:
        (tmp_path / "evaluation.json").write_text(content)
    with pytest.raises(SystemExit) as stop:
        main(["summary", "--metrics", str(tmp_path)])
    assert stop.value.code == 1
    assert words in capsys.readouterr().err
