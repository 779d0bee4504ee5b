"""Pieces of networks against answers worked out by hand."""

import pytest
import torch

from advdetect.networks.layers import Normalize, conv_bn


def test_normalises_each_channel_by_its_own_mean_and_deviation():
    images = torch.tensor([0.5, 0.75]).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    found = Normalize([0.25, 0.5], [0.25, 0.125])(images)
    assert torch.equal(found, torch.tensor([1.0, 2.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3))


def test_mean_and_deviation_are_saved_but_not_trained():
    layer = Normalize([0.5], [0.25])
    assert list(layer.state_dict()) == ["mean", "std"]
    assert list(layer.parameters()) == []
    assert layer.double()(torch.zeros(1, 1, 1, 1).double()).dtype == torch.float64


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize(("stride", "size"), [(1, 7), (2, 4)])
def test_a_convolution_keeps_the_size_but_for_its_stride(kernel, stride, size):
    layer = conv_bn(2, 5, kernel=kernel, stride=stride).eval()
    assert layer(torch.zeros(3, 2, 7, 7)).shape == (3, 5, size, size)
    assert layer[0].bias is None  # BatchNorm has one
