"""What a model shows of itself that would make attacks on it look weaker than they are."""

import torch
from torch import Tensor, nn

from advdetect.attacks import Budget, attack_chunk
from advdetect.attacks.freezing import frozen

IMAGES = 64


def inspect_model(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Look for what misleads attacks that follow gradients.

    Args:
        model: Classifier of pixels in [0, 1].
        images: ``(n, c, h, w)`` clean images; the first 64 are looked at.
        labels: ``(n,)`` true classes.

    Returns:
        As numbers, so that a report can hold them:
        ``probabilities``: share of images whose outputs lie in [0, 1] and sum to 1;
        ``random``: share whose outputs differ when they are asked for again;
        ``zero_gradients``: share whose loss has a gradient of exactly 0 in every pixel;
        ``exploding_gradients``: share whose gradient is not finite, or beyond 1e6;
        ``eps_0_changes``: share whose prediction an attack with eps 0 changes.

    Source:
        The checks of AutoAttack's authors, Croce & Hein 2020, arXiv:2003.01690, and of Carlini
        et al. 2019, arXiv:1902.06705.
    """
    images, labels = images[:IMAGES].detach(), labels[:IMAGES]
    with frozen(model):
        with torch.no_grad():
            first, again = model(images), model(images)
        gradient = _gradient(model, images, labels)
    still = attack_chunk(model, images, labels, Budget("linf_pgd", 0.0), seed=0)
    summed = (first.sum(1) - 1).abs() < 1e-3
    sizes = gradient.flatten(1).abs().amax(1)
    shares = {
        "probabilities": summed & (first >= 0).all(1) & (first <= 1).all(1),
        "random": (first - again).abs().amax(1) > 1e-4 * (1 + first.abs().amax(1)),
        "zero_gradients": sizes == 0,
        "exploding_gradients": ~torch.isfinite(sizes) | (sizes > 1e6),
        "eps_0_changes": still.prediction != still.clean_prediction,
    }
    return {name: float(flags.double().mean()) for name, flags in shares.items()}


def _gradient(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Of the gap between the true logit and the best other, whose softmax may be flat."""
    moved = images.clone().requires_grad_()
    with torch.enable_grad():
        logits = model(moved)
        if not logits.requires_grad:
            return torch.zeros_like(images)
        own = logits.gather(1, labels.long()[:, None]).squeeze(1)
        other = logits.scatter(1, labels.long()[:, None], -torch.inf).amax(1)
        (gradient,) = torch.autograd.grad((own - other).sum(), moved)
    return gradient
