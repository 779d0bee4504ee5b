"""The paper's chain of three networks, on CIFAR-10."""

from pathlib import Path

from experiments.cifar import cifar_images
from experiments.ensembles import SHARES, chain, trainer

IMAGES = 1000
DEVIATION = 0.25  # of the pixels, over all channels


def ensembles_cifar10(out: Path, data_root: Path | None) -> None:
    """Three seeds of chains, trained where they are not there."""
    chain(
        trainer(out / "models", data_root),
        cifar_images(data_root, limit=IMAGES),
        out,
        prefix="cifar-",
        every_eps=(*(round(share * DEVIATION, 4) for share in SHARES), 8 / 255),
    )
