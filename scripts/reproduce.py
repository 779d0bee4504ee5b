#!/usr/bin/env python
"""Print every figure that the README and docs/ quote: scripts/reproduce.py NAME [--out DIR].

Interrupted, the same command goes on where it stopped. Experiments on CIFAR-10 read an image
folder with train/ and test/, a folder a class, given with --data-root.
"""

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from experiments.cifar10 import cifar10
from experiments.cifar10_knowing import cifar10_knowing
from experiments.class_partition import class_partition
from experiments.correspondence import correspondence
from experiments.costs import costs
from experiments.ensembles import ensembles
from experiments.ensembles_cifar10 import ensembles_cifar10
from experiments.fashion import fashion
from experiments.graph_under_attack import graph_under_attack
from experiments.knowing import knowing
from experiments.large import large
from experiments.paths import paths
from experiments.serving import serving
from experiments.width import width

from advdetect.errors import AdvDetectError

EXPERIMENTS: dict[str, Callable[[Path, Path | None], None]] = {
    "fashion": fashion,
    "knowing": knowing,
    "costs": costs,
    "ensembles": ensembles,
    "ensembles-cifar10": ensembles_cifar10,
    "cifar10": cifar10,
    "cifar10-knowing": cifar10_knowing,
    "correspondence": correspondence,
    "class-partition": class_partition,
    "graph-under-attack": graph_under_attack,
    "width": width,
    "paths": paths,
    "large": large,
    "serving": serving,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("name", choices=EXPERIMENTS)
    parser.add_argument("--out", type=Path, help="run folder (default: runs/NAME)")
    parser.add_argument("--data-root", type=Path, help="image folder of CIFAR-10")
    arguments = parser.parse_args()
    try:
        EXPERIMENTS[arguments.name](
            arguments.out or Path("runs") / arguments.name, arguments.data_root
        )
    except AdvDetectError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(f"interrupted; go on with: {shlex.join(sys.argv)}")
