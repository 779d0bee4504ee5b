"""Scikit-learn's digits, against scikit-learn."""

import pytest
import torch
from sklearn.datasets import load_digits

from advdetect.data import load


def test_digits_are_those_of_scikit_learn():
    bunch = load_digits()
    parts = [load("digits", split=split) for split in ("reference", "calibration", "evaluation")]
    assert [len(part) for part in parts] == [898, 360, 539]
    rows = torch.cat([part.index for part in parts])
    assert sorted(rows.tolist()) == list(range(1797))
    images = torch.cat([part.images for part in parts])
    expected = torch.from_numpy(bunch.images / 16).float()[rows]
    torch.testing.assert_close(images[:, 0], expected)
    assert torch.cat([part.labels for part in parts]).tolist() == bunch.target[rows].tolist()
    assert parts[0].classes == tuple("0123456789")
    assert images.max().item() == pytest.approx(1)
