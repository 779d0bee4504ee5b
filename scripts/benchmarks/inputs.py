"""Features and codes to measure on: alike in part, and the same on every run."""

import torch
from torch import Tensor

from advdetect.similarity.bits import BitCodes

SHARED = 32  # directions that the representations of one set of inputs have in common


def representations(n: int, *widths: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Make rectified mixtures of the same few sources and noise, a matrix for each width."""
    generator = torch.Generator().manual_seed(0)
    sources = torch.randn(n, SHARED, generator=generator)
    made = []
    for width in widths:
        mixing = torch.randn(SHARED, width, generator=generator) / SHARED**0.5
        noise = torch.randn(n, width, generator=generator)
        made.append((sources @ mixing).add_(noise).relu_().to(dtype))
    return made


def grouped_codes(n: int, bits: int) -> tuple[BitCodes, Tensor]:
    """Make codes of two groups, three to two, and say which are of the smaller group.

    The groups' own codes differ in a tenth of the bits; each input then has three tenths of
    its bits turned. Made block by block: unpacked, many codes would take more than the work.
    """
    generator = torch.Generator().manual_seed(0)
    smaller = torch.arange(n) % 5 > 2
    first = torch.rand(bits, generator=generator) < 0.5
    second = first ^ (torch.rand(bits, generator=generator) < 0.1)
    blocks = []
    for side in smaller.split(1000):
        turned = torch.rand(len(side), bits, generator=generator) < 0.3
        blocks.append(BitCodes.pack(torch.where(side[:, None], second, first) ^ turned))
    return BitCodes.cat(blocks), smaller
