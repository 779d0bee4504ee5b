"""What a penalty adds to training, an ensemble to inference, and how dCor is computed."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from advdetect import data
from advdetect.ensembles import PENALTIES, Trainer, TrainingConfig
from advdetect.networks import Ensemble, build
from benchmarks.comparing import Rival, Row, Scope, compare

NETWORK = {"kind": "network", "name": "resnet", "arguments": {"mean": [0.286], "std": [0.353]}}


def training_costs(scope: Scope) -> Iterator[Row]:
    """A pair with and without a penalty, an ensemble and its members, dCor and the authors' way."""
    images = data.load("fashion-mnist", split="reference", limit=64 if scope.quick else 1280)
    plain = trainer(images, None)
    for name in ("dcor", "unbiased-dcor", "partial-dcor"):
        yield from compare(
            scope,
            f"an epoch of {len(images)} images, a pair with {name}",
            partial(epoch, trainer(images, name)),
            [Rival("the pair without penalty", partial(epoch, plain))],
        )
    batch = images.images[:256]
    ensemble = plain.ensemble.eval()
    yield from compare(
        scope,
        f"a pass of {len(batch)} images, an ensemble of two",
        partial(passed, ensemble, batch),
        [Rival("its members, one by one", partial(members_passed, ensemble, batch))],
    )
    n, p = (32, 16) if scope.quick else (512, 512)
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, p, generator=generator) for _ in range(2))
    yield from compare(
        scope,
        f"squared dCor and its gradient, batch {n}, width {p}",
        partial(gradient, ours, x, y),
        [Rival("broadcast differences, as the authors do", partial(gradient, broadcast, x, y))],
        repetitions=3,
    )
    # The same again with sides changed: the peak is that of what stands on the left.
    yield from compare(
        scope,
        f"the same by broadcast differences, batch {n}, width {p}",
        partial(gradient, broadcast, x, y),
        [Rival("as a penalty of ours", partial(gradient, ours, x, y))],
        repetitions=3,
    )


def trainer(images: data.ImageSet, penalty: str | None) -> Trainer:
    """Two small residual networks, about to be trained."""
    torch.manual_seed(0)
    config = TrainingConfig(members=2, penalty=penalty, epochs=1)
    return Trainer(config, [build(NETWORK) for _ in range(2)], images.images, images.labels)


def epoch(training: Trainer) -> None:
    """All steps of an epoch."""
    training.ensemble.train()
    for _ in training.epoch(0):
        pass


def passed(ensemble: Ensemble, images: Tensor) -> Tensor:
    """The ensemble's answer."""
    with torch.no_grad():
        return ensemble(images)


def members_passed(ensemble: Ensemble, images: Tensor) -> None:
    """Every member's answer."""
    with torch.no_grad():
        for member in ensemble.members:
            member(images)


def gradient(loss: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Gradient of a loss by its first features."""
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(x, y), x)
    return found


def ours(x: Tensor, y: Tensor) -> Tensor:
    """The penalty as it is trained with."""
    return PENALTIES["dcor"].value(x, y, x)


def broadcast(x: Tensor, y: Tensor) -> Tensor:
    """Squared dCor of rows of length 1, every difference of two rows held at once."""
    a, b = (_centred(_distances(F.normalize(z))) for z in (x, y))
    return (a * b).mean() / ((a * a).mean() * (b * b).mean() + 1e-9).sqrt()


def _distances(x: Tensor) -> Tensor:
    return ((x[:, None] - x[None]).square().sum(2) + 1e-12).sqrt()


def _centred(matrix: Tensor) -> Tensor:
    return matrix - matrix.mean(0) - matrix.mean(1, keepdim=True) + matrix.mean()
