"""Every check passes what it should and names what is wrong with the rest."""

import numpy as np
import pytest
import torch

from advdetect.checks import check_images, check_labels, check_paired_rows, pick
from advdetect.errors import AdvDetectError, FileError, InputError, ModelError


def test_errors_have_one_root_and_bad_input_is_a_value_error():
    assert all(issubclass(kind, AdvDetectError) for kind in (InputError, FileError, ModelError))
    assert issubclass(InputError, ValueError)


def test_pick():
    table = {"first": 1, "second": 2}
    assert pick(table, "second", "thing") == 2
    with pytest.raises(InputError, match="^no thing named 'third', choose from: first, second$"):
        pick(table, "third", "thing")


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_rows_that_pair_up_pass(dtype):
    check_paired_rows(torch.zeros(2, 3, dtype=dtype), torch.ones(2, 1, dtype=dtype))
    check_paired_rows(torch.zeros(1, 3), torch.zeros(1, 3), at_least=1)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.zeros(3), torch.zeros(3, 1), r"two \(n, d\) matrices, got \(3,\) and \(3, 1\)"),
        (torch.zeros(3, 1), torch.zeros(3, 1, 1), r"got \(3, 1\) and \(3, 1, 1\)"),
        (torch.zeros(3, 1), torch.zeros(3, 1).int(), r"got torch.int32: use .float\(\)"),
        (torch.zeros(3, 1), torch.full((3, 1), torch.nan), "finite, got NaN or infinity"),
        (torch.full((3, 1), -torch.inf), torch.zeros(3, 1), "finite, got NaN or infinity"),
        (torch.zeros(3, 1), torch.zeros(4, 1), "rows must pair up, got 3 and 4"),
        (torch.zeros(1, 1), torch.zeros(1, 1), "needs at least 2 rows, got 1"),
        (torch.zeros(3, 1), torch.zeros(3, 1, device="meta"), "one device, got cpu and meta"),
    ],
)
def test_says_what_is_wrong_with_rows(x, y, message):
    with pytest.raises(InputError, match=message):
        check_paired_rows(x, y)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_pixels_from_0_to_1_pass(dtype):
    images = torch.linspace(0, 1, 24).view(2, 3, 2, 2).to(dtype)
    check_images(images)
    check_images(images, shape=(3, 2, 2))


PIXELS = torch.full((2, 1, 2, 2), 0.5)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 1, 2, 2)), "expected images as a torch.Tensor, got ndarray"),
        (PIXELS[0], r"of shape \(n, c, h, w\), got \(1, 2, 2\)"),
        (PIXELS.byte(), "got torch.uint8: divide 8-bit pixels by 255"),
        (PIXELS[:0], "at least one image, got none"),
        (PIXELS[..., :0], r"expected images with pixels, got shape \(2, 1, 2, 0\)"),
        (PIXELS * torch.nan, "pixels must be finite, got NaN or infinity"),
        (PIXELS * torch.inf, "pixels must be finite, got NaN or infinity"),
        (PIXELS * 3, r"must lie in \[0, 1\], got \[1.5, 1.5\]: give the model raw pixels"),
        (PIXELS - 1, r"must lie in \[0, 1\], got \[-0.5, -0.5\]"),
    ],
)
def test_says_what_is_wrong_with_images(images, message):
    with pytest.raises(InputError, match=message):
        check_images(images)


def test_says_which_shape_was_expected():
    message = r"of shape \(3, 2, 2\) \(channels, height, width\), got \(1, 2, 2\)"
    with pytest.raises(InputError, match=message):
        check_images(PIXELS, shape=(3, 2, 2))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_labels_from_0_up_pass(dtype):
    check_labels(torch.tensor([0, 9], dtype=dtype), 2, 10)
    check_labels(torch.tensor([0, 200], dtype=dtype), 2)
    check_labels(torch.tensor([], dtype=dtype), 0, 10)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], "expected labels as a torch.Tensor, got list"),
        (torch.tensor([0, 1, 2]), r"expected 2 labels, one per image, got shape \(3,\)"),
        (torch.tensor([[0], [1]]), r"expected 2 labels, one per image, got shape \(2, 1\)"),
        (torch.tensor([0.0, 1.0]), "expected integer labels, got torch.float32"),
        (torch.tensor([True, False]), "expected integer labels, got torch.bool"),
        (torch.tensor([0, 10]), "labels must run from 0 to 9, got 0 to 10"),
        (torch.tensor([-1, 3]), "labels must run from 0 to 9, got -1 to 3"),
    ],
)
def test_says_what_is_wrong_with_labels(labels, message):
    with pytest.raises(InputError, match=message):
        check_labels(labels, 2, 10)


def test_without_a_number_of_classes_only_negative_labels_are_wrong():
    with pytest.raises(InputError, match="labels must run from 0, got -1 to 3"):
        check_labels(torch.tensor([-1, 3]), 2)
