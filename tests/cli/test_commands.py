"""What each command does when nothing is wrong, and what it looks like."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from advdetect.features.sensitivity import ALIGNMENT
from advdetect.guard import Guard

DIGITS = ("--data", "digits")
COMMANDS = (
    "demo",
    "attack",
    "fit",
    "detect",
    "evaluate",
    "compare",
    "compare-runs",
    "path",
    "list",
)
CONSOLE_SCRIPT = Path(sys.executable).with_name("advdetect")


def run_script(*arguments, cwd):
    """The installed command in a process of its own, on a terminal of 80 columns."""
    return subprocess.run(
        [CONSOLE_SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "80"},
        check=False,
    )


@pytest.fixture(scope="module")
def evaluated(advdetect, small_guard_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "evaluation"
    result = advdetect(*evaluate(small_guard_folder, out), env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return out, result


def evaluate(guard, out):
    # So many that every attack breaks some: the small model differs from processor to processor.
    return ["evaluate", guard, *DIGITS, "--suite", "quick", "--limit", "60", "--out", out]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(advdetect, command):
    result = advdetect(command, "--help", env={"COLUMNS": "80"})
    assert result.exit_code == 0
    assert f"Example: advdetect {command}" in " ".join(result.stdout.split())
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
    assert "…" not in result.stdout, "an option's name is cut off"


def test_help_names_every_command(advdetect):
    result = advdetect("--help")
    assert result.exit_code == 0
    for command in COMMANDS:
        assert f" {command} " in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_status_2(advdetect, command):
    result = advdetect(command, "--no-such-option")
    assert result.exit_code == 2
    assert "No such option" in result.stderr


@pytest.mark.parametrize("arguments", [("detect", "fashion-resnet"), ("attack",), ("wish",)])
def test_so_is_a_command_that_lacks_something(advdetect, arguments):
    assert advdetect(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("models", ["fashion-resnet"]),
        ("datasets", ["fashion-mnist", "digits", "mnist", "cifar10", "svhn", "FOLDER", "FILE.npz"]),
        ("attacks", ["linf_pgd", "l2_carlini_wagner", "linf_uniform_noise"]),
        ("suites", ["quick", "standard"]),
        ("detectors", ["logistic", "fiedler", "clean-only"]),
        ("features", ["bits", "graph", "logits"]),
        ("measures", ["linear_cka"]),
    ],
)
def test_lists_fit_a_terminal_of_80_columns(advdetect, kind, names):
    result = advdetect("list", kind, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    first = [line.split()[0] for line in lines if line.strip()]
    assert set(names) <= set(first)  # whole, at the start of a line
    machine = json.loads(advdetect("list", kind, "--json").stdout)
    assert set(names) <= {next(iter(row.values())) for row in machine}


def test_attack_prints_a_line_an_attack(advdetect, small_model, small_run):
    options = ["--split", "reference", "--suite", "quick", "--limit", "80", "--out", small_run]
    result = advdetect("attack", small_model, *DIGITS, *options, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    rows = [line.split() for line in result.stdout.splitlines()]
    names = ["linf_fgsm", "linf_pgd", "linf_fmn", "linf_uniform_noise"]
    assert [row[0] for row in rows if row and row[0].startswith("linf")] == names
    fgsm = next(row for row in rows if row[:2] == ["linf_fgsm", "8/255"])
    assert fgsm[2] == "80"
    machine = json.loads(advdetect("attack", small_model, *DIGITS, *options, "--json").stdout)
    line = machine["attacks"][0]
    assert fgsm[3] == f"{100 * line['success_rate']:.1f}"
    assert machine["split"] == "reference"


def test_an_interrupted_attack_goes_on_to_the_same_bytes(
    advdetect, small_model, small_run, tmp_path
):
    run = shutil.copytree(small_run, tmp_path / "run")
    (run / "records.parquet").unlink()
    for shard in list((run / "adversarial").iterdir())[1:]:
        shard.unlink()
    options = ["--split", "reference", "--suite", "quick", "--limit", "80", "--out", run]
    assert advdetect("attack", small_model, *DIGITS, *options).exit_code == 0
    files = sorted(p.relative_to(small_run) for p in small_run.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(run) for p in run.rglob("*") if p.is_file())
    for file in files:
        if file.name != "timings.json":
            assert (run / file).read_bytes() == (small_run / file).read_bytes(), file


def test_fit_keeps_a_guard_that_detect_takes(advdetect, small_model, small_run, pictures, tmp_path):
    guard = tmp_path / "guard"
    options = ["--attacked", small_run, "--false-alarm-rate", "0.1", "--out", guard]
    result = advdetect("fit", small_model, *DIGITS, *options)
    assert result.exit_code == 0, result.output
    first, last = result.stdout.splitlines()
    assert first.startswith("logistic on ")
    assert first.endswith("360 calibration images, 3 attacks; flags 10.0 % of clean inputs")
    assert last == f"guard in {guard}"
    assert Guard.load(guard).false_alarm_rate == 0.1
    assert advdetect("detect", guard, pictures).exit_code == 0
    again = tmp_path / "again"
    machine = advdetect("fit", small_model, *DIGITS, *options[:-1], again, "--json")
    assert json.loads(machine.stdout)["calibration"] == 360
    assert {p.name: p.read_bytes() for p in guard.iterdir()} == {
        p.name: p.read_bytes() for p in again.iterdir()
    }


def test_fit_asks_for_the_gradient_where_it_is_told_to(advdetect, small_model, pictures, tmp_path):
    options = [*DIGITS, "--detector", "clean-only", "--json", "--out"]
    plain = advdetect("fit", small_model, *options, tmp_path / "plain")
    asked = advdetect("fit", small_model, "--gradient", *options, tmp_path / "asked")
    assert asked.exit_code == 0, asked.output
    more = json.loads(asked.stdout)["features"] - json.loads(plain.stdout)["features"]
    assert more == len(ALIGNMENT)
    assert advdetect("detect", tmp_path / "asked", pictures).exit_code == 0


def test_evaluate_prints_a_row_an_attack_within_80_columns(evaluated):
    out, result = evaluated
    lines = result.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines if str(out) not in line)
    rows = {line.split()[0]: line for line in lines if line.startswith("linf")}
    assert list(rows) == ["linf_fgsm", "linf_pgd", "linf_fmn", "linf_uniform_noise"]
    assert rows["linf_uniform_noise"].split()[:3] == ["linf_uniform_noise", "(noise)", "8/255"]
    assert lines[-1] == f"report: {out / 'report.html'}"
    alarms = [line for line in result.stderr.splitlines() if line.startswith("false alarms at")]
    assert len(alarms) == 3


def test_an_interrupted_evaluation_goes_on_to_the_same_bytes(
    advdetect, evaluated, small_guard_folder, tmp_path
):
    out = shutil.copytree(evaluated[0], tmp_path / "run")
    kept = {name: (out / name).read_bytes() for name in ("records.parquet", "report.json")}
    for name in (*kept, "report.html"):
        (out / name).unlink()
    next((out / "adversarial").glob("linf_pgd*")).unlink()
    result = advdetect(*evaluate(small_guard_folder, out), "--json")
    assert result.exit_code == 0, result.output
    assert {name: (out / name).read_bytes() for name in kept} == kept
    assert json.loads(result.stdout) == json.loads(kept["report.json"])


def test_a_report_is_made_again_without_the_model(advdetect, evaluated, small_model, tmp_path):
    """The guard brings its model along: the folder that it was fitted from may be gone."""
    out = shutil.copytree(evaluated[0], tmp_path / "run")
    kept = (out / "report.json").read_bytes()
    (out / "report.json").unlink()
    hidden = small_model.rename(small_model.with_name("gone"))
    try:
        result = advdetect("evaluate", "--from", out, "--json")
    finally:
        hidden.rename(small_model)
    assert result.exit_code == 0, result.output
    assert (out / "report.json").read_bytes() == kept


def test_an_evaluation_with_other_options_leaves_the_run_alone(
    evaluated, refused, small_guard_folder
):
    out, _ = evaluated
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    arguments = evaluate(small_guard_folder, out)
    line = refused(
        *arguments, "--seed", "5", error=f"{out} holds another run (its seed is 0, not 5)"
    )
    assert line.rstrip().endswith("give another --out, or repeat that run's own command")
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before


def test_a_factory_of_the_current_folder_is_found(own_models):
    """As users call it: the installed script does not put the current folder on the path."""
    options = [*DIGITS, "--detector", "clean-only", "--out", "guard"]
    done = run_script("fit", "my_models:without_relu", *options, cwd=own_models)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the model has no ReLU-family call, saw none in a forward")
    assert done.stderr.count("\n") == 1
    options = [*DIGITS, "--suite", "quick", "--limit", "3", "--out", "run"]
    done = run_script("attack", "my_models:make", *options, cwd=own_models)
    assert done.returncode == 0, done.stderr
    assert "my_models:make on digits (evaluation), clean accuracy" in done.stdout
    assert done.stderr == ""


def test_ctrl_c_says_how_to_go_on(advdetect, small_model, tmp_path, monkeypatch):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("advdetect.workflows.attacking_worker.attack_chunk", interrupted)
    options = ["--suite", "quick", "--limit", "3", "--out", tmp_path / "run"]
    result = advdetect("attack", small_model, *DIGITS, *options)
    assert result.exit_code == 130
    assert result.stderr == "interrupted; the same command goes on where this one stopped\n"


def test_ctrl_c_promises_nothing_where_nothing_is_kept(
    advdetect, small_model, tmp_path, monkeypatch
):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("advdetect.workflows.fitting.Guard.fit", interrupted)
    options = ["--detector", "clean-only", "--out", tmp_path / "guard"]
    result = advdetect("fit", small_model, *DIGITS, *options)
    assert result.exit_code == 130
    assert result.stderr == "interrupted\n"


def test_a_bug_keeps_its_traceback(advdetect, small_model, tmp_path, monkeypatch):
    def broken(*_arguments, **_options):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("advdetect.workflows.attacking.summarise", broken)
    options = ["--suite", "quick", "--limit", "3", "--out", tmp_path / "run"]
    result = advdetect("attack", small_model, *DIGITS, *options)
    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.slow
def test_an_evaluation_by_someone_who_knows_and_beside_published_detectors(
    advdetect, small_model, small_guard_folder, tmp_path
):
    options = ["--adaptive", "--adaptive-limit", "3", "--baselines", "--workers", "1"]
    command = [*evaluate(small_guard_folder, tmp_path / "known"), *options]
    result = advdetect(*command, env={"COLUMNS": "100"})
    assert result.exit_code == 0, result.output
    assert "attacks that know the guard" in result.stdout
    assert "linf_joint_pgd" in result.stdout
    report = json.loads((tmp_path / "known" / "report.json").read_text())
    detectors = {row["detector"] for row in report["detection"]}
    assert detectors >= {"logistic", "softmax", "energy", "squeezing", "lid", "mahalanobis", "vim"}
    assert {row["detector"] for row in report["knowing"]} >= {"logistic", "deep-knn", "lid"}
    again = advdetect("evaluate", "--from", tmp_path / "known", "--json")
    assert json.loads(again.stdout) == report


def test_runs_side_by_side(advdetect, evaluated, tmp_path):
    other = shutil.copytree(evaluated[0], tmp_path / "other")
    result = advdetect("compare-runs", evaluated[0], other, "--out", tmp_path / "both")
    assert result.exit_code == 0, result.output
    assert "flagged at 5 %" in result.stdout
    assert str(tmp_path / "both" / "runs.html") in result.stdout
    options = ["--out", tmp_path / "both", "--json"]
    content = json.loads(advdetect("compare-runs", evaluated[0], other, *options).stdout)
    assert content["runs"] == ["evaluation", "other"]
    assert all(len(line["values"]) == 2 for line in content["lines"])


def test_a_surrogate_makes_transfer_attacks(advdetect, small_model, tmp_path):
    options = [*DIGITS, "--suite", "strong", "--norm", "linf", "--eps", "0.2", "--limit", "3"]
    without = advdetect("attack", small_model, *options, "--out", tmp_path / "without")
    assert without.exit_code == 0, without.output
    assert "left out: linf_transfer 8/255, linf_transfer 0.1; give another" in without.stderr
    given = ["--surrogate", small_model, "--threads", "1", "--out", tmp_path / "with"]
    beside = advdetect("attack", small_model, *options, *given, "--json")
    assert beside.exit_code == 0, beside.output
    attacks = [row["attack"] for row in json.loads(beside.stdout)["attacks"]]
    assert attacks == ["linf_strong", "linf_transfer"]
