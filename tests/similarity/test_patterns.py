"""Measures taken apart against the same measures as they are, and over batches."""

import pytest
import torch

from advdetect.errors import InputError
from advdetect.similarity import MEASURES
from advdetect.similarity.cka import MinibatchCKA
from advdetect.similarity.patterns import PATTERNS, Pattern, PatternSums, patterns_of

N = 40


def layers(n=N, seed=0, dtype=torch.float64):
    """Three representations that share something, one of them wide and one constant."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=generator, dtype=dtype)
    wide = x @ torch.randn(6, 90, generator=generator, dtype=dtype)
    other = torch.randn(n, 9, generator=generator, dtype=dtype) + wide[:, :9]
    return [x.relu(), wide, other, torch.full((n, 3), 0.25, dtype=dtype)]


def test_only_measures_that_solve_for_directions_are_not_cosines():
    apart = {"mean_cca", "mean_squared_cca", "svcca", "pwcca", "linear_regression_r2"}
    assert set(MEASURES) - set(PATTERNS) == apart | {"procrustes_similarity"}
    assert set(PATTERNS) < set(MEASURES)


@pytest.mark.parametrize("name", PATTERNS)
def test_cosines_of_patterns_are_the_measure(name):
    left, right = layers(), layers(seed=1)
    pattern = PATTERNS[name]
    found = (
        PatternSums(pattern)
        .update(patterns_of(pattern, left), patterns_of(pattern, right))
        .compute()
    )
    expected = [[MEASURES[name](x, y).item() for y in right] for x in left]
    torch.testing.assert_close(
        found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("name", PATTERNS)
def test_single_precision_is_enough(name):
    exact = _own(PATTERNS[name], layers()[:3])
    rough = _own(PATTERNS[name], [x.float() for x in layers()[:3]])
    torch.testing.assert_close(rough, exact, rtol=0, atol=1e-4)


def _own(pattern: Pattern, representations):
    read = patterns_of(pattern, representations)
    return PatternSums(pattern).update(read, read).compute()


def test_unbiased_terms_are_averaged_before_their_ratio():
    pattern, known = PATTERNS["unbiased_linear_cka"], MinibatchCKA()
    ours = PatternSums(pattern)
    for seed in range(3):
        x, y = layers(seed=seed)[:2]
        # Another scale for each batch, so that a mean of ratios would give something else.
        x, y = (seed + 1) * x, (seed + 1) * y
        known.update(x, y)
        read = patterns_of(pattern, [x, y])
        ours.update(read[:1], read[1:])
    assert ours.compute().item() == pytest.approx(known.compute().item(), abs=1e-10)


def test_other_measures_are_averaged_over_batches():
    pattern, sums = PATTERNS["graph_similarity"], PatternSums(PATTERNS["graph_similarity"])
    values = []
    for seed in range(3):
        x, y, *_ = layers(seed=seed)
        sums.update(patterns_of(pattern, [x]), patterns_of(pattern, [y]))
        values.append(MEASURES["graph_similarity"](x, y).item())
    assert sums.compute().item() == pytest.approx(sum(values) / 3)


def test_says_what_is_missing():
    with pytest.raises(InputError, match="no batch yet"):
        PatternSums(PATTERNS["linear_cka"]).compute()
    with pytest.raises(InputError, match="4"):
        patterns_of(PATTERNS["linear_cka"], [torch.rand(3, 2), torch.rand(3, 2)])
    with pytest.raises(InputError, match="rows"):
        patterns_of(PATTERNS["linear_cka"], [torch.rand(8, 2), torch.rand(7, 2)])
