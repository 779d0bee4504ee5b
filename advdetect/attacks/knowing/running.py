"""Run the attacks that know the guard, chunk by chunk."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from advdetect.attacks.balls import perturbation_size
from advdetect.attacks.base import Norm, eps_text
from advdetect.attacks.knowing.evasion import Best
from advdetect.attacks.knowing.tables import KNOWING, Effort
from advdetect.attacks.knowing.target import Target
from advdetect.checks import check_labels, pick
from advdetect.errors import InputError

USUAL = Effort()


@dataclass(frozen=True, eq=False)
class KnowingResult:
    """What one attack that knows the guard made of ``n`` images, within ``k`` budgets.

    Attributes:
        attack: Name in ``KNOWING``.
        norm: ``linf`` or ``l2``.
        budgets: ``k`` rising budgets, pixels of [0, 1].
        adversarial: ``(n, k, c, h, w)`` pixels; the clean image where nothing was found.
        labels: ``(n,)`` true classes.
        index: ``(n,)`` which source image each row comes from.
        clean_prediction: ``(n,)`` class predicted for the clean image; where it is wrong, the
            image was not attacked.
        prediction: ``(n, k)`` class predicted for ``adversarial``.
        p_value: ``(n, k)`` the guard's p-value of it.
        score: ``(n, k)`` the guard's score of it.
        distances: ``(n, k)`` size of the perturbation.
        forwards: ``(n, k)`` times that the guard was asked, all smaller budgets included.
        backwards: ``(n, k)`` gradients taken, likewise.
    """

    attack: str
    norm: Norm
    budgets: tuple[float, ...]
    adversarial: Tensor
    labels: Tensor
    index: Tensor
    clean_prediction: Tensor
    prediction: Tensor
    p_value: Tensor
    score: Tensor
    distances: Tensor
    forwards: Tensor
    backwards: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def attacked(self) -> Tensor:
        """``(n,)`` images that were classified correctly to begin with."""
        return self.clean_prediction == self.labels

    def evaded(self, false_alarm_rate: float) -> Tensor:
        """``(n, k)`` whether an image ends misclassified and not flagged."""
        wrong = self.prediction != self.labels[:, None]
        return wrong & (self.p_value > false_alarm_rate) & self.attacked[:, None]


def evade_chunk(
    target: Target,
    images: Tensor,
    labels: Tensor,
    attack: str,
    budgets: Sequence[float],
    *,
    seed: int,
    effort: Effort = USUAL,
) -> dict[str, Tensor]:
    """Attack one chunk of images, and the guard behind the classifier, knowingly.

    Everything returned is the guard's own answer to the images returned, asked for once more.

    Args:
        target: The guard.
        images: ``(n, c, h, w)`` pixels in [0, 1].
        labels: ``(n,)`` true classes.
        attack: Name in ``KNOWING``.
        budgets: Rising, in pixels of [0, 1].
        seed: With the content of the chunk it seeds the attack.
        effort: More steps or restarts than usual.

    Returns:
        The tensors of ``KnowingResult`` but ``index``, by name.

    Raises:
        InputError: no such attack, or budgets that do not rise.
    """
    spec = pick(KNOWING, attack, "attack that knows the guard")
    if not budgets or any(b <= a for a, b in zip((0.0, *budgets), budgets, strict=False)):
        told = ", ".join(map(eps_text, budgets)) or "none"
        raise InputError(f"expected budgets above 0 that rise, got {told}")
    images = images.detach()
    with target.frozen(), torch.no_grad():
        clean = target.ask(images)
        check_labels(labels, len(images), clean.logits.shape[1])
        right = (clean.label == labels).nonzero().squeeze(1)
        reached = [Best.none(images) for _ in budgets]
        if len(right):
            generator = torch.Generator().manual_seed(_chunk_seed(images, attack, seed))
            found = spec.build(effort).evade(
                target, images[right], labels[right], budgets, generator
            )
            for best, part in zip(reached, found, strict=True):
                for name in ("images", "forwards", "backwards"):
                    getattr(best, name)[right] = getattr(part, name)
        answers = [target.ask(best.images) for best in reached]
    adversarial = torch.stack([best.images for best in reached], 1)
    return {
        "adversarial": adversarial,
        "labels": labels,
        "clean_prediction": clean.label,
        "prediction": torch.stack([said.label for said in answers], 1),
        "p_value": torch.stack([said.p_value for said in answers], 1),
        "score": torch.stack([said.true_score for said in answers], 1),
        "distances": torch.stack(
            [perturbation_size(best.images - images, spec.norm) for best in reached], 1
        ),
        "forwards": torch.stack([best.forwards for best in reached], 1),
        "backwards": torch.stack([best.backwards for best in reached], 1),
    }


def join_knowing(
    attack: str, budgets: Sequence[float], chunks: Sequence[dict[str, Tensor]]
) -> KnowingResult:
    """Put the chunks of one attack together."""
    names = [field.name for field in fields(KnowingResult)][3:]
    columns = {name: torch.cat([chunk[name] for chunk in chunks]) for name in names}
    return KnowingResult(attack, KNOWING[attack].norm, tuple(budgets), **columns)


def _chunk_seed(images: Tensor, attack: str, seed: int) -> int:
    digest = hashlib.sha256(f"{seed} {attack}".encode())
    digest.update(images.cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return int.from_bytes(digest.digest()[:4], "big")
