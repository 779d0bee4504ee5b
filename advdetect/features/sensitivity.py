"""How the decision answers to a picture's own detail: one pass back through the model."""

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from advdetect.features.base import Feature, Observation

SCALES = 2  # the finest detail, and that of a picture half as large
DIRECTIONS = ("across", "down", "diagonal")
COLOURS = ("brightness", "colour")
FLOOR = 0.25  # of the mean size: what is smaller counts in proportion, what is larger by its sign
TINY = 1e-12


class SensitivityFeatures(Feature):
    """Whether the gradient of the decision points along the detail that the picture has.

    An attack adds the detail that speaks most for a wrong class, so at the attacked picture the
    gradient of that class's lead agrees with the picture's own detail: in direction on thousands
    of pixels, however small the steps were. Noise and natural detail agree with it no more than
    by chance; nor does the detail of one large step (FGSM at 8/255), which ends where the slope
    is another. Detail is that of Haar wavelets on two scales, of brightness and of what differs
    between the channels, where natural pictures have little and attacks as much as elsewhere.

    Costs one pass back through the model, to the pixels alone. Nothing is learnt, nothing kept.

    Source:
        Our own; that attacked pictures are told by how easily the decision gives way again is
        of Zhao et al. 2021, arXiv:2103.07633.
    """

    needs_gradient: ClassVar[bool] = True

    def _fit(self, reference: Observation) -> None:
        pass

    def _columns(self) -> list[tuple[str, str]]:
        return [("", name) for name in ALIGNMENT]

    def _rows(self, observation: Observation) -> Tensor:
        assert observation.alignment is not None
        return observation.alignment


def _named() -> Iterator[str]:
    yield "size of the gradient"
    yield "spread of the gradient"
    for colour in COLOURS:
        for scale in range(1, 1 + SCALES):
            for direction in DIRECTIONS:
                yield f"gradient along the picture's detail, {colour}, scale {scale}, {direction}"
            yield f"share of the gradient in detail, {colour}, scale {scale}"


ALIGNMENT = tuple(_named())


def lead(logits: Tensor) -> Tensor:
    """By how much the predicted class leads all others together, ``(n,)``: its log-odds.

    Unlike the logarithm of its probability it does not level off where the model is sure.
    """
    own = logits.detach().argmax(1, keepdim=True)
    others = logits.scatter(1, own, -torch.inf)
    return logits.gather(1, own).squeeze(1) - others.logsumexp(1)


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
    for picture, slope in zip(_colours(images), _colours(gradient), strict=True):
        for _ in range(SCALES):
            picture, *details = _haar(picture)
            slope, *slopes = _haar(slope)
            columns += [_agreement(a, b) for a, b in zip(details, slopes, strict=True)]
            share = torch.stack([part.flatten(1).square().sum(1) for part in slopes]).sum(0)
            # Exactly 0 where there is none, so always on grey pictures: rows are kept in half
            # precision, and a column that never varies must not seem to.
            columns.append(torch.where(share > 0, (share / energy + TINY).log() / 2, 0.0))
    return torch.stack(columns, dim=1)


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


def _squashed(values: Tensor) -> Tensor:
    """Signs, but for what is small beside the rest of the same picture."""
    size = values.abs()
    mean = size.flatten(1).mean(1)[:, None, None, None]
    return values / (size + FLOOR * mean + TINY)
