import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark.py"
KEYS = ["case", "ours_s", "rival", "rival_s", "ratio", "max_abs_difference", "peak_mib"]
NO_ANSWER = "alone"  # bare matrix products, which end without a number to compare


def run(*arguments):
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmark") / "all.json"
    done = run("similarity", "bits", "spectral", "--quick", "--json", path)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 100
    return {one["benchmark"]: one["rows"] for one in json.loads(path.read_text())}


@pytest.mark.parametrize("name", ["similarity", "bits", "spectral"])
def test_rows_hold_what_the_file_promises(results, name):
    assert results[name]
    for row in results[name]:
        assert list(row) == KEYS
        assert row["ours_s"] > 0
        assert row["peak_mib"] >= 0
        if row["rival_s"] is not None:
            assert row["ratio"] == pytest.approx(row["rival_s"] / row["ours_s"])


@pytest.mark.parametrize(("name", "apart"), [("similarity", 1e-4), ("bits", 1e-6), ("spectral", 0)])
def test_answers_agree(results, name, apart):
    compared = [
        row
        for row in results[name]
        if row["rival_s"] is not None and not row["rival"].endswith(NO_ANSWER)
    ]
    assert compared
    for row in compared:
        allowed = 1e-10 if "float64" in row["case"] else apart
        assert row["max_abs_difference"] <= allowed, row


@pytest.mark.parametrize(
    ("module", "rival", "count"),
    [("dcor", "dcor", 4), ("cka", "pytorch-cka", 1), ("torch_cka", "torch-cka", 1)],
)
def test_a_rival_that_is_not_installed_is_named_with_how_to_install_it(
    results, module, rival, count
):
    rows = [row for row in results["similarity"] if row["rival"].startswith(rival)]
    assert len(rows) == count
    for row in rows:
        assert (row["rival_s"] is None) == (find_spec(module) is None)
        if row["rival_s"] is None:
            assert "not installed, pip install -e '.[bench]'" in row["rival"]
            assert row["ratio"] is row["max_abs_difference"] is None


@pytest.mark.slow
def test_serving_beside_the_bare_model(tmp_path):
    path = tmp_path / "serving.json"
    done = run("serving", "--quick", "--json", path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"concurrency 8: \d+ requests a second, bare model \d+: \d", done.stdout)
    rows = json.loads(path.read_text())["rows"]
    assert rows[0]["case"] == "start to ready"
    assert rows[0]["max_abs_difference"] < 1e-5  # the bare model is the same model
    ends = [row["case"].partition(": ")[2].partition(" (")[0] for row in rows[1:]]
    assert ends == ["a request", "p50", "p95", "p99"] * 3
    for row in rows:
        assert list(row) == KEYS
        assert row["ratio"] == pytest.approx(row["rival_s"] / row["ours_s"])


def test_an_unknown_name_is_one_line():
    done = run("similarity", "spectrum")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: no benchmark named 'spectrum', choose from: record, ")
    assert done.stderr.count("\n") == 1
