"""One graph, stored in three ways, is one operator."""

import numpy as np
import pytest
import torch
from scipy import sparse

from advdetect.similarity import graph_operators
from advdetect.similarity.bits import BitCodes, hamming_similarity
from advdetect.similarity.graph_operators import graph_operator


@pytest.mark.parametrize("block_bytes", [1 << 22, 4 * 70 * 6])
def test_tensor_sparse_matrix_and_codes_agree(block_bytes: int, monkeypatch) -> None:
    monkeypatch.setattr(graph_operators, "UNPACKED_BYTES", block_bytes)
    generator = torch.Generator().manual_seed(0)
    codes = BitCodes.pack(torch.rand(20, 70, generator=generator) > 0.4)
    similarity = hamming_similarity(codes, codes).double()
    weights = similarity.numpy() - np.eye(20)
    x = np.linspace(-1, 2, 20)
    for given in (similarity, similarity.float(), sparse.coo_matrix(similarity.numpy()), codes):
        operator = graph_operator(given)
        assert operator.n == 20
        np.testing.assert_allclose(operator.times(x), weights @ x, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(operator.degree, weights.sum(1), rtol=1e-6)
        assert operator.lowest <= similarity.min()


def test_half_precision_is_multiplied_in_single() -> None:
    similarity = torch.tensor([[1, 0.1, 0.2], [0.1, 1, 0.3], [0.2, 0.3, 1]], dtype=torch.bfloat16)
    operator = graph_operator(similarity)
    expected = similarity.double().fill_diagonal_(0).sum(1).numpy()
    np.testing.assert_allclose(operator.times(np.ones(3)), expected, rtol=1e-6)
