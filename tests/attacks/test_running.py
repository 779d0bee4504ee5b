"""A suite over many images: what comes back, in which order, and what is counted."""

import pytest
import torch

from advdetect.attacks import (
    ATTACKS,
    SUITES,
    AttackResult,
    Budget,
    attack,
    attack_chunk,
    choose_budgets,
)
from advdetect.attacks.running import chunk_tensors, fingerprints, join, plan
from advdetect.errors import InputError, ModelError


@pytest.fixture
def many(known):
    """More images than a chunk holds: the six known ones, a little darker each time."""
    images = torch.cat([known.images - 0.001 * i for i in range(20)])
    return images, torch.zeros(120, dtype=torch.int64)


def result(attack, **columns):
    n = len(columns["labels"])
    empty = torch.zeros(n, dtype=torch.int64)
    names = ("index", "source", "distances", "forwards", "backwards")
    return AttackResult(
        attack,
        ATTACKS[attack].norm,
        None,
        adversarial=torch.zeros(n, 1, 1, 1),
        **{name: empty for name in names},
        **{name: torch.tensor(values) for name, values in columns.items()},
    )


def test_results_come_in_the_suites_order_with_all_that_was_known(known):
    run = attack(known.model, known.images, known.labels, suite="quick", seed=3)
    assert (run.suite, run.seed) == ("quick", 3)
    assert [found.budget for found in run.results] == list(SUITES["quick"])
    for found in run.results:
        assert len(found) == 6
        assert found.norm == ATTACKS[found.attack].norm
        assert found.control == (found.attack == "linf_uniform_noise")
        assert torch.equal(found.labels, known.labels)
        assert torch.equal(found.index, torch.arange(6))
        assert torch.equal(found.source, fingerprints(known.images))
        assert found.forwards.shape == found.backwards.shape == (6,)


def test_chunks_give_the_same_in_reverse_order_and_among_other_work(known, many):
    images, labels = many
    run = attack(known.model, images, labels, suite="quick", seed=5)
    source = fingerprints(images)
    parts = {}
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        for budget, rows in reversed(plan(SUITES["quick"], 120)):
            torch.rand(3)
            chunk = attack_chunk(known.model, images[rows], labels[rows], budget, seed=5)
            tensors = chunk_tensors(chunk, labels[rows], rows, source[rows])
            parts.setdefault(budget, []).insert(0, tensors)
    for found in run.results:
        again = join(found.budget, parts[found.budget])
        for name in ("adversarial", "index", "source", "prediction", "success", "distances"):
            assert torch.equal(getattr(again, name), getattr(found, name)), name


def test_another_seed_draws_other_noise(known):
    first, second = (
        attack(known.model, known.images, known.labels, suite="quick", seed=seed).results[-1]
        for seed in (0, 1)
    )
    assert not torch.equal(first.adversarial, second.adversarial)


def test_every_chunk_is_shown_to_the_progress_bar(known):
    seen = []

    def track(chunks, description):
        for budget, rows in chunks:
            seen.append((description, budget, len(rows)))
            yield budget, rows

    attack(known.model, known.images, known.labels, suite="quick", track=track)
    assert seen == [("attacking", budget, 6) for budget in SUITES["quick"]]


def test_work_is_cut_into_chunks_and_dear_attacks_run_on_the_first_images():
    work = plan([Budget("linf_fgsm", 0.1), Budget("l2_hop_skip_jump")], 250, chunk=100)
    cheap = [rows for budget, rows in work if budget.attack == "linf_fgsm"]
    dear = [rows for budget, rows in work if budget.attack == "l2_hop_skip_jump"]
    assert [len(rows) for rows in cheap] == [100, 100, 50]
    assert torch.equal(torch.cat(cheap), torch.arange(250))
    share = round(250 * ATTACKS["l2_hop_skip_jump"].share)
    assert torch.equal(torch.cat(dear), torch.arange(share))
    assert len(plan([Budget("l2_hop_skip_jump")], 1)) == 1  # never on none


def test_a_norm_keeps_its_attacks_alone():
    budgets = choose_budgets("standard", "l2")
    assert budgets == tuple(b for b in SUITES["standard"] if ATTACKS[b.attack].norm == "l2")
    assert choose_budgets("standard") == SUITES["standard"]


def test_an_eps_replaces_the_suites_budgets_once_per_attack():
    budgets = choose_budgets("standard", "linf", 0.05)
    assert [b.attack for b in budgets] == [
        "linf_fgsm",
        "linf_bim",
        "linf_pgd",
        "linf_fmn",
        "linf_uniform_noise",
    ]
    assert {b.eps for b in budgets} == {0.05}


def test_an_attack_with_a_replaced_budget_keeps_it(known):
    run = attack(known.model, known.images, known.labels, norm="linf", eps=0.03)
    assert {found.eps for found in run.results} == {0.03}
    for found in run.results:
        assert found.distances.max() <= 0.03 + 1e-6
        if not found.control:
            assert torch.equal(found.success, known.distance["linf"] < 0.03)


def test_an_attack_counts_where_it_turned_a_right_prediction():
    found = result(
        "linf_fgsm",
        labels=[0, 0, 0, 0],
        clean_prediction=[0, 0, 1, 1],
        prediction=[1, 0, 1, 0],
        success=[True, False, True, False],
    )
    assert found.counted.tolist() == [True, False, False, False]


def test_noise_counts_where_both_predictions_are_right():
    found = result(
        "linf_uniform_noise",
        labels=[0, 0, 0, 0],
        clean_prediction=[0, 0, 1, 1],
        prediction=[1, 0, 1, 0],
        success=[True, False, True, False],
    )
    assert found.counted.tolist() == [False, True, False, False]


def test_counted_rows_of_a_run(known):
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    for found in attack(known.model, known.images, labels, suite="quick").results:
        assert not found.counted[3:].any()
        assert torch.equal(found.counted[:3], found.success[:3] ^ found.control)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_fingerprints_are_equal_for_equal_pictures(dtype):
    images = torch.linspace(0, 1, 48).view(3, 1, 4, 4).to(dtype)
    found = fingerprints(torch.cat([images, images.flip(0)]))
    assert found.dtype == torch.int64
    assert torch.equal(found[:3], found[3:].flip(0))
    assert len(found.unique()) == 3
    changed = images.clone()
    changed[1, 0, 3, 3] += 0.01
    assert (fingerprints(changed) == found[:3]).tolist() == [True, False, True]
    columns = images.transpose(2, 3).contiguous().transpose(2, 3)
    assert torch.equal(fingerprints(columns), found[:3])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"suite": "hard"}, "no suite named 'hard', choose from: quick, fitting, standard"),
        ({"norm": "l1"}, "no norm named 'l1', choose from: linf, l2"),
        ({"eps": 0.1}, "an eps means nothing without its norm: give norm='linf' or 'l2'"),
        ({"suite": "quick", "norm": "l2"}, "the suite 'quick' has no l2 attack"),
        ({"norm": "linf", "eps": -1.0}, "a finite number and not negative, got -1.0"),
    ],
)
def test_says_what_is_wrong_with_an_argument(known, arguments, message):
    with pytest.raises(InputError, match=message):
        attack(known.model, known.images, known.labels, **arguments)


def test_images_and_labels_are_checked_before_anything_runs(known):
    with pytest.raises(InputError, match=r"pixels must lie in \[0, 1\]"):
        attack(known.model, known.images * 3, known.labels)
    with pytest.raises(InputError, match="expected 6 labels, one per image"):
        attack(known.model, known.images, known.labels[:5])
    with pytest.raises(InputError, match="labels must run from 0 to 1, got 0 to 7"):
        attack(known.model, known.images, torch.tensor([0, 0, 0, 0, 0, 7]), suite="quick")


def test_a_model_that_returns_a_tuple_is_refused(known):
    model = torch.nn.LSTM(4, 4)
    images = torch.zeros(2, 1, 4, 4)

    class Squeezed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, batch):
            return self.inner(batch.squeeze(1))

    with pytest.raises(ModelError, match=r"return \(n, classes\) logits, got tuple"):
        attack(Squeezed(), images, torch.zeros(2, dtype=torch.int64), suite="quick")
