"""Bit codes against SciPy, against counting by hand, and against their own other routes."""

import pytest
import torch
from scipy.spatial.distance import cdist

from advdetect.errors import InputError
from advdetect.similarity import bits as bits_module
from advdetect.similarity.bits import (
    BitCodes,
    firing_rates,
    hamming_neighbors,
    hamming_similarity,
    hamming_similarity_to_rates,
    jaccard_similarity,
    nearest_in_groups,
)

LENGTHS = [1, 7, 8, 63, 64, 65, 130, 1000]


def random_bits(n: int, m: int, seed: int = 0, share: float = 0.5) -> torch.Tensor:
    return torch.rand(n, m, generator=torch.Generator().manual_seed(seed)) < share


def codes(n: int, m: int, seed: int = 0) -> BitCodes:
    return BitCodes.pack(random_bits(n, m, seed))


def one_code(text: str) -> BitCodes:
    return BitCodes.pack(torch.tensor([[c == "1" for c in text]]))


@pytest.mark.parametrize("m", LENGTHS)
def test_packing_loses_nothing(m: int) -> None:
    bits = random_bits(5, m)
    packed = BitCodes.pack(bits)
    assert packed.n_bits == m
    assert len(packed) == 5
    assert packed.packed.shape == (5, 8 * -(-m // 64))
    assert packed.unpack().dtype == torch.bool
    assert torch.equal(packed.unpack(), bits)
    assert torch.equal(BitCodes.pack(3 * bits.to(torch.uint8)).unpack(), bits)


def test_bit_order_is_the_lowest_bit_first() -> None:
    assert one_code("1010000011").packed[0].tolist() == [5, 3, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("m", LENGTHS)
def test_the_route_of_other_devices_packs_the_same_bytes(m: int) -> None:
    bits = random_bits(5, m)
    dense = bits_module._pack_on_device(bits)
    assert torch.equal(dense, BitCodes.pack(bits).packed)
    assert torch.equal(bits_module._unpack_on_device(dense)[:, :m].bool(), bits)


def test_a_matrix_that_is_not_contiguous() -> None:
    bits = random_bits(70, 6).T
    assert torch.equal(BitCodes.pack(bits).unpack(), bits)


def test_no_rows() -> None:
    empty = codes(4, 10)[:0]
    assert len(empty) == 0
    assert empty.unpack().shape == (0, 10)
    assert hamming_similarity(empty, codes(3, 10)).shape == (0, 3)


@pytest.mark.parametrize(
    "rows",
    [slice(1, 4), [0, 4], torch.tensor([2, 2, 0]), torch.tensor([True, False, True, False, True])],
)
def test_choosing_rows(rows) -> None:
    bits = random_bits(5, 70)
    assert torch.equal(BitCodes.pack(bits)[rows].unpack(), bits[rows])


def test_a_number_chooses_one_row_and_rows_can_be_walked_over() -> None:
    bits = random_bits(3, 70)
    assert torch.equal(BitCodes.pack(bits)[-1].unpack(), bits[-1:])
    walked = BitCodes.cat(list(BitCodes.pack(bits)))
    assert torch.equal(walked.unpack(), bits)


def test_to_and_repr() -> None:
    packed = codes(3, 70)
    assert torch.equal(packed.to("cpu").packed, packed.packed)
    assert packed.to("meta").packed.device.type == "meta"
    assert repr(packed) == "BitCodes(3 codes of 70 bits on cpu)"


def test_similarities_worked_out_by_hand() -> None:
    a, b = one_code("1100"), one_code("1010")
    assert hamming_similarity(a, b).tolist() == [[0.5]]
    assert jaccard_similarity(a, b).item() == pytest.approx(1 / 3)


def test_codes_without_a_set_bit() -> None:
    none, one = one_code("000"), one_code("100")
    assert jaccard_similarity(none, none).item() == 1
    assert jaccard_similarity(none, one).item() == 0
    assert hamming_similarity(none, one_code("111")).item() == 0


@pytest.mark.parametrize("m", LENGTHS)
@pytest.mark.parametrize("name", ["hamming", "jaccard"])
def test_similarities_agree_with_scipy(name: str, m: int) -> None:
    # More rows than a tile has, so that tiles and their edges are seen.
    a, b = random_bits(300, m, 1), random_bits(260, m, 2, share=0.2)
    ours = {"hamming": hamming_similarity, "jaccard": jaccard_similarity}[name]
    found = ours(BitCodes.pack(a), BitCodes.pack(b))
    assert found.dtype == torch.float32
    torch.testing.assert_close(
        found, torch.from_numpy(1 - cdist(a.numpy(), b.numpy(), name)).float(), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("similarity", [hamming_similarity, jaccard_similarity])
def test_all_pairs_of_one_set(similarity) -> None:
    a = codes(600, 65)
    found = similarity(a, a)
    assert torch.equal(found, found.T)
    assert (found.diagonal() == 1).all()
    assert torch.equal(found, similarity(a, a[:]))  # as two sets, without the short cut


def test_several_threads_find_the_same() -> None:
    a, b = codes(600, 65, 1), codes(300, 65, 2)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = hamming_similarity(a, b)
        torch.set_num_threads(3)
        assert torch.equal(hamming_similarity(a, b), one)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("m", LENGTHS)
def test_the_matrix_product_counts_as_faiss_does(m: int, monkeypatch) -> None:
    monkeypatch.setattr(bits_module, "DEVICE_BYTES", 32 * 12 * 3)  # three bytes at a time
    a, b = codes(7, m, 1), codes(4, m, 2)
    by_product = bits_module._differing_bits_by_product(a, b)
    assert torch.equal(by_product, bits_module._differing_bits_on_cpu(a, b))


def test_the_nearest_on_another_device() -> None:
    queries, base = codes(3, 70, 1).to("meta"), codes(5, 70, 2).to("meta")
    assert nearest_in_groups(queries, base, [(slice(0, 3), slice(1, 4))], 2).shape == (3,)


@pytest.mark.parametrize("m", LENGTHS)
def test_the_nearest_of_a_group_are_sought_there_alone(m: int) -> None:
    queries, base = codes(7, m, 1), codes(40, m, 2)
    every = hamming_similarity(queries, base)
    groups = [(slice(0, 2), slice(10, 13)), (slice(2, 6), slice(None)), (slice(6, 7), slice(3, 5))]
    found = nearest_in_groups(queries, base, groups, 5)
    for rows, members in groups:
        descending = every[rows, members].sort(dim=1, descending=True).values
        torch.testing.assert_close(found[rows], descending[:, :5].mean(1))


def test_neighbors_are_the_largest_similarities_ties_by_index() -> None:
    queries, base = codes(20, 10, 1), codes(400, 10, 2)  # ten bits: ties everywhere
    everything = hamming_similarity(queries, base).sort(descending=True, stable=True)
    similarity, index = hamming_neighbors(queries, base, 30)
    assert index.dtype == torch.int64
    assert torch.equal(similarity, everything.values[:, :30])
    assert torch.equal(index, everything.indices[:, :30])


def test_firing_rates_by_hand_and_of_an_absent_class(monkeypatch) -> None:
    monkeypatch.setattr(bits_module, "UNPACKED_BYTES", 24)  # two rows at a time
    bits = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 1]], dtype=torch.uint8)
    rates = firing_rates(BitCodes.pack(bits), torch.tensor([2, 2, 0]), 3)
    expected = [[0, 1, 1], [2 / 3, 2 / 3, 1 / 3], [1, 0.5, 0]]
    torch.testing.assert_close(rates, torch.tensor(expected))


def test_similarity_to_rates_is_the_mean_similarity_to_the_class() -> None:
    base, queries = codes(50, 70, 1), random_bits(9, 70, 2)
    labels = torch.arange(50) % 3
    every = hamming_similarity(BitCodes.pack(queries), base)
    expected = torch.stack([every[:, labels == c].mean(1) for c in range(3)], dim=1)
    found = hamming_similarity_to_rates(queries.float(), firing_rates(base, labels, 3))
    torch.testing.assert_close(found, expected)
    absent = hamming_similarity_to_rates(queries.float(), firing_rates(base, labels, 4))[:, 3]
    torch.testing.assert_close(absent, every.mean(1))


def test_similarity_to_rates_has_its_gradient() -> None:
    soft = torch.rand(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rates = firing_rates(codes(8, 5), torch.arange(8) % 2, 2)
    assert torch.autograd.gradcheck(
        lambda x: hamming_similarity_to_rates(x, rates), (soft.requires_grad_(),)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BitCodes.pack(torch.ones(3)), r"\(n, m\) matrix of bits, got shape \(3,\)"),
        (lambda: BitCodes.pack(torch.ones(3, 2)), "bool or uint8 bits, got torch.float32: compare"),
        (lambda: BitCodes.pack(torch.ones(3, 0).bool()), "at least 1 bit, got 0"),
        (lambda: BitCodes(torch.zeros(2, 9).byte(), 65), r"\(n, 16\) .* got \(2, 9\) of torch.ui"),
        (lambda: BitCodes(torch.zeros(2, 8), 3), "of torch.float32: use BitCodes.pack"),
        (lambda: BitCodes(torch.full((2, 8), 8).byte(), 11), "beyond the 11 of a code must be 0"),
        (lambda: BitCodes.cat([codes(1, 8), codes(1, 9)]), r"one length, got \[8, 9\] bits"),
        (lambda: BitCodes.cat([]), r"codes of one length, got \[\] bits"),
        (lambda: hamming_similarity(codes(2, 8), codes(2, 9)), "one length, got 8 and 9 bits"),
        (lambda: jaccard_similarity(codes(2, 8), codes(2, 9)), "one length, got 8 and 9 bits"),
        (lambda: hamming_similarity(codes(2, 8), codes(2, 8).to("meta")), "got cpu and meta"),
        (lambda: hamming_neighbors(codes(2, 8), codes(3, 8), 4), "and the 3 codes searched, got 4"),
        (lambda: hamming_neighbors(codes(2, 8), codes(3, 8), 0), "searched, got 0"),
        (lambda: firing_rates(codes(2, 8)[:0], torch.arange(0), 2), "at least one code"),
        (lambda: firing_rates(codes(2, 8), torch.arange(3), 3), "expected 2 labels"),
        (lambda: firing_rates(codes(2, 8), torch.tensor([0, 2]), 2), "from 0 to 1, got 0 to 2"),
        (lambda: firing_rates(codes(2, 8), torch.ones(2), 2), "integer labels"),
        (
            lambda: hamming_similarity_to_rates(torch.ones(2, 3), torch.ones(2, 4)),
            r"got \(2, 3\) and \(2, 4\)",
        ),
        (
            lambda: hamming_similarity_to_rates(torch.ones(2, 3).bool(), torch.ones(2, 3)),
            "floating-point bits, got torch.bool",
        ),
    ],
)
def test_says_what_is_wrong(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
