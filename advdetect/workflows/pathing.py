"""Networks as paths from pixels to labels."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from advdetect.checks import pick
from advdetect.data import ImageSet
from advdetect.errors import InputError
from advdetect.similarity.paths import (
    AngularCKA,
    AngularShape,
    Path,
    Sphere,
    distances_between,
    planar_embedding,
    trace,
)
from advdetect.similarity.rotation import in_fewer_columns
from advdetect.workflows.progress import Track, untracked
from advdetect.workflows.representing import View, layer_outputs

SPACES: Mapping[str, type[Sphere]] = {"angular-cka": AngularCKA, "angular-shape": AngularShape}
PIXELS, LOGITS, LABELS = "pixels", "logits", "labels"


@dataclass(frozen=True, eq=False)
class Paths:
    """Paths of several networks over the same inputs.

    Attributes:
        space: Name in ``SPACES``.
        images: How many inputs.
        networks: Statistics by network; each path begins at the pixels and ends at the logits.
        places: By network ``(layers, 2)``, where its layers lie in a plane that keeps all
            distances as well as it can; the pixels are the same place for all.
        target: ``(2,)`` the place of the labels.
        stress: How badly the plane keeps distances: root mean square error over the root mean
            square distance; 0 is exact.
    """

    space: str
    images: int
    networks: Mapping[str, Path]
    places: Mapping[str, NDArray[np.float64]]
    target: NDArray[np.float64]
    stress: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "space": self.space,
            "images": self.images,
            "stress": self.stress,
            "target": self.target.tolist(),
            "networks": {
                name: {**asdict(path), "places": self.places[name].tolist()}
                for name, path in self.networks.items()
            },
        }


def trace_networks(
    networks: Mapping[str, nn.Module],
    images: ImageSet,
    *,
    space: str = "angular-cka",
    layers: Sequence[str] | None = None,
    track: Track = untracked,
) -> Paths:
    """Follow networks from the pixels over every ReLU-family call to the logits.

    The target is the one-hot labels. All inputs are one batch: a point holds O(n^2) numbers.

    Args:
        networks: At least one, by name, in evaluation mode.
        images: Labelled inputs, at least 4 and of at least two classes.
        space: Name in ``SPACES``.
        layers: Names or patterns of the layers; None takes all.
        track: Shows progress.

    Raises:
        InputError: no network, an unknown space, too few images or classes, or an entry of
            ``layers`` that fits no layer.
        ModelError: a network without ReLU-family calls, or one that cannot be seen into.

    Source:
        After Lange et al. 2022, arXiv:2206.10999; the definitions are this project's own.
    """
    measured = pick(SPACES, space, "space")()
    if not networks:
        raise InputError("expected at least one network to trace, got none")
    if len(images) < 4 or len(images.labels.unique()) < 2:
        raise InputError(
            f"expected at least 4 images of at least two classes, got {len(images)} "
            f"of {len(images.labels.unique())}"
        )
    target = F.one_hot(images.labels).double()
    start = in_fewer_columns(images.images.flatten(1).double())
    found: dict[str, Path] = {}
    points: list[Tensor] = [measured.point(start), measured.point(target)]
    view = View(layers)
    for name, network in track(list(networks.items()), "tracing"):
        outputs, logits = layer_outputs(network, images.images, view)
        own = {layer: in_fewer_columns(x.double().cpu()) for layer, x in outputs.items()}
        own[LOGITS] = logits.double().cpu()
        found[name] = trace({PIXELS: start} | own, target, space=measured)
        points += [measured.point(x) for x in own.values()]
    view.check(layer for path in found.values() for layer in path.layers)
    distances = distances_between(points, measured)
    plane = planar_embedding(distances).numpy()
    drawn = np.linalg.norm(plane[:, None] - plane[None], axis=-1)
    exact = distances.numpy()
    stress = float(np.sqrt(((drawn - exact) ** 2).sum() / (exact**2).sum()))
    places: dict[str, NDArray[np.float64]] = {}
    begin = 2
    for name, path in found.items():
        end = begin + len(path.layers) - 1
        places[name] = np.concatenate([plane[:1], plane[begin:end]])
        begin = end
    return Paths(space, len(images), found, places, plane[1], stress)
