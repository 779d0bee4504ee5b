"""What every measure in the table must see, must not see, and must survive."""

import pytest
import torch

from advdetect.errors import InputError
from advdetect.similarity import MEASURES

ROWS, WIDTH = 60, 8
NO_GRADIENT = {"correlation_rsa", "hamming_rsa"}
FEWEST_ROWS = {
    "unbiased_linear_cka": 4,
    "unbiased_squared_distance_correlation": 4,
    "correlation_rsa": 3,
    "euclidean_rsa": 3,
    "hamming_rsa": 3,
}


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def related(rows: int = ROWS, width: int = WIDTH, other: int = 5) -> list[torch.Tensor]:
    """Two representations that share some of what they hold."""
    x = normal(rows, width, seed=1)
    return [x, x @ normal(width, other, seed=2) + 2 * normal(rows, other, seed=3)]


def on_one_side(change):
    """Change the first representation, keep the second, then the other way round."""
    x, y = related(other=WIDTH)
    return [(change(x), y), (x, change(y))]


def on_both(change):
    x, y = related(other=WIDTH)
    return [(change(x), change(y))]


ROTATION = torch.linalg.qr(normal(WIDTH, WIDTH, seed=5))[0]
LINEAR = normal(WIDTH, WIDTH, seed=6)
ORDER = torch.randperm(ROWS, generator=torch.Generator().manual_seed(7))

CHANGES = {
    "shift": on_one_side(lambda x: x + normal(WIDTH, seed=8)),
    "rotation": on_one_side(lambda x: x @ ROTATION),
    "scale": on_one_side(lambda x: 1e-7 * x),
    "linear map": on_one_side(lambda x: x @ LINEAR),
    "order of both": on_both(lambda x: x[ORDER]),
    "order of one": on_one_side(lambda x: x[ORDER]),
    "every row twice": on_both(lambda x: x.repeat(2, 1)),
}
KERNELS = {"shift", "rotation", "scale", "order of both"}

# What is not listed is seen.
BLIND = {
    "linear_cka": {*KERNELS, "every row twice"},
    "unbiased_linear_cka": KERNELS,
    "rbf_cka": {*KERNELS, "every row twice"},
    "distance_correlation": {*KERNELS, "every row twice"},
    "squared_distance_correlation": {*KERNELS, "every row twice"},
    "unbiased_squared_distance_correlation": KERNELS,
    "graph_similarity": {"rotation", "scale", "order of both"},
    "degree_correlation": {"rotation", "scale", "order of both"},
    "correlation_rsa": {"scale", "order of both"},
    "euclidean_rsa": KERNELS,
    "hamming_rsa": {"scale", "order of both"},
    "mean_cca": {*KERNELS, "linear map", "every row twice"},
    "mean_squared_cca": {*KERNELS, "linear map", "every row twice"},
    "svcca": {*KERNELS, "every row twice"},
    "pwcca": {"shift", "scale", "order of both", "every row twice"},
    "linear_regression_r2": {*KERNELS, "every row twice"},
    "procrustes_similarity": {*KERNELS, "every row twice"},
}
BLIND_ON_THE_SECOND_SIDE = {
    "pwcca": {"rotation", "linear map"},
    "linear_regression_r2": {"linear map"},
}


def test_the_tables_name_the_same_measures() -> None:
    assert set(BLIND) == set(MEASURES)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", MEASURES)
def test_sees_or_does_not_see(name: str, change: str) -> None:
    before = MEASURES[name](*related(other=WIDTH))
    for side, pair in enumerate(CHANGES[change]):
        moved = abs(MEASURES[name](*pair) - before).item()
        second = side == 1 and change in BLIND_ON_THE_SECOND_SIDE.get(name, ())
        if change in BLIND[name] or second:
            assert moved < 1e-9
        else:
            assert moved > 1e-4


@pytest.mark.parametrize("name", MEASURES)
def test_itself_scores_one_and_a_constant_zero(name: str) -> None:
    x, y = related()
    assert MEASURES[name](x, x).item() == pytest.approx(1, abs=1e-12)
    if name not in {"graph_similarity", "degree_correlation"}:  # cosines see constants
        assert MEASURES[name](torch.full_like(x, 0.1), y).item() == 0
        assert MEASURES[name](y, torch.full_like(x, 0.1)).item() == 0


@pytest.mark.parametrize("name", [name for name in MEASURES if name not in NO_GRADIENT])
def test_gradient(name: str) -> None:
    pair = [x.requires_grad_() for x in related(rows=12, width=3, other=2)]
    assert torch.autograd.gradcheck(MEASURES[name], pair)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", ["duplicates", "constant column", "constant", "wide"])
@pytest.mark.parametrize("name", MEASURES)
def test_finite_with_finite_gradient(name: str, case: str, dtype: torch.dtype) -> None:
    if (name, case) == ("pwcca", "wide"):
        return  # all correlations are 1: its directions are arbitrary, as its docstring says
    x, y = (z.to(dtype) for z in related(rows=12, width=20 if case == "wide" else 4, other=3))
    if case == "duplicates":
        x[6:], y[3:6] = x[:6].clone(), y[:3].clone()
    elif case == "constant column":
        x[:, 1], y[:, 0] = 0.1, 0
    elif case == "constant":
        x = torch.full_like(x, 0.1)
    if name not in NO_GRADIENT:
        x, y = x.requires_grad_(), y.requires_grad_()
    value = MEASURES[name](x, y)
    assert value.dtype == dtype
    assert value.shape == ()
    assert torch.isfinite(value)
    if name not in NO_GRADIENT:
        value.backward()
        assert torch.isfinite(x.grad).all()
        assert torch.isfinite(y.grad).all()


@pytest.mark.parametrize("mean", [0, 1000])
@pytest.mark.parametrize("name", MEASURES)
def test_single_precision_under_a_large_mean(name: str, mean: float) -> None:
    single = [(x + mean).float() for x in related(rows=200, width=40, other=30)]
    exact = MEASURES[name](*(x.double() for x in single))
    assert abs(MEASURES[name](*single) - exact) < 1e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", MEASURES)
def test_half_precision_is_computed_in_single(name: str, dtype: torch.dtype) -> None:
    half = [x.to(dtype) for x in related()]
    value = MEASURES[name](*half)
    assert value.dtype == torch.float32
    assert torch.equal(value, MEASURES[name](*(x.float() for x in half)))


@pytest.mark.parametrize("name", MEASURES)
def test_mixed_precision_takes_the_wider(name: str) -> None:
    x, y = related()
    torch.testing.assert_close(MEASURES[name](x.float().double(), y), MEASURES[name](x.float(), y))


@pytest.mark.parametrize("name", MEASURES)
def test_says_what_is_wrong(name: str) -> None:
    measure = MEASURES[name]
    least = FEWEST_ROWS.get(name, 2)
    for x, y, message in (
        (normal(9, 2), normal(8, 2), "pair up, got 9 and 8"),
        (normal(9, 2), normal(9), r"got \(9, 2\) and \(9,\)"),
        (normal(least - 1, 2), normal(least - 1, 2), f"at least {least} rows, got {least - 1}"),
        (normal(9, 2), normal(9, 2).long(), "floating-point features, got torch.int64"),
        (normal(9, 2), normal(9, 2) / 0, "must be finite"),
        (normal(9, 2) * torch.nan, normal(9, 2), "must be finite"),
    ):
        with pytest.raises(InputError, match=message):
            measure(x, y)
