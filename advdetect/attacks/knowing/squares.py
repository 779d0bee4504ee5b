"""Random search on the guard's answers alone."""

import torch
from torch import Tensor

from advdetect.attacks.balls import project
from advdetect.attacks.knowing.descent import margin
from advdetect.attacks.knowing.evasion import Best, Climb
from advdetect.attacks.knowing.target import Answers, Target

FOOLED = 1e6  # any image that fools the classifier is better than any that does not


class GuardSquare(Climb):
    """Square attack on label, logits and score of the whole guard; takes no gradients.

    One square of every picture is moved to the edge of the budget at a time, and kept where that
    fools the classifier, or has fooled it and lowers the guard's score. In linf.

    Args:
        queries: Times that each picture is asked about.
        share: Of the picture that the first squares cover.

    Source:
        Andriushchenko et al. 2020, arXiv:1912.00049, algorithms 1 and 2; the guard's score in the
        loss is our own.
    """

    def __init__(self, *, queries: int = 500, share: float = 0.3) -> None:
        super().__init__("linf")
        self.queries = queries
        self.share = share

    def _improve(
        self,
        target: Target,
        images: Tensor,
        labels: Tensor,
        eps: float,
        best: Best,
        generator: torch.Generator,
    ) -> None:
        rows = best.open
        if not len(rows):
            return
        height, width = images.shape[2:]
        stripes = _signs((len(images), images.shape[1], 1, width), generator).to(images)
        start = torch.where(
            (best.p_value >= 0).view(-1, 1, 1, 1), best.images, (images + eps * stripes)
        )
        moved = project(start, images, eps, "linf")[rows]
        worth = self._ask(target, rows, moved, labels, best)
        for query in range(1, self.queries):
            left = torch.isin(rows, best.open)
            rows, moved, worth = rows[left], moved[left], worth[left]
            if not len(rows):
                return
            side = max(1, round(_shrinking(self.share, query / self.queries) * min(height, width)))
            corner = torch.rand(2, len(rows), generator=generator)
            signs = _signs((len(rows), images.shape[1], 1, 1), generator).to(images)
            inside = _squares(corner, side, height, width).to(images.device)
            tried = torch.where(inside, images[rows] + eps * signs, moved)
            tried = project(tried, images[rows], eps, "linf")
            value = self._ask(target, rows, tried, labels, best)
            better = value > worth
            moved = torch.where(better.view(-1, 1, 1, 1), tried, moved)
            worth = torch.where(better, value, worth)

    def _ask(
        self, target: Target, rows: Tensor, moved: Tensor, labels: Tensor, best: Best
    ) -> Tensor:
        said: Answers = target.ask(moved)
        best.keep(rows, moved, labels[rows], said)
        fooled = said.label != labels[rows]
        calm = FOOLED - said.true_score.double()
        return torch.where(fooled, calm, -margin(said.logits, labels[rows]).double())


def _shrinking(share: float, done: float) -> float:
    """Side of the squares, as a share of the picture's: halved in area at set points."""
    halvings = sum(done > point for point in (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8))
    return float((share / 2**halvings) ** 0.5)


def _signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2, shape, generator=generator) * 2.0 - 1.0


def _squares(corner: Tensor, side: int, height: int, width: int) -> Tensor:
    """Masks ``(n, 1, height, width)`` of squares placed by ``corner`` (2, n) in [0, 1)."""
    top = (corner[0] * (height - side + 1)).long()[:, None]
    start = (corner[1] * (width - side + 1)).long()[:, None]
    y, x = torch.arange(height), torch.arange(width)
    down = (y >= top) & (y < top + side)
    across = (x >= start) & (x < start + side)
    return (down[:, :, None] & across[:, None, :])[:, None]
