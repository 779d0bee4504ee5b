"""Run a suite of attacks over images, chunk by chunk."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from advdetect.attacks.base import Budget, Norm
from advdetect.attacks.chunks import AttackedChunk, attack_chunk
from advdetect.attacks.tables import ATTACKS, SUITES
from advdetect.checks import check_images, check_labels, pick
from advdetect.errors import InputError

CHUNK = 100


@dataclass(frozen=True, eq=False)
class AttackResult:
    """What one attack with one budget made of ``n`` images.

    Attributes:
        attack: Name in ``ATTACKS``.
        norm: ``linf`` or ``l2``.
        eps: Budget in pixels of [0, 1], ``None`` for the smallest perturbation.
        adversarial: ``(n, c, h, w)`` pixels; an image that the model got wrong to begin with
            stays as it was, and so does one that a minimum-norm attack fails on.
        labels: ``(n,)`` true classes.
        index: ``(n,)`` which source image each row comes from.
        source: ``(n,)`` the source image's own fingerprint, equal for equal pictures.
        clean_prediction: ``(n,)`` class predicted for the clean image.
        prediction: ``(n,)`` class predicted for ``adversarial``.
        success: ``(n,)`` whether ``prediction`` is wrong.
        distances: ``(n,)`` size of the perturbation in ``norm``.
        forwards: ``(n,)`` images put through the model per image.
        backwards: ``(n,)`` gradients taken per image.
    """

    attack: str
    norm: Norm
    eps: float | None
    adversarial: Tensor
    labels: Tensor
    index: Tensor
    source: Tensor
    clean_prediction: Tensor
    prediction: Tensor
    success: Tensor
    distances: Tensor
    forwards: Tensor
    backwards: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def budget(self) -> Budget:
        return Budget(self.attack, self.eps)

    @property
    def control(self) -> bool:
        """Whether it is noise rather than an attack."""
        return ATTACKS[self.attack].control

    @property
    def counted(self) -> Tensor:
        """``(n,)`` rows that detection is judged by.

        For an attack: it succeeded, and the clean image was classified correctly. For noise:
        both predictions are right.
        """
        right = self.clean_prediction == self.labels
        return right & (~self.success if self.control else self.success)


@dataclass(frozen=True, eq=False)
class AttackRun:
    """Results of a suite, an ``AttackResult`` per attack and budget, in the suite's order."""

    suite: str
    seed: int
    results: tuple[AttackResult, ...]


Chunk = tuple[Budget, Tensor]
Track = Callable[[Sequence[Chunk], str], Iterable[Chunk]]


def untracked(items: Sequence[Chunk], _description: str) -> Iterable[Chunk]:
    """Show no progress."""
    return items


def attack(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    suite: str = "standard",
    norm: str | None = None,
    eps: float | None = None,
    seed: int = 0,
    surrogate: nn.Module | None = None,
    track: Track = untracked,
) -> AttackRun:
    """Attack images with every attack of a suite.

    Only images that the model classifies correctly are attacked. Expensive attacks run on the
    first ``Attack.share`` of the images.

    Args:
        model: Classifier of pixels in [0, 1]; its own normalisation belongs inside it.
        images: ``(n, c, h, w)`` pixels in [0, 1], on the model's device.
        labels: ``(n,)`` true classes.
        suite: Name in ``SUITES``.
        norm: Keeps the suite's attacks of this norm alone.
        eps: Replaces the suite's budgets, pixels of [0, 1].
        seed: With the content of each chunk it seeds the attacks: the same images in the same
            chunks give the same result in any order.
        surrogate: Classifier of the same pixels and classes that transfer attacks are made on;
            without one they are left out.
        track: Wraps the chunks to show progress.

    Raises:
        InputError: images outside [0, 1], labels that do not fit, no such suite or norm.
        ModelError: the model gives no class logits, or no gradients where an attack needs them.
    """
    check_images(images)
    check_labels(labels, len(images))
    source = fingerprints(images)
    parts: dict[Budget, list[dict[str, Tensor]]] = {}
    budgets = choose_budgets(suite, norm, eps, surrogate=surrogate is not None)
    for budget, rows in track(plan(budgets, len(images)), "attacking"):
        chunk = attack_chunk(
            model, images[rows], labels[rows], budget, seed=seed, surrogate=surrogate
        )
        parts.setdefault(budget, []).append(chunk_tensors(chunk, labels[rows], rows, source[rows]))
    return AttackRun(suite, seed, tuple(join(budget, found) for budget, found in parts.items()))


def choose_budgets(
    suite: str, norm: str | None = None, eps: float | None = None, *, surrogate: bool = False
) -> tuple[Budget, ...]:
    """List a suite's attacks, with ``norm`` and ``eps`` in place of its own budgets.

    Without a ``surrogate`` the attacks that are made on one are left out.
    """
    budgets = pick(SUITES, suite, "suite")
    budgets = tuple(b for b in budgets if surrogate or not ATTACKS[b.attack].surrogate)
    if norm is not None:
        if norm not in ("linf", "l2"):
            raise InputError(f"no norm named {norm!r}, choose from: linf, l2")
        budgets = tuple(b for b in budgets if ATTACKS[b.attack].norm == norm)
        if not budgets:
            raise InputError(f"the suite {suite!r} has no {norm} attack")
    if eps is not None:
        if norm is None:
            raise InputError("an eps means nothing without its norm: give norm='linf' or 'l2'")
        budgets = tuple(
            dict.fromkeys(
                b if ATTACKS[b.attack].sizeless else Budget(b.attack, eps) for b in budgets
            )
        )
    return budgets


def plan(budgets: Sequence[Budget], n: int, *, chunk: int = CHUNK) -> list[Chunk]:
    """Cut ``n`` images into chunks for each budget, the expensive attacks on fewer images."""
    work: list[Chunk] = []
    for budget in budgets:
        rows = torch.arange(max(1, round(n * ATTACKS[budget.attack].share)))
        work += [(budget, part) for part in rows.split(chunk)]
    return work


def chunk_tensors(
    chunk: AttackedChunk, labels: Tensor, index: Tensor, source: Tensor
) -> dict[str, Tensor]:
    """One chunk as tensors by the names of ``AttackResult``: what a run keeps on disk."""
    n = len(labels)
    return {
        "adversarial": chunk.adversarial,
        "labels": labels,
        "index": index,
        "source": source,
        "clean_prediction": chunk.clean_prediction,
        "prediction": chunk.prediction,
        "success": chunk.success,
        "distances": chunk.distance,
        "forwards": torch.full((n,), chunk.forwards),
        "backwards": torch.full((n,), chunk.backwards),
    }


def join(budget: Budget, chunks: Sequence[dict[str, Tensor]]) -> AttackResult:
    """Put the chunks of one budget together."""
    names = [field.name for field in fields(AttackResult)][3:]
    columns = {name: torch.cat([chunk[name] for chunk in chunks]) for name in names}
    return AttackResult(budget.attack, ATTACKS[budget.attack].norm, budget.eps, **columns)


def fingerprints(images: Tensor) -> Tensor:
    """Return an ``(n,)`` int64 hash of each picture's values, equal for equal pictures."""
    digests = [
        int.from_bytes(hashlib.blake2b(row.numpy().tobytes(), digest_size=8).digest(), "big")
        for row in images.detach().cpu().flatten(1).contiguous().view(torch.uint8)
    ]
    return torch.tensor([digest - 2**63 for digest in digests], dtype=torch.int64)
