"""What a guard costs beside a forward pass, and what other detectors cost."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from advdetect import data, vision
from advdetect.guard import Guard
from advdetect.networks.resnet import ResNet
from advdetect.workflows.guards import load_guard
from benchmarks.comparing import Rival, Row, Scope, compare
from benchmarks.recording import plain

PLAIN = "plain pass"


def guard_overhead(scope: Scope) -> Iterator[Row]:
    """A guard's verdicts, forward pass included, against the pass alone and other detectors."""
    guard = load_guard("fashion-resnet")
    images = data.load("fashion-mnist", split="evaluation", limit=256).images
    for n in (1, 256):
        batch = images[:n]
        rivals = [Rival(PLAIN, partial(predicted, guard.model, batch))]
        if n == 256:
            rivals += other_detectors(guard.model, batch)
        ours = partial(judged, guard, batch)
        yield from compare(scope, f"fashion-resnet, batch {n}", ours, rivals, repetitions=15)
    if scope.quick:
        return
    shipped = load_guard("cifar10-resnet")  # of four passes and gradient, fitted on attacks
    small = data.load("fashion-mnist", split="reference", limit=300, resize=(32, 32), channels=3)
    # Mirrored they stay as they are: this is the second look then, as on natural pictures.
    symmetric = (small.images + small.images.flip(3)) / 2
    batch = symmetric[:64]
    for passes, gradient in product((1, 2, 3, 4), (False, True)):
        # Fitted without attacks, on other pictures: neither changes the time.
        guard = Guard.fit(shipped.model, symmetric, passes=passes, gradient=gradient)
        asked = " and gradient" if gradient else ""
        case = f"cifar10-resnet, batch 64, passes: {passes}{asked}"
        rivals = [Rival(PLAIN, partial(predicted, guard.model, batch))]
        yield from compare(scope, case, partial(judged, guard, batch), rivals, repetitions=15)
    rivals = [Rival(PLAIN, partial(predicted, shipped.model, batch))]
    ours = partial(judged, shipped, batch)
    yield from compare(
        scope, "cifar10-resnet, batch 64, its own guard", ours, rivals, repetitions=15
    )
    large = data.load("fashion-mnist", split="reference", limit=100, resize=(224, 224), channels=3)
    wide = Guard.fit(vision.model("resnet18"), large.images, false_alarm_rate=0.05)
    for n in (1, 32):
        batch = large.images[:n]
        rivals = [Rival(PLAIN, partial(predicted, wide.model, batch))]
        ours = partial(judged, wide, batch)
        yield from compare(scope, f"resnet18, 224 px, batch {n}", ours, rivals, repetitions=15)


def over_plain(rows: Sequence[Row]) -> str:
    """Every detector's time over that of the plain pass of the same case."""
    lines = []
    for case, plain_s in {row.case: row.rival_s for row in rows if row.rival == PLAIN}.items():
        of_case = [row for row in rows if row.case == case]
        times = {"guard": of_case[0].ours_s}
        times |= {row.rival: row.rival_s for row in of_case if row.rival != PLAIN}
        ratios = [f"{name} {s / plain_s:.2f}" for name, s in times.items() if s and plain_s]
        lines.append(f"{case}, times a plain pass: {', '.join(ratios)}")
    return "\n".join(lines)


def judged(guard: Guard, images: Tensor) -> Tensor:
    """Classes, with verdicts beside them."""
    return guard(images).label.float()


def predicted(model: nn.Module, images: Tensor) -> Tensor:
    """Classes and nothing else."""
    return plain(model, images).argmax(1).float()


def other_detectors(model: nn.Module, images: Tensor) -> list[Rival]:
    """Detectors on the last features, fitted on the reference images when first called."""
    if not isinstance(model, ResNet):
        raise TypeError(f"expected the shipped ResNet, got {type(model).__name__}")
    reference = cache(partial(reference_features, model))
    rivals = []
    for name in ("Mahalanobis", "KNN"):
        detector = cache(partial(fitted_detector, name, reference))
        work = partial(detected, model, detector, images)
        rivals.append(Rival(f"pytorch-ood {name}", work, "pytorch_ood"))
    art = cache(partial(activation_detector, model, images))
    work = partial(detected_by_activations, art, images)
    return [*rivals, Rival("ART BinaryActivationDetector", work, "art")]


def penultimate(model: ResNet, images: Tensor) -> Tensor:
    """What the last linear layer gets."""
    with torch.no_grad():
        return model.stages(model.relu(model.stem(model.normalize(images)))).mean(dim=(2, 3))


def reference_features(model: ResNet) -> tuple[Tensor, Tensor]:
    """Last features of the reference images, and their labels."""
    reference = data.load("fashion-mnist", split="reference")
    features = [penultimate(model, batch) for batch in reference.images.split(256)]
    return torch.cat(features), reference.labels


def fitted_detector(name: str, reference: Callable[[], tuple[Tensor, Tensor]]) -> Any:
    """Fit one of pytorch-ood's detectors, with as many threads as torch has."""
    vision.torchvision()  # which pytorch-ood imports, and a torch without CUDA may not be able to
    from pytorch_ood import detector

    found = getattr(detector, name)(None)
    if name == "KNN":
        found.knn.set_params(n_jobs=torch.get_num_threads())
    return found.fit_features(*reference())


def detected(model: ResNet, detector: Callable[[], Any], images: Tensor) -> Tensor:
    """Classes, with scores beside them: one pass for both, as in a guard."""
    features = penultimate(model, images)
    detector().predict_features(features)
    with torch.no_grad():
        return model.classifier(features).argmax(1).float()


def activation_detector(model: ResNet, images: Tensor) -> Any:
    """ART's detector on the last stage, a small network without training: that costs the same."""
    vision.torchvision()
    from art.defences.detector.evasion import BinaryActivationDetector
    from art.estimators.classification import PyTorchClassifier

    # ART finds layers in a Sequential alone.
    parts = {"normalize": model.normalize, "stem": model.stem, "relu": model.relu}
    tail = {"pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "classifier": model.classifier}
    layers = nn.Sequential()
    for name, module in {**parts, "stages": model.stages, **tail}.items():
        layers.add_module(name, module)
    width = model.classifier.in_features
    small = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))

    def classifier(network: nn.Module, shape: tuple[int, ...], classes: int) -> Any:
        loss = nn.CrossEntropyLoss()
        return PyTorchClassifier(network, loss, shape, classes, device_type="cpu")

    outer = classifier(layers.eval(), tuple(images.shape[1:]), model.classifier.out_features)
    return BinaryActivationDetector(outer, classifier(small, (width,), 2), "flat")


def detected_by_activations(detector: Callable[[], Any], images: Tensor) -> None:
    """What ART finds: it gives no classes, so that there is nothing to compare."""
    detector().detect(images.numpy(), batch_size=len(images))
