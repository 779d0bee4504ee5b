"""ResNet and VGG as paths from pixels to labels, three seeds each."""

from pathlib import Path

from advdetect.workflows.drawing import write_paths
from advdetect.workflows.pathing import trace_networks
from experiments.cifar import cifar_images, trained
from experiments.printing import console, show

IMAGES = 1000


def paths(out: Path, data_root: Path | None) -> None:
    """Length, straightness and distance to the labels, and all paths in one figure."""
    networks = trained("paths", out / "models", data_root)
    short = {name.partition("/")[2]: module for name, module in networks.items()}
    found = trace_networks(short, cifar_images(data_root, limit=IMAGES))
    show(
        f"Paths in angular CKA, radians: CIFAR-10 (JPEG), {IMAGES} test images, 5 epochs of "
        "training",
        ("network", "length", "straightness", "pixels to labels", "last layer to labels"),
        [
            (
                name,
                f"{path.length:.3f}",
                f"{path.straightness:.3f}",
                f"{path.target_distances[0]:.3f}",
                f"{path.target_distances[-2]:.3f}",
            )
            for name, path in found.networks.items()
        ],
        out / "paths.md",
    )
    groups = {name: name.partition("-seed")[0] for name in short}
    for file in write_paths(found, out, groups=groups):
        console.print(f"figure: {file}")
