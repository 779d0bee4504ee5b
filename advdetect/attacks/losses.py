"""What gradient attacks climb: larger is closer to another class."""

import torch
from torch import Tensor


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Highest other logit above that of the true class, ``(n,)``; positive: misclassified."""
    own = logits.gather(1, labels[:, None]).squeeze(1)
    return logits.scatter(1, labels[:, None], -torch.inf).amax(1) - own


def target_gap(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Logit of the target above that of the true class, ``(n,)``; positive: the target is ahead."""
    return (logits.gather(1, targets[:, None]) - logits.gather(1, labels[:, None])).squeeze(1)


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Target's logit above that of the true class, in units of the logits' own spread.

    Logits multiplied by a factor give the same loss, so that a network that is very sure still
    has a gradient, unlike with cross-entropy.

    The paper's denominator needs four classes. With three the third highest logit stands in for
    its mean with the fourth, as in the paper's untargeted loss; with two there is no spread and
    the difference of the logits is left as it is.

    Args:
        logits: ``(n, classes)``.
        labels: ``(n,)`` true classes.
        targets: ``(n,)`` classes to reach.

    Returns:
        ``(n,)``; positive only if the target beats the true class.

    Source:
        Croce & Hein 2020, arXiv:2003.01690, equations 6 and 7.
    """
    gap = target_gap(logits, labels, targets)
    classes = logits.shape[1]
    if classes < 3:
        return gap
    top = logits.topk(min(4, classes), dim=1).values
    spread = top[:, 0] - (top[:, 2] + top[:, -1]) / 2
    return gap / (spread + 1e-12)
