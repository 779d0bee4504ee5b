"""How the decision answers to a picture's own detail: passes back through the model."""

import math
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from advdetect.features.base import Feature, Observation
from advdetect.features.views import LOOKS

SCALES = 2  # the finest detail, and that of a picture half as large
DIRECTIONS = ("across", "down", "diagonal")
COLOURS = ("brightness", "colour")
ALONG = "gradient along"
FLOOR = 0.25  # of the mean size: what is smaller counts in proportion, what is larger by its sign
STEP = 0.03  # of Haar detail: what random signs of 8/255 come to, pixels being in [0, 1]
LITTLE = 0.05  # of the weight of detail: where there is as little, the correlation is halved
SLOPE_FLOOR = 1.0  # the same of slopes that are correlated: there larger ones say more
TINY = 1e-12


class SensitivityFeatures(Feature):
    """Whether the gradient of the decision points along the detail that the picture has.

    An attack adds the detail that speaks most for a wrong class, so at the attacked picture the
    gradient of that class's lead agrees with the picture's own detail: in direction on thousands
    of pixels, however small the steps were. Noise and natural detail agree with it no more than
    by chance; nor does the detail of one large step (FGSM at 8/255), which ends where the slope
    is another. Detail is that of Haar wavelets on two scales, of brightness and of what differs
    between the channels, where natural pictures have little and attacks as much as elsewhere.

    Where a look removes detail, the gradient of the same class's lead is asked for there, too, and
    compared with what was removed: nearer to the picture before the attack, it still resembles
    the slope that one large step followed.

    Costs a pass back through the model, to the pixels alone, for the picture and for each look
    that removes detail; it asks for no look itself. Nothing is learnt, nothing kept.

    Source:
        Our own; that attacked pictures are told by how easily the decision gives way again is
        of Zhao et al. 2021, arXiv:2103.07633.
    """

    needs_gradient: ClassVar[bool] = True
    of_decision: ClassVar[bool] = True

    def _fit(self, reference: Observation) -> None:
        pass

    def _columns(self) -> list[tuple[str, str]]:
        asked = [look for look in self.looks if LOOKS[look].removes_detail]
        names = [f"{name} ({look})" for look in asked for name in REMOVED]
        return [("", name) for name in (*ALIGNMENT, *names)]

    def _rising(self, meaning: str) -> bool:
        return meaning.startswith(ALONG)

    def _rows(self, observation: Observation) -> Tensor:
        assert observation.alignment is not None
        every = (observation, *observation.again)
        return torch.cat([seen.alignment for seen in every if seen.alignment is not None], dim=1)


def _named() -> Iterator[str]:
    yield "size of the gradient"
    yield "spread of the gradient"
    for colour in COLOURS:
        for scale in range(1, 1 + SCALES):
            for direction in DIRECTIONS:
                yield f"{ALONG} the picture's detail, {colour}, scale {scale}, {direction}"
            yield f"share of the gradient in detail, {colour}, scale {scale}"


ALIGNMENT = tuple(_named())
REMOVED = tuple(
    f"{ALONG} the detail removed, {colour}, scale {scale}, {direction}"
    for colour in COLOURS
    for scale in range(1, 1 + SCALES)
    for direction in DIRECTIONS
)


def lead(logits: Tensor, own: Tensor) -> Tensor:
    """By how much classes ``own`` ``(n,)`` lead all others together, ``(n,)``: their log-odds.

    Unlike the logarithm of a probability it does not level off where the model is sure.
    """
    others = logits.scatter(1, own[:, None], -torch.inf)
    return logits.gather(1, own[:, None]).squeeze(1) - others.logsumexp(1)


def alignment(images: Tensor, gradient: Tensor) -> Tensor:
    """How a gradient lies along the detail of pictures.

    Args:
        images: ``(n, c, h, w)`` pixels.
        gradient: ``(n, c, h, w)`` derivatives of each picture's ``lead`` by its pixels.

    Returns:
        ``(n, k)``, the columns of ``ALIGNMENT``: logarithms of the gradient's Euclidean norm and
        of its mean size over that norm; for each colour and scale the agreement in every
        direction, in [-1, 1], and the logarithm of the gradient's share. Of a single channel,
        which has no colour, and of pictures too small for a scale, both are 0.
    """
    flat = gradient.flatten(1)
    energy = flat.square().sum(1) + TINY
    size = energy.log() / 2
    columns = [size, (flat.abs().mean(1) + TINY).log() - size]
    for details, slopes in _by_scale(images, gradient):
        columns += [_agreement(a, b) for a, b in zip(details, slopes, strict=True)]
        share = torch.stack([part.flatten(1).square().sum(1) for part in slopes]).sum(0)
        # Exactly 0 where there is none, so always on grey pictures: rows are kept in half
        # precision, and a column that never varies must not seem to.
        columns.append(torch.where(share > 0, (share / energy + TINY).log() / 2, 0.0))
    return torch.stack(columns, dim=1)


def removed_alignment(removed: Tensor, gradient: Tensor) -> Tensor:
    """How a gradient lies along the detail that was removed from pictures.

    A correlation, so that noise, however strong, agrees no more than by chance. What is far larger
    than a step of an attack counts little: it is the picture's own.

    Args:
        removed: ``(n, c, h, w)`` pixels of the pictures less those of what is left of them.
        gradient: ``(n, c, h, w)`` derivatives, by the pixels of what is left, of the ``lead`` of
            the class that each picture itself was given.

    Returns:
        ``(n, k)``, the columns of ``REMOVED``, each in (-1, 1). 0 where there is no such detail.
    """
    columns = [
        _correlation(a, b)
        for details, slopes in _by_scale(removed, gradient)
        for a, b in zip(details, slopes, strict=True)
    ]
    return torch.stack(columns, dim=1)


def _by_scale(images: Tensor, gradient: Tensor) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Details of both in every direction, for each colour and scale in turn."""
    for picture, slope in zip(_colours(images), _colours(gradient), strict=True):
        for _ in range(SCALES):
            picture, *details = _haar(picture)
            slope, *slopes = _haar(slope)
            yield details, slopes


def _colours(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The mean over the channels, and how each differs from it."""
    mean = pixels.mean(1, keepdim=True)
    return mean, pixels - mean


def _haar(pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Coarse part and details across, down and diagonal of each 2 x 2 square; odd edges go."""
    height, width = (size // 2 * 2 for size in pixels.shape[2:])
    whole = pixels[..., :height, :width]
    a, b = whole[..., ::2, ::2], whole[..., ::2, 1::2]
    c, d = whole[..., 1::2, ::2], whole[..., 1::2, 1::2]
    return (a + b + c + d) / 2, (a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2


def _agreement(details: Tensor, slopes: Tensor) -> Tensor:
    """Mean product of two details ``(n, c, h, w)``, each squashed to within 1."""
    if details[0].numel() == 0:
        return details.new_zeros(len(details))
    return (_squashed(details) * _squashed(slopes)).flatten(1).mean(1)


def _correlation(details: Tensor, slopes: Tensor) -> Tensor:
    """Cosine of details of about ``STEP`` in size and slopes; shrunk where there is little."""
    if details[0].numel() == 0:
        return details.new_zeros(len(details))
    size = details / STEP
    steps = (size * torch.exp(-size.square() / 2)).flatten(1)
    signs = _squashed(slopes, SLOPE_FLOOR).flatten(1)
    little = LITTLE * math.sqrt(steps.shape[1])
    return (steps * signs).sum(1) / ((_norm(steps) + little) * _norm(signs))


def _norm(values: Tensor) -> Tensor:
    """Euclidean norm of rows; its gradient is finite at 0, too."""
    return (values.square().sum(1) + TINY).sqrt()


def _squashed(values: Tensor, floor: float = FLOOR) -> Tensor:
    """Signs, but for what is small beside the rest of the same picture."""
    size = values.abs()
    mean = size.flatten(1).mean(1)[:, None, None, None]
    return values / (size + floor * mean + TINY)
