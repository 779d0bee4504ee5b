"""Published detectors, fitted beside a guard."""

import pytest

from advdetect.errors import InputError
from advdetect.workflows.attacking import attack_data
from advdetect.workflows.baselines import baseline_guards
from advdetect.workflows.progress import untracked

NAMES = ("softmax", "lid")


def guards(small_guard, small, digits, folder, **options):
    return baseline_guards(
        small_guard,
        small,
        digits["reference"],
        digits["calibration"],
        folder,
        names=NAMES,
        track=untracked,
        **options,
    )


@pytest.fixture(scope="module")
def attacked(small, digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacked") / "run"
    attack_data(small, digits["reference"].subset(range(60)), folder, suite="quick")
    return folder


def test_they_are_fitted_on_the_attacks_given(small_guard, small, digits, attacked, tmp_path):
    found = guards(small_guard, small, digits, tmp_path, attacked=attacked)
    assert tuple(found) == NAMES
    assert {path.name for path in tmp_path.iterdir()} == set(NAMES)  # nothing was attacked again
    assert found["lid"].fitting.budgets == ("linf_fgsm 8/255", "linf_pgd 8/255", "linf_fmn")
    assert found["softmax"].fitting.budgets == ()  # it learns from clean images alone
    assert found["lid"].false_alarm_rate == small_guard.false_alarm_rate


def test_those_that_are_there_are_taken_up(small_guard, small, digits, attacked, tmp_path):
    guards(small_guard, small, digits, tmp_path, attacked=attacked)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("guard.json")}
    guards(small_guard, small, digits, tmp_path, attacked=attacked)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("guard.json")} == before


def test_attacks_on_evaluation_images_are_refused(small_guard, small, digits, tmp_path):
    run = tmp_path / "run"
    attack_data(small, digits["evaluation"].subset(range(40)), run, suite="quick")
    with pytest.raises(InputError, match="was made on evaluation images: a guard is fitted on"):
        guards(small_guard, small, digits, tmp_path / "guards", attacked=run)
