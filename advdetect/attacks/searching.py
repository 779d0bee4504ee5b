"""Attacks within a fixed eps that let go of an image as soon as it is broken."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, final

import torch
from eagerpy.astensor import astensor, astensor_
from foolbox.attacks.base import FixedEpsilonAttack, get_criterion, raise_if_kwargs
from foolbox.criteria import Misclassification
from foolbox.distances import l2, linf
from torch import Tensor

from advdetect.attacks.base import Norm
from advdetect.errors import InputError

Classify = Callable[[Tensor], Tensor]


class Hold:
    """Images under attack within one eps: which still hold, and what broke the others.

    Attributes:
        images: ``(n, c, h, w)`` pixels in [0, 1].
        labels: ``(n,)`` true classes.
        eps: Budget in pixels of [0, 1].
        found: ``(n, c, h, w)`` what broke each image; the last attempt where nothing has.
    """

    def __init__(self, classify: Classify, images: Tensor, labels: Tensor, eps: float) -> None:
        self.classify = classify
        self.images = images
        self.labels = labels
        self.eps = eps
        self.found = images.clone()
        self._holds = torch.ones(len(images), dtype=torch.bool, device=images.device)

    @property
    def rows(self) -> Tensor:
        """Indices of the images that still hold."""
        return self._holds.nonzero().squeeze(1)

    def ask(self, moved: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of attempts at the images ``rows``, and which of these are broken by now."""
        logits = self.classify(moved)
        return logits, self.judge(moved, rows, logits)

    def judge(self, moved: Tensor, rows: Tensor, logits: Tensor) -> Tensor:
        """Keep what is misclassified, and return which of the images ``rows`` are broken."""
        wrong = (logits.detach().argmax(1) != self.labels[rows]).nonzero().squeeze(1)
        if len(wrong):
            # Several attempts at one image may succeed at once: the first is kept, whole.
            first = torch.full_like(self.labels, len(rows))
            first.scatter_reduce_(0, rows[wrong], wrong, "amin")
            broken = rows[wrong].unique()
            broken = broken[self._holds[broken]]
            self.found[broken] = moved.detach()[first[broken]]
            self._holds[broken] = False
        return ~self._holds[rows]

    def holds(self, rows: Tensor) -> Tensor:
        """Which of the images ``rows`` still hold."""
        return self._holds[rows]

    def attempt(self, moved: Tensor, rows: Tensor) -> None:
        """Remember a last attempt at those of the images ``rows`` that still hold."""
        left = self._holds[rows]
        self.found[rows[left]] = moved[left]


class Search(FixedEpsilonAttack):
    """An attack within eps on the images that hold; subclasses say how they look for more.

    For a fixed eps a success is a success: an image that is misclassified once is done with and
    costs no further pass. Random numbers come from torch's global generator, as in Foolbox.

    Args:
        norm: ``linf`` or ``l2``.
    """

    def __init__(self, norm: Norm) -> None:
        self.norm = norm

    @property
    def distance(self) -> Any:
        return linf if self.norm == "linf" else l2

    @final
    def run(self, model: Any, inputs: Any, criterion: Any, *, epsilon: float, **kwargs: Any) -> Any:
        """Return ``(n, c, h, w)`` pictures within ``epsilon``, adversarial where it succeeds."""
        raise_if_kwargs(kwargs)
        images, wrapped = unwrapped(inputs)
        hold = Hold(model, images, true_labels(model, criterion), float(epsilon))
        with torch.no_grad():
            self.search(hold)
        return wrapped(hold.found)

    @abstractmethod
    def search(self, hold: Hold) -> None:
        """Break what it can of ``hold.rows``, each by its own; called without gradients."""


def aims(hold: Hold, targets: int, lanes: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The images that hold with wrong classes to aim at, the likeliest first, round by round.

    Where few images hold, several classes are aimed at side by side, so that the model gets full
    batches.

    Args:
        hold: The images under attack.
        targets: At most so many classes for each image.
        lanes: Points that may go through the model at once, unless more images come.

    Yields:
        ``(m,)`` rows and ``(m,)`` classes, a lane each.
    """
    rows = hold.rows
    if not len(rows):
        return
    logits = hold.classify(hold.images[rows])
    others = logits.scatter(1, hold.labels[rows, None], -torch.inf)
    count = min(targets, logits.shape[1] - 1)
    likeliest = torch.zeros(len(hold.labels), count, dtype=torch.int64, device=rows.device)
    likeliest[rows] = others.topk(count, dim=1).indices
    done = 0
    while done < count and len(rows := hold.rows):
        width = min(max(1, lanes // len(rows)), count - done)
        yield rows.repeat_interleave(width), likeliest[rows, done : done + width].flatten()
        done += width


def true_labels(model: Any, criterion: Any) -> Tensor:
    """Return the ``(n,)`` labels to get away from, of a model of pixels in [0, 1].

    Raises:
        InputError: a criterion that names another aim, or a model of other pixels.
    """
    criterion = get_criterion(criterion)
    if not isinstance(criterion, Misclassification):
        raise InputError(
            f"expected labels or Misclassification(labels), got {type(criterion).__name__}: "
            "these attacks seek any wrong class"
        )
    if tuple(model.bounds) != (0, 1):
        raise InputError(f"expected a model with bounds (0, 1), got {tuple(model.bounds)}")
    return criterion.labels.raw


def unwrapped(inputs: Any) -> tuple[Tensor, Callable[[Tensor], Any]]:
    """Return the tensor in what Foolbox passes on, and what wraps another one like it."""
    tensor, restore = astensor_(inputs)
    return tensor.raw, lambda found: restore(astensor(found))
