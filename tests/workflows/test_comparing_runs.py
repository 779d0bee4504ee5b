"""Finished evaluations in columns, as page and as JSON."""

import json

import pytest

from advdetect.errors import FileError, InputError
from advdetect.workflows.comparing_runs import compare_runs
from advdetect.workflows.evaluating_run import evaluate_into


@pytest.fixture(scope="module")
def runs(small_guard, small_guard_folder, digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, limit in (("few", 5), ("more", 9)):
        evaluate_into(
            small_guard,
            digits["evaluation"],
            folder / name / "run",
            name=str(small_guard_folder),
            suite="quick",
            limit=limit,
        )
    return [folder / "few" / "run", folder / "more" / "run"]


def test_figures_are_those_of_the_reports(runs, tmp_path):
    compared = compare_runs(runs, tmp_path)
    assert compared.runs == ("few/run", "more/run")
    content = json.loads((tmp_path / "runs.json").read_text())
    assert content == json.loads(json.dumps(compared.to_json()))
    reports = [json.loads((run / "report.json").read_text()) for run in runs]
    line = next(line for line in content["lines"] if line["name"] == "right")
    assert line["values"] == [report["clean"]["accuracy"] for report in reports]
    assert "few/run" in (tmp_path / "runs.html").read_text()


def test_says_what_is_wrong(runs, tmp_path):
    with pytest.raises(InputError, match="expected at least two runs to compare, got 1"):
        compare_runs(runs[:1], tmp_path)
    with pytest.raises(InputError, match="a run is named twice"):
        compare_runs([runs[0], runs[0].parent / "." / "run"], tmp_path)
    with pytest.raises(FileError, match="no finished evaluation in .*nowhere: expected a folder"):
        compare_runs([runs[0], tmp_path / "nowhere"], tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="file is a file: --out expects a folder"):
        compare_runs(runs, tmp_path / "file")
