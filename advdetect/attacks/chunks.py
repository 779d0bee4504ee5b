"""Attack one chunk of images: seeded, with frozen parameters, judged by a fresh prediction."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from advdetect.attacks.balls import perturbation_size
from advdetect.attacks.base import Budget
from advdetect.attacks.changes import jpeg
from advdetect.attacks.foolbox_attacks import foolbox
from advdetect.attacks.freezing import channels_last, frozen
from advdetect.attacks.tables import ATTACKS
from advdetect.checks import check_labels, check_logits, pick
from advdetect.errors import InputError, ModelError


@dataclass(frozen=True)
class AttackedChunk:
    """What one attack made of one chunk of ``n`` images.

    Attributes:
        adversarial: ``(n, c, h, w)`` pixels in [0, 1]. An image that the model got wrong to
            begin with stays as it was, and so does one that a minimum-norm attack fails on; an
            attack with a fixed eps that fails leaves its last attempt.
        clean_prediction: ``(n,)`` class of the clean image.
        prediction: ``(n,)`` class of ``adversarial``, predicted afresh.
        success: ``(n,)`` whether ``prediction`` is wrong.
        distance: ``(n,)`` size of the perturbation in the attack's norm, pixels.
        forwards: Images put through the model, per image attacked.
        backwards: Gradients taken, per image attacked.
    """

    adversarial: Tensor
    clean_prediction: Tensor
    prediction: Tensor
    success: Tensor
    distance: Tensor
    forwards: int
    backwards: int


def attack_chunk(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    budget: Budget,
    *,
    seed: int,
    surrogate: nn.Module | None = None,
) -> AttackedChunk:
    """Attack one chunk. The same chunk gives the same result, whenever and wherever it runs.

    Args:
        model: Classifier of pixels in [0, 1]; it is put into evaluation mode.
        images: ``(n, c, h, w)`` pixels in [0, 1].
        labels: ``(n,)`` true classes.
        budget: Attack and eps; a minimum-norm attack with an eps succeeds only within it.
        seed: With the content of the chunk it seeds the attack.
        surrogate: Classifier of the same pixels and classes that a transfer attack is made on;
            its passes are not counted.

    Raises:
        InputError: no such attack, an eps that it cannot take, labels that the model has no
            classes for, or no surrogate for an attack that needs one.
        ModelError: the model gives no class logits, or no gradients where the attack needs them.
    """
    spec = pick(ATTACKS, budget.attack, "attack")
    if budget.eps is None and spec.takes_eps:
        raise InputError(f"{budget.attack} needs an eps in pixels of [0, 1], for example 8/255")
    if budget.eps is not None and spec.sizeless:
        raise InputError(f"{budget.attack} takes no eps: it is as large as it is")
    if budget.eps is not None and not 0 <= budget.eps < float("inf"):
        raise InputError(f"eps must be a finite number and not negative, got {budget.eps}")
    if spec.surrogate and surrogate is None:
        raise InputError(
            f"{budget.attack} is made on another model: give it one, with surrogate=MODEL"
        )

    images = images.detach()
    with ExitStack() as stack:
        counted = stack.enter_context(_attackable(model, images))
        other = None
        if spec.surrogate and surrogate is not None:
            other = stack.enter_context(_attackable(surrogate, images))
            check_labels(labels, len(images), other(images[:1]).shape[1])
        logits = counted(images)
        check_labels(labels, len(images), logits.shape[1])
        labels = labels.long()  # the only integers that Foolbox's cross-entropy takes
        clean_prediction = logits.argmax(1)
        adversarial = images.clone()
        right = (clean_prediction == labels).nonzero().squeeze(1)
        counted.forwards = counted.backwards = 0
        if len(right) and budget.eps != 0:
            adversarial[right] = _perturb(
                counted, images[right], labels[right], budget, seed=seed, surrogate=other
            )
        forwards, backwards = counted.forwards, counted.backwards
        prediction = counted(adversarial).argmax(1)
    n = max(len(right), 1)
    return AttackedChunk(
        adversarial,
        clean_prediction,
        prediction,
        prediction != labels,
        perturbation_size(adversarial - images, spec.norm),
        round(forwards / n),
        round(backwards / n),
    )


def _perturb(
    model: "_Counted",
    images: Tensor,
    labels: Tensor,
    budget: Budget,
    *,
    seed: int,
    surrogate: "_Counted | None",
) -> Tensor:
    """Run the attack on images that the model gets right."""
    spec = ATTACKS[budget.attack]
    fmodel = _for_foolbox(model, images.device)
    criterion = foolbox().criteria.Misclassification(labels)
    with (
        _seeded(_chunk_seed(images, labels, budget, seed), images.device),
        torch.enable_grad(),
    ):
        if not spec.takes_eps:
            found = spec.build().run(fmodel, images, criterion)
        else:
            given = {}
            if surrogate is not None:
                given["surrogate"] = _for_foolbox(surrogate, images.device)
            found = spec.build()(fmodel, images, criterion, epsilons=budget.eps, **given)[1]
    found = found.detach().clamp(0, 1)  # rounding may pass 1 by a unit in the last place
    if spec.encoded:
        found = jpeg(found)
    kept = torch.isfinite(found).flatten(1).all(1)
    if spec.minimum_norm:
        kept &= model(torch.where(kept.view(-1, 1, 1, 1), found, images)).argmax(1) != labels
        if budget.eps is not None:
            kept &= perturbation_size(found - images, spec.norm) <= budget.eps
    return torch.where(kept.view(-1, 1, 1, 1), found, images)


def _for_foolbox(model: nn.Module, device: torch.device) -> Any:
    return foolbox().PyTorchModel(model, bounds=(0, 1), device=device)


def _chunk_seed(images: Tensor, labels: Tensor, budget: Budget, seed: int) -> int:
    digest = hashlib.sha256(f"{seed} {budget.attack} {budget.eps!r}".encode())
    for tensor in (images, labels):
        digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return int.from_bytes(digest.digest()[:4], "big")


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators that Foolbox draws from, and put them back afterwards."""
    numpy_state = np.random.get_state()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        # torch.manual_seed would reseed every GPU, which is not all put back.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)


class _Counted(nn.Module):
    """Passes images on to a model and counts them, forwards and backwards."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.forwards = 0
        self.backwards = 0

    def forward(self, images: Tensor) -> Tensor:
        self.forwards += len(images)
        logits = self.model(images)
        check_logits(logits)
        if images.requires_grad and not logits.requires_grad:
            raise ModelError(
                "the model passes no gradient back to its images, which this attack needs: "
                "remove detach, no_grad or argmax from its forward"
            )
        if logits.requires_grad:
            logits.register_hook(self._count_backward)
        return logits

    def _count_backward(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


@contextmanager
def _attackable(model: nn.Module, images: Tensor) -> Iterator[_Counted]:
    """A frozen model that counts its passes."""
    with frozen(model), torch.no_grad(), channels_last(model, images):
        yield _Counted(model).eval()
