"""Cut images into those that serve the features, the detector and the calibration."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advdetect.attacks import AttackRun
from advdetect.attacks.running import fingerprints
from advdetect.checks import check_images
from advdetect.errors import InputError
from advdetect.features import FeatureExtractor
from advdetect.features.extractor import BATCH, Track
from advdetect.guard.rows import KeptRows, roles_of

HELD_BACK = 0.3
REFERENCE_SHARE = 0.4


@dataclass(frozen=True, eq=False)
class Parts:
    """Which clean images serve which purpose, ``(n,)`` masks; a source image serves one.

    Attributes:
        reference: Show the features what clean inputs look like.
        fitting: Give the detector its clean rows, and their attacked twins its adversarial.
        calibration: The images for the p-values.
        reserved: ``(m,)`` fingerprints of images whose attacked twins are not fitted on.
    """

    reference: Tensor
    fitting: Tensor
    calibration: Tensor
    reserved: Tensor


def part_images(
    clean: Tensor, attacked: AttackRun | None, calibration: Tensor | None, seed: int
) -> Parts:
    """Give every source image one purpose.

    Raises:
        InputError: too few images, or calibration images of another shape.
    """
    source = fingerprints(clean)
    if calibration is None:
        calibration = clean[_share_of_sources(source, HELD_BACK, seed)]
    channels, height, width = clean.shape[1:]
    check_images(calibration, shape=(channels, height, width))
    reserved = fingerprints(calibration)
    kept = ~torch.isin(source, reserved)
    reference = kept & _unattacked(source, kept, attacked, seed)
    fitting = kept & ~reference
    if min(int(fitting.sum()), int(reference.sum())) < 2:
        raise InputError(
            f"{len(source)} clean images are too few to fit a guard: give at least a few hundred"
        )
    return Parts(reference, fitting, calibration, torch.cat([reserved, source[reference]]))


def fitting_rows(
    model: nn.Module,
    extractor: FeatureExtractor,
    clean: Tensor,
    attacked: AttackRun | None,
    reserved: Tensor,
    track: Track,
) -> KeptRows:
    """Rows of clean images, and of the attacks that succeeded on images not reserved."""
    parts = [feature_rows(model, extractor, clean, track, "clean rows")]
    sources = [fingerprints(clean)]
    budgets: list[str] = []
    for result in () if attacked is None else attacked.results:
        usable = result.counted.cpu() & ~torch.isin(result.source.cpu(), reserved)
        if usable.any() and not result.control:
            budgets.append(str(result.budget))
            images = result.adversarial[usable]
            parts.append(feature_rows(model, extractor, images, track, budgets[-1]))
            sources.append(result.source.cpu()[usable])
    origin = [torch.full((len(rows),), i) for i, (rows, _) in enumerate(parts)]
    # Rounded to what a guard's file holds, so that a guard read back refits to the same numbers.
    rows = torch.cat([rows for rows, _ in parts]).half().float()
    return KeptRows(
        rows,
        torch.cat([predicted for _, predicted in parts]),
        torch.cat(origin),
        tuple(budgets),
        torch.cat(sources).unique(return_inverse=True)[1],
        roles_of(extractor.columns),
    )


def feature_rows(
    model: nn.Module, extractor: FeatureExtractor, images: Tensor, track: Track, text: str
) -> tuple[Tensor, Tensor]:
    """Feature rows ``(n, d)`` and predicted classes ``(n,)`` of many images."""
    rows: list[Tensor] = []
    predicted: list[Tensor] = []
    for batch in track(images.split(BATCH), text):
        observation = extractor.observe(model, batch)
        rows.append(extractor.rows(observation))
        predicted.append(observation.predicted)
    return torch.cat(rows), torch.cat(predicted)


def _share_of_sources(source: Tensor, share: float, seed: int) -> Tensor:
    """Choose a share of the distinct source images; equal pictures stay together."""
    distinct = source.unique()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(distinct), generator=generator)
    return torch.isin(source, distinct[order[: max(1, round(share * len(distinct)))]])


def _unattacked(source: Tensor, kept: Tensor, attacked: AttackRun | None, seed: int) -> Tensor:
    """Up to ``REFERENCE_SHARE`` of the kept images, none of them attacked if enough are not."""
    free = kept.clone()
    if attacked is not None:
        hit = torch.isin(source, torch.cat([result.source.cpu() for result in attacked.results]))
        if (kept & ~hit).sum() >= REFERENCE_SHARE / 2 * kept.sum():
            free &= ~hit
    share = min(1.0, REFERENCE_SHARE * float(kept.sum()) / max(float(free.sum()), 1.0))
    chosen = source[free]
    return torch.isin(source, chosen[_share_of_sources(chosen, share, seed + 1)])
