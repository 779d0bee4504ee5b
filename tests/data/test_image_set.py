"""A set keeps its rows together, and its fingerprint is that of its content."""

import hashlib

import pytest
import torch

from advdetect.data import ImageSet


@pytest.fixture
def pictures():
    images = torch.arange(12, dtype=torch.float32).view(3, 1, 2, 2) / 12
    labels, index = torch.tensor([1, 0, 1]), torch.tensor([4, 7, 9])
    return ImageSet("toy", "reference", images, labels, index, ("cat", "dog"))


@pytest.mark.parametrize(
    "rows", [[2, 0], torch.tensor([2, 0]), torch.tensor([2, 0], dtype=torch.int32)]
)
def test_subset_keeps_rows_together_in_the_order_given(pictures, rows):
    part = pictures.subset(rows)
    assert part.index.tolist() == [9, 4]
    assert part.labels.tolist() == [1, 1]
    torch.testing.assert_close(part.images, pictures.images[[2, 0]])
    assert (part.name, part.split, part.classes) == ("toy", "reference", ("cat", "dog"))


def test_subset_by_mask(pictures):
    assert pictures.subset(pictures.labels == 0).index.tolist() == [7]


def test_subset_may_be_empty(pictures):
    assert len(pictures.subset([])) == 0


def test_size(pictures):
    assert len(pictures) == 3
    assert pictures.shape == (1, 2, 2)


def test_fingerprint_is_the_hash_of_shape_pixels_and_labels(pictures):
    content = b"(3, 1, 2, 2)"
    content += pictures.images.numpy().tobytes() + pictures.labels.numpy().tobytes()
    assert pictures.fingerprint == hashlib.sha256(content).hexdigest()


def test_fingerprint_sees_order_and_labels_but_not_memory_layout(pictures):
    strided = pictures.images.transpose(2, 3).contiguous().transpose(2, 3)
    labels, index, classes = pictures.labels, pictures.index, pictures.classes
    same = ImageSet("other", "test", strided, labels, index, classes)
    relabelled = ImageSet("toy", "reference", pictures.images, 1 - labels, index, classes)
    assert same.fingerprint == pictures.fingerprint
    assert relabelled.fingerprint != pictures.fingerprint
    assert pictures.subset([1, 0, 2]).fingerprint != pictures.fingerprint
