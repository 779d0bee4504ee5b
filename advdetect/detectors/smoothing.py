"""Gradients of scores that have none: trees, kernels, walks on graphs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PAIRS = 48

Score = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def smoothed(score: Score, X: Tensor, spread: Tensor, *, width: float, seed: int = 0) -> Tensor:
    """The score itself, with the gradient of its average over Gaussian moves of a row.

    Rows are moved by ``width`` times ``spread``, there and back, and the gradient is the mean of
    direction times difference. Averaged over so many directions it points uphill, however the
    score is made; a larger ``width`` sees over steps, a smaller one is nearer to the truth.

    Args:
        score: From ``(m, d)`` rows to ``(m,)`` scores; row ``i`` of a call with ``m = k n`` rows
            is a move of row ``i % n``.
        X: ``(n, d)`` rows.
        spread: ``(d,)`` what a usual change of each column is.
        width: Size of the moves, in units of ``spread``.
        seed: Of the moves.

    Returns:
        ``(n,)``, at a price of ``2 PAIRS + 1`` scores a row.

    Source:
        Nesterov & Spokoiny 2017, doi:10.1007/s10208-015-9296-2, section 2 (Gaussian smoothing);
        antithetic pairs as in Salimans et al. 2017, arXiv:1703.03864.
    """
    value: Tensor = _Smoothed.apply(X, score, spread, width, seed)
    return value


class _Smoothed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, X: Tensor, score: Score, spread: Tensor, width: float, seed: int
    ) -> Tensor:
        rows = X.detach().double().cpu().numpy()
        unit = width * spread.detach().double().cpu().numpy()
        directions = np.random.default_rng(seed).standard_normal((PAIRS, *rows.shape))
        moved = np.concatenate([rows[None], rows + unit * directions, rows - unit * directions])
        scores = score(moved.reshape(-1, rows.shape[1])).reshape(-1, len(rows))
        ahead, behind = scores[1 : 1 + PAIRS], scores[1 + PAIRS :]
        slope = np.einsum("pn,pnd->nd", ahead - behind, directions) / (2 * PAIRS)
        gradient = slope / np.maximum(unit, 1e-300)
        ctx.save_for_backward(torch.from_numpy(gradient).to(X))
        return torch.from_numpy(scores[0]).to(X)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradients[0][:, None] * gradient, None, None, None, None
