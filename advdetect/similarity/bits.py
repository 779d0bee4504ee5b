"""Bit codes: which ReLUs an input switches on, packed, and how alike two codes are.

FAISS is imported late and in this file alone, so that nothing else waits for it.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
import torch
from torch import Tensor

from advdetect.checks import check_labels
from advdetect.errors import InputError

WORD_BITS = 64  # FAISS counts whole 64-bit words about twice as fast as loose bytes
TILE_ROWS = 256  # a tile of counts, 256 KiB, stays in the cache while it is converted
UNPACKED_BYTES = 1 << 22  # unpacked bits go in blocks of this size, which stay in the cache
DEVICE_BYTES = 1 << 28  # on other devices few large blocks are quicker


@final
@dataclass(frozen=True, eq=False, repr=False)
class BitCodes:
    """A row of bits per input, eight to a byte, each row padded to whole 64-bit words.

    Bit ``j`` of a row is bit ``j % 8`` (the lowest first) of byte ``j // 8``; the padding is 0.

    Args:
        packed: ``(n, bytes)`` uint8, where bytes is 8 for every 64 bits begun.
        n_bits: How many bits of a row count, without the padding.

    Raises:
        InputError: not uint8, not as wide as ``n_bits`` needs, or a bit set in the padding.
    """

    packed: Tensor
    n_bits: int

    def __post_init__(self) -> None:
        if self.n_bits < 1:
            raise InputError(f"a code needs at least 1 bit, got {self.n_bits}")
        width = _width(self.n_bits)
        if self.packed.dtype != torch.uint8 or self.packed.shape[1:] != (width,):
            raise InputError(
                f"expected packed codes (n, {width}) of torch.uint8 for {self.n_bits} bits, "
                f"got {tuple(self.packed.shape)} of {self.packed.dtype}: use BitCodes.pack(bits)"
            )
        # Only on a CPU, where files are read to: elsewhere it would wait for the device.
        if self.packed.device.type == "cpu" and self.n_bits < 8 * width:
            last = self.packed[:, self.n_bits // 8 :]
            if (last[:, 0] >> self.n_bits % 8).any() or last[:, 1:].any():
                raise InputError(f"bits beyond the {self.n_bits} of a code must be 0")

    @classmethod
    def pack(cls, bits: Tensor) -> Self:
        """Pack a bool or uint8 ``(n, m)`` matrix, nonzero entries as 1, on its own device."""
        if bits.ndim != 2:
            raise InputError(f"expected an (n, m) matrix of bits, got shape {tuple(bits.shape)}")
        if bits.dtype not in (torch.bool, torch.uint8):
            raise InputError(f"expected bool or uint8 bits, got {bits.dtype}: compare first, x > 0")
        n, m = bits.shape
        if bits.device.type != "cpu":
            return cls(_pack_on_device(bits), m)
        packed = torch.zeros(n, _width(m), dtype=torch.uint8)
        packed.numpy()[:, : -(-m // 8)] = np.packbits(bits.numpy(), axis=1, bitorder="little")
        return cls(packed, m)

    @classmethod
    def cat(cls, codes: Sequence[Self]) -> Self:
        """Put codes of equal length below each other."""
        lengths = {code.n_bits for code in codes}
        if len(lengths) != 1:
            raise InputError(f"expected codes of one length, got {sorted(lengths)} bits")
        return cls(torch.cat([code.packed for code in codes]), lengths.pop())

    def unpack(self) -> Tensor:
        """Return the bits as a bool ``(n, n_bits)`` matrix: eight times the memory."""
        if self.packed.device.type == "cpu":
            bits = np.unpackbits(self.packed.numpy(), axis=1, count=self.n_bits, bitorder="little")
            return torch.from_numpy(bits).view(torch.bool)
        return _unpack_on_device(self.packed)[:, : self.n_bits].bool()

    def to(self, device: torch.device | str) -> "BitCodes":
        return BitCodes(self.packed.to(device), self.n_bits)

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, rows: int | slice | Sequence[int] | Tensor) -> "BitCodes":
        """Choose rows by number, slice, index or mask; a single number gives one row."""
        return BitCodes(self.packed[rows].reshape(-1, self.packed.shape[1]), self.n_bits)

    def __repr__(self) -> str:
        return f"BitCodes({len(self)} codes of {self.n_bits} bits on {self.packed.device})"


def hamming_similarity(a: BitCodes, b: BitCodes) -> Tensor:
    """Share of bits in which each code of ``a`` agrees with each code of ``b``.

    1 for equal codes, 0 for complements, 0.5 on average for unrelated fair bits. It
    counts common zeros as agreement, so that codes in which few bits fire are all alike.

    Args:
        a: ``n`` codes.
        b: ``m`` codes of the same length on the same device.

    Returns:
        ``(n, m)`` float32 in [0, 1]. On a CPU FAISS counts on the packed words, with
        ``torch.get_num_threads()`` threads, half of the pairs where ``a is b``; elsewhere
        blocks of bits go through a matrix product.

    Raises:
        InputError: the codes differ in length or device.
    """
    return _differing_bits(a, b).div_(-a.n_bits).add_(1)


def jaccard_similarity(a: BitCodes, b: BitCodes) -> Tensor:
    """Bits set in both codes over bits set in either.

    Unlike Hamming similarity it does not see common zeros. Two codes without any set bit
    are equal and score 1; one of them against any other code scores 0.

    Args:
        a: ``n`` codes.
        b: ``m`` codes of the same length on the same device.

    Returns:
        ``(n, m)`` float32 in [0, 1], at the cost of ``hamming_similarity``.

    Raises:
        InputError: the codes differ in length or device.
    """
    differing = _differing_bits(a, b)
    # |a| + |b| is twice the common bits plus the differing ones.
    total = _set_bits(a)[:, None] + _set_bits(b)
    similarity = (total - differing) / (total + differing)
    return similarity.nan_to_num_(nan=1.0)


def nearest_in_groups(
    queries: BitCodes, base: BitCodes, groups: Sequence[tuple[slice, slice]], k: int
) -> Tensor:
    """Mean Hamming similarity of each code to the ``k`` most alike of its own group.

    Args:
        queries: ``n`` codes.
        base: Codes of the same length on the same device.
        groups: Which rows of ``queries`` are compared with which of ``base``: all queries, in
            their order, once each.
        k: Neighbours; of a smaller group all.

    Returns:
        ``(n,)`` float32 in [0, 1]. On a CPU FAISS counts; pairs that no group asks for cost
        nothing.

    Raises:
        InputError: the codes differ in length or device.
    """
    _check_comparable(queries, base)
    if queries.packed.device.type != "cpu":
        parts = [hamming_similarity(queries[rows], base[members]) for rows, members in groups]
        return torch.cat([part.topk(min(k, part.shape[1])).values.mean(1) for part in parts])
    found = np.empty(len(queries), np.float32)
    asking, answering = _rows(queries), _rows(base)
    with _faiss() as faiss:
        for rows, members in groups:
            left, right = asking[rows], answering[members]
            tile = np.empty((len(left), len(right)), np.int32)
            pointers = [faiss.swig_ptr(part) for part in (left, right, tile)]
            faiss.hammings(*pointers[:2], *tile.shape, left.shape[1], pointers[2])
            count = min(k, len(right))
            nearest = np.partition(tile, count - 1, axis=1)[:, :count]
            found[rows] = 1 - nearest.mean(1) / base.n_bits
    return torch.from_numpy(found)


def hamming_neighbors(queries: BitCodes, base: BitCodes, k: int) -> tuple[Tensor, Tensor]:
    """Find the ``k`` codes of ``base`` most alike to each query; ties go to the lower index.

    Args:
        queries: ``n`` codes.
        base: At least ``k`` codes of the same length on the same device.
        k: Neighbours per query.

    Returns:
        ``(n, k)`` float32 similarities, highest first, and ``(n, k)`` int64 rows of ``base``.
        A FAISS search on a CPU, ``O(n k)`` memory; elsewhere all pairs, then a sort.

    Raises:
        InputError: the codes differ in length or device, or ``k`` is not in 1 to ``len(base)``.
    """
    _check_comparable(queries, base)
    if not 1 <= k <= len(base):
        raise InputError(f"k must be between 1 and the {len(base)} codes searched, got {k}")
    if queries.packed.device.type != "cpu":
        similarity, index = hamming_similarity(queries, base).sort(descending=True, stable=True)
        return similarity[:, :k], index[:, :k]
    with _faiss() as faiss:
        flat = faiss.IndexBinaryFlat(8 * base.packed.shape[1])
        flat.add(_rows(base))
        differing, found = flat.search(_rows(queries), k)
    return 1 - torch.from_numpy(differing) / base.n_bits, torch.from_numpy(found)


def firing_rates(codes: BitCodes, labels: Tensor, classes: int) -> Tensor:
    """Share of each class's codes in which each bit is 1.

    Args:
        codes: ``n`` codes, at least one.
        labels: ``(n,)`` integer classes, 0 to ``classes - 1``.
        classes: How many classes there are.

    Returns:
        ``(classes, n_bits)`` float32 in [0, 1], on the codes' device. A class without a code
        gets the rates of all codes together.

    Raises:
        InputError: no code, or labels that do not fit.
    """
    if len(codes) == 0:
        raise InputError("expected at least one code to take rates from, got none")
    check_labels(labels, len(codes), classes)
    labels = labels.to(codes.packed.device)
    fired = torch.zeros(classes, codes.n_bits, device=codes.packed.device)
    step = max(1, UNPACKED_BYTES // (4 * codes.n_bits))
    for start in range(0, len(codes), step):
        rows = slice(start, start + step)
        fired.index_add_(0, labels[rows], codes[rows].unpack().view(torch.uint8).float())
    count = labels.bincount(minlength=classes)[:, None]
    return torch.where(count > 0, fired / count.clamp(min=1), fired.sum(0) / len(codes))


def hamming_similarity_to_rates(bits: Tensor, rates: Tensor) -> Tensor:
    """Mean Hamming similarity of each input to each class: linear in the bits.

    Equal to the average of ``hamming_similarity`` over the codes whose ``firing_rates`` are
    given, at the cost of one code per class. Bits between 0 and 1 give what a
    random bit of that probability would give on average, so that gradients flow.

    Args:
        bits: ``(n, m)`` floating-point bits, 0 or 1.
        rates: ``(classes, m)`` firing rates.

    Returns:
        ``(n, classes)`` in [0, 1], of the type of ``bits``, differentiable.

    Raises:
        InputError: the widths differ.
    """
    if bits.ndim != 2 or rates.ndim != 2 or bits.shape[1] != rates.shape[1]:
        raise InputError(
            f"expected bits (n, m) and rates (classes, m), "
            f"got {tuple(bits.shape)} and {tuple(rates.shape)}"
        )
    if not bits.is_floating_point():
        raise InputError(f"expected floating-point bits, got {bits.dtype}: use .float()")
    rates = rates.to(bits.dtype)
    # x r + (1 - x)(1 - r), averaged over the bits
    return torch.addmm((1 - rates).mean(1), bits, (2 * rates - 1).T, alpha=1 / bits.shape[1])


def _width(n_bits: int) -> int:
    return WORD_BITS // 8 * -(-n_bits // WORD_BITS)


def _places(device: torch.device) -> Tensor:
    return torch.arange(8, dtype=torch.uint8, device=device)


def _pack_on_device(bits: Tensor) -> Tensor:
    n, m = bits.shape
    padded = bits.new_zeros((n, 8 * _width(m)), dtype=torch.uint8)
    padded[:, :m] = bits != 0
    return (padded.view(n, -1, 8) << _places(bits.device)).sum(-1, dtype=torch.uint8)


def _unpack_on_device(packed: Tensor) -> Tensor:
    return (packed.unsqueeze(-1) >> _places(packed.device) & 1).flatten(1)


def _check_comparable(a: BitCodes, b: BitCodes) -> None:
    if a.n_bits != b.n_bits:
        raise InputError(f"codes must have one length, got {a.n_bits} and {b.n_bits} bits")
    if a.packed.device != b.packed.device:
        raise InputError(f"both must be on one device, got {a.packed.device} and {b.packed.device}")


def _differing_bits(a: BitCodes, b: BitCodes) -> Tensor:
    """Hamming distances of all pairs, ``(n, m)`` float32 whole numbers."""
    _check_comparable(a, b)
    if a.packed.device.type == "cpu":
        return _differing_bits_on_cpu(a, b)
    return _differing_bits_by_product(a, b)


def _differing_bits_by_product(a: BitCodes, b: BitCodes) -> Tensor:
    agreeing = torch.zeros(len(a), len(b), device=a.packed.device)
    # Signs of +-1: their product counts agreeing minus differing bits.
    step = max(1, DEVICE_BYTES // (8 * 4 * (len(a) + len(b) + 1)))
    for start in range(0, a.packed.shape[1], step):
        columns = slice(start, start + step)
        left, right = (_unpack_on_device(c.packed[:, columns]).float() for c in (a, b))
        agreeing.addmm_(2 * left - 1, (2 * right - 1).T)
    # Padding agrees everywhere, and is counted on both sides.
    return agreeing.sub_(8 * a.packed.shape[1]).mul_(-0.5)


def _differing_bits_on_cpu(a: BitCodes, b: BitCodes) -> Tensor:
    counts = torch.empty(len(a), len(b))
    rows_a, rows_b, out = _rows(a), _rows(b), counts.numpy()
    symmetric = a is b

    def fill(corner: tuple[int, int]) -> None:
        i, j = (slice(start, start + TILE_ROWS) for start in corner)
        left, right = rows_a[i], rows_b[j]
        tile = np.empty((len(left), len(right)), np.int32)
        pointers = [faiss.swig_ptr(rows) for rows in (left, right, tile)]
        faiss.hammings(*pointers[:2], *tile.shape, left.shape[1], pointers[2])
        out[i, j] = tile
        if symmetric:
            out[j, i] = tile.T

    corners = [
        (i, j)
        for i in range(0, len(a), TILE_ROWS)
        for j in range(i if symmetric else 0, len(b), TILE_ROWS)
    ]
    with _faiss() as faiss:
        if len(corners) < 2 or torch.get_num_threads() == 1:
            for corner in corners:
                fill(corner)
        else:
            # faiss.hammings runs on one thread and lets go of the interpreter's lock.
            with ThreadPoolExecutor(torch.get_num_threads()) as pool:
                list(pool.map(fill, corners))
    return counts


def _rows(codes: BitCodes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.ascontiguousarray(codes.packed.numpy())


def _set_bits(codes: BitCodes) -> Tensor:
    empty = BitCodes(codes.packed.new_zeros(1, codes.packed.shape[1]), codes.n_bits)
    return _differing_bits(codes, empty)[:, 0]


@contextmanager
def _faiss() -> Iterator[Any]:
    """FAISS with as many threads as torch may use here, and its own number back afterwards."""
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(torch.get_num_threads())
    try:
        yield faiss
    finally:
        faiss.omp_set_num_threads(threads)
