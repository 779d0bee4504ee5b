"""Penalties: what they see, what they do not see, and that a network can learn from them."""

import importlib

import pytest
import torch
from torch.nn import functional as F

from advdetect.ensembles import PENALTIES
from advdetect.ensembles.penalties import (
    LAST,
    PENULTIMATE,
    bits,
    dcor,
    gbs,
    partial_dcor,
    semi_partial_dcor,
    unbiased_dcor,
)
from advdetect.similarity.cka import unbiased_linear_cka
from advdetect.similarity.distance_correlation import (
    partial_distance_correlation,
    unbiased_squared_distance_correlation,
)

UNBIASED = ("unbiased-dcor", "partial-dcor", "semi-partial-dcor", "cka", "bits")


def normal(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def one_hot(n: int, classes: int = 4) -> torch.Tensor:
    return F.one_hot(torch.arange(n) % classes, classes).double()


def rotation(p: int) -> torch.Tensor:
    return torch.linalg.qr(normal(p, p, seed=5)).Q


def permutation(p: int) -> torch.Tensor:
    return torch.eye(p).double()[torch.randperm(p, generator=torch.Generator().manual_seed(6))]


@pytest.fixture(scope="module")
def oracle():
    threads = torch.get_num_threads()
    library = importlib.import_module("dcor")
    torch.set_num_threads(threads)  # the import takes all cores, for torch as well
    return library


def test_all_but_bits_look_at_penultimate_features() -> None:
    assert {name for name, penalty in PENALTIES.items() if penalty.layer == LAST} == {"bits"}
    assert {penalty.layer for penalty in PENALTIES.values()} == {LAST, PENULTIMATE}


# Partial forms take the labels out of x's distances, which a rotation and a scale keep; the
# semi-partial one leaves them in y, so that x against itself is sqrt(1 - r^2), not 1.
@pytest.mark.parametrize("name", [name for name in PENALTIES if name != "semi-partial-dcor"])
def test_members_that_differ_by_a_rotation_are_alike(name: str) -> None:
    x, labels = normal(40, 6, seed=1), one_hot(40)
    # Bits are gated unit by unit: of rotations, those that permute units alone keep them.
    turned = x @ (permutation(6) if name == "bits" else rotation(6))
    assert PENALTIES[name].value(x, turned, labels).item() == pytest.approx(1, abs=1e-9)
    assert PENALTIES[name].value(x, 3 * turned, labels).item() == pytest.approx(1, abs=1e-9)


def test_semi_partial_of_a_member_with_itself_is_what_labels_do_not_explain() -> None:
    labels = one_hot(40)
    x = normal(40, 6, seed=1) + 2 * labels @ normal(4, 6, seed=2)
    r = unbiased_squared_distance_correlation(x, labels)
    assert r > 0.2
    found = semi_partial_dcor(x, 3 * x @ rotation(6), labels)
    torch.testing.assert_close(found, (1 - r**2).sqrt())


@pytest.mark.parametrize("name", PENALTIES)
def test_a_shift_is_seen_by_what_looks_at_angles_and_signs_alone(name: str) -> None:
    x, labels = normal(60, 8, seed=1), one_hot(60)
    value = PENALTIES[name].value
    same = abs(value(x, x + 3, labels) - value(x, x, labels)).item() < 1e-9
    assert same == (name not in ("dcor", "gbs", "bits"))


@pytest.mark.parametrize("name", PENALTIES)
def test_a_length_of_each_row_is_not_seen_by_what_scales_rows(name: str) -> None:
    x, labels = normal(60, 8, seed=1), one_hot(60)
    lengths = torch.linspace(0.1, 4, 60).double()[:, None]
    value = PENALTIES[name].value
    same = abs(value(x, x * lengths, labels) - value(x, x, labels)).item() < 1e-9
    assert same == (name in ("dcor", "gbs"))


@pytest.mark.parametrize("name", UNBIASED)
def test_unrelated_features_are_about_0(name: str) -> None:
    found = [
        PENALTIES[name].value(normal(128, 512, seed=s), normal(128, 512, seed=s + 50), one_hot(128))
        for s in range(4)
    ]
    assert all(0 <= value < 0.05 for value in found)


def test_the_papers_penalty_is_far_above_0_for_unrelated_features() -> None:
    # What the paper's loss presses down at its own batch size is mostly this.
    x, y = normal(128, 512, seed=1), normal(128, 512, seed=2)
    assert 0.9 < dcor(x, y, one_hot(128)) < 0.97


def test_the_graphs_of_unrelated_features_share_what_chance_gives() -> None:
    # Of 5 neighbours among 127 others: 5/127, whatever the labels.
    x, y = normal(128, 30, seed=1), normal(128, 30, seed=2)
    assert gbs(x, y, one_hot(128)).item() == pytest.approx(5 / 127, abs=0.03)


def test_graphs_worked_out_by_hand() -> None:
    # Four rows have all three edges each, and those at right angles weigh nothing.
    x = torch.eye(2).double().repeat_interleave(2, 0)  # pairs 0-1 and 2-3
    y = torch.eye(2).double().repeat(2, 1)  # pairs 0-2 and 1-3
    assert gbs(x, y, one_hot(4)).item() == pytest.approx(0, abs=1e-12)
    assert gbs(x, 2 * x, one_hot(4)).item() == pytest.approx(1)


def test_few_rows_are_few_neighbours() -> None:
    # Five neighbours are asked for, four rows have three.
    x = normal(4, 3, seed=1)
    assert gbs(x, x, one_hot(4)).item() == pytest.approx(1)


def test_values_against_dcor(oracle) -> None:
    labels = one_hot(50)
    common = normal(50, 2, seed=1) + labels @ normal(4, 2, seed=9)
    x, y = (torch.cat([common, normal(50, p, seed=p)], 1) for p in (3, 4))
    rows = [(m / m.norm(dim=1, keepdim=True)).numpy() for m in (x, y)]
    expected = oracle.distance_correlation_sqr(*rows)
    assert dcor(x, y, labels).item() == pytest.approx(expected, rel=1e-9)
    expected = oracle.u_distance_correlation_sqr(x.numpy(), y.numpy())
    assert unbiased_dcor(x, y, labels).item() == pytest.approx(expected, rel=1e-9)
    expected = oracle.partial_distance_correlation(x.numpy(), y.numpy(), labels.numpy())
    assert expected > 0.05
    assert partial_dcor(x, y, labels).item() == pytest.approx(expected, rel=1e-9)
    xy, xz, yz = (
        oracle.u_distance_correlation_sqr(a.numpy(), b.numpy())
        for a, b in ((x, y), (x, labels), (y, labels))
    )
    # Labels are taken out of the first alone: only its remainder is in the denominator.
    expected = (xy - xz * yz) / (1 - xz**2) ** 0.5
    assert semi_partial_dcor(x, y, labels).item() == pytest.approx(expected, rel=1e-9)


def test_partial_dcor_does_not_see_what_the_task_alone_explains() -> None:
    labels = one_hot(128)
    # Both put classes where they like, and all else is their own.
    x, y = (5 * labels @ normal(4, 8, seed=s) + normal(128, 8, seed=s + 20) for s in (1, 2))
    assert unbiased_dcor(x, y, labels) > 0.5
    assert partial_dcor(x, y, labels) < 0.1


def test_partial_dcor_sees_what_is_shared_beyond_the_task() -> None:
    labels, common = one_hot(128), normal(128, 8, seed=3)
    x, y = (
        0.3 * labels @ normal(4, 8, seed=s) + common + normal(128, 8, seed=s + 9) for s in (1, 2)
    )
    assert partial_dcor(x, y, labels) > 0.1
    assert partial_dcor(x, x + 0.1 * y, labels) > 0.9


def opposed() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features whose unbiased estimates are below 0, found by trying."""
    for seed in range(100):
        x, y, labels = normal(8, 2, seed=seed), normal(8, 2, seed=seed + 500), one_hot(8, 2)
        soft = [torch.tanh(m / m.abs().mean()) for m in (x, y)]
        estimates = (
            unbiased_squared_distance_correlation(x, y),
            partial_distance_correlation(x, y, labels),
            unbiased_linear_cka(x, y),
            unbiased_linear_cka(*soft),
        )
        if max(estimates) < -0.01:
            return x, y, labels
    raise AssertionError("no seed gives opposed features")


@pytest.mark.parametrize("name", UNBIASED)
def test_members_are_to_be_unrelated_and_not_opposed(name: str) -> None:
    x, y, labels = opposed()
    x.requires_grad_()
    value = PENALTIES[name].value(x, y, labels)
    assert value.item() == 0
    (gradient,) = torch.autograd.grad(value, x)
    assert (gradient == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("case", ["duplicates", "a constant feature", "all the same", "zeros"])
def test_gradients_are_finite(name: str, case: str, dtype: torch.dtype) -> None:
    x, y = normal(12, 5, seed=1).to(dtype), normal(12, 4, seed=2).to(dtype)
    if case == "duplicates":
        x = torch.cat([x[:6], x[:6]])
    elif case == "a constant feature":
        x[:, 0] = 0.3
    elif case == "all the same":
        x = x[:1].expand(12, 5).clone()
    else:
        x[:4] = 0
    x.requires_grad_()
    y.requires_grad_()
    value = PENALTIES[name].value(x, y, one_hot(12).to(dtype))
    assert 0 <= value <= 1
    for gradient in torch.autograd.grad(value, (x, y)):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("name", [name for name in PENALTIES if name != "bits"])
def test_gradients_against_differences(name: str) -> None:
    x = normal(9, 3, seed=1)
    y = x @ normal(3, 4, seed=2) + 0.3 * normal(9, 4, seed=3)
    labels = one_hot(9, 2)
    value = PENALTIES[name].value
    assert value(x, y, labels) > 0  # below it is cut off and flat
    x.requires_grad_()
    y.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: value(a, b, labels), (x, y))


def test_gradients_of_bits_take_the_steepness_as_given() -> None:
    x, y = normal(9, 3, seed=1), normal(9, 3, seed=2)
    y += x
    x.requires_grad_()
    (found,) = torch.autograd.grad(bits(x, y, one_hot(9)), x)
    steep = [m.detach().abs().mean() for m in (x, y)]
    soft = unbiased_linear_cka(torch.tanh(x / steep[0]), torch.tanh(y / steep[1]))
    (expected,) = torch.autograd.grad(soft, x)
    torch.testing.assert_close(found, expected)
    assert found.abs().max() > 1e-3


def test_bits_of_large_pre_activations_are_signs() -> None:
    # All of one size: tanh(1) = 0.76 is then the same for all, and scale does not matter.
    x, y = normal(30, 40, seed=1).sign(), normal(30, 40, seed=2).sign()
    y = torch.where(torch.arange(40) < 20, x, y)
    torch.testing.assert_close(bits(x, 7 * y, one_hot(30)), unbiased_linear_cka(x, y))
    assert bits(x, y, one_hot(30)) > 0.4


def test_bits_do_not_say_which_unit_is_which() -> None:
    x, y = normal(30, 12, seed=1), normal(30, 12, seed=1) + normal(30, 12, seed=2)
    found = bits(x, y @ permutation(12), one_hot(30))
    torch.testing.assert_close(found, bits(x, y, one_hot(30)))
    # Nor whether a unit is on where another is off: the same inputs are set apart.
    torch.testing.assert_close(bits(x, -y, one_hot(30)), found)
