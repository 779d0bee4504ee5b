"""The tables of attacks and suites hold together."""

import subprocess
import sys

import pytest

from advdetect.attacks import ATTACKS, SUITES

PARTS = ("apgd_ce", "apgd_targeted", "fab", "square")


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_names_attacks_with_the_eps_they_need_once_each(suite):
    budgets = SUITES[suite]
    assert len(set(budgets)) == len(budgets)
    for budget in budgets:
        assert (budget.eps is not None) == ATTACKS[budget.attack].takes_eps


def test_the_standard_suite_runs_every_attack_that_the_strong_one_is_not_made_of():
    in_suites = {budget.attack for suite in SUITES.values() for budget in suite}
    parts = {f"{norm}_{part}" for norm in ("linf", "l2") for part in PARTS}
    assert in_suites | parts | {"l2_transfer", "l2_reweighted"} == set(ATTACKS)
    in_fine = {budget.attack for budget in SUITES["fine"]}
    assert not (in_suites - in_fine) & parts
    assert in_fine & parts == {"linf_square"}


def test_the_strong_suite():
    assert [str(budget) for budget in SUITES["strong"]] == [
        "linf_strong 8/255",
        "linf_strong 0.1",
        "l2_strong 0.5",
        "l2_strong 1.5",
        "l2_hop_skip_jump",
        "linf_transfer 8/255",
        "linf_transfer 0.1",
    ]


@pytest.mark.parametrize(
    ("fitting", "judging"),
    [("fitting", "standard"), ("fine-fitting", "fine"), ("fine-fitting-full", "fine")],
)
def test_a_guard_is_fitted_on_no_noise_and_on_nothing_that_it_is_not_judged_by(fitting, judging):
    assert set(SUITES[fitting]) < set(SUITES[judging])
    assert not any(ATTACKS[budget.attack].control for budget in SUITES[fitting])


@pytest.mark.parametrize("suite", ["standard", "fine"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_controls_have_the_budgets_of_the_attacks(suite, norm):
    def budgets(control):
        return {
            budget.eps
            for budget in SUITES[suite]
            if ATTACKS[budget.attack].norm == norm
            and ATTACKS[budget.attack].control == control
            and budget.eps is not None
        }

    assert budgets(control=True) == budgets(control=False) != set()


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_named_by_its_norm_and_keeps_it(name):
    spec = ATTACKS[name]
    assert name.startswith(f"{spec.norm}_")
    assert str(spec.build().distance) == {"linf": "Linf distance", "l2": "L2 distance"}[spec.norm]
    assert 0 < spec.share <= 1


def test_families_that_are_left_out_together():
    families = {}
    for name, spec in ATTACKS.items():
        families.setdefault(spec.family, set()).add(name)
    made_by_pgd = ("pgd", "apgd_ce", "apgd_targeted", "strong", "transfer", "reweighted")
    by_norm = {f"{norm}_{name}" for norm in ("linf", "l2") for name in made_by_pgd}
    assert families["pgd"] == {"linf_bim", "linf_pgd_jpeg"} | by_norm
    assert families["square"] == {"linf_square", "l2_square"}
    assert families["fmn"] == {"linf_fmn", "l2_fmn"}
    controls = {name for name in ATTACKS if ATTACKS[name].control}
    assert controls == families["noise"] | families["change"]


def test_tables_are_read_without_foolbox():
    code = "import sys, advdetect.attacks; print('foolbox' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert (result.stdout, result.stderr) == ("False\n", "")
