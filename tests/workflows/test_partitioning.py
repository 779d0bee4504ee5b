"""The Fiedler cut of two classes, on networks whose bits are known."""

import numpy as np
import pytest
import torch
from torch import nn

from advdetect.data import ImageSet
from advdetect.errors import InputError
from advdetect.workflows.observing import Observed
from advdetect.workflows.partitioning import class_partition, cut_accuracy, cut_attacks


class Halves(nn.Module):
    """The first layer's bits are random in every image, the second's are the image's class.

    An image holds its class in its first pixel and noise in the others.
    """

    def __init__(self, alike=-1):
        super().__init__()
        self.alike = alike  # a class that the network takes for the one before it
        self.blind = nn.ReLU()
        self.seeing = nn.ReLU()

    def forward(self, images):
        pixels = images.flatten(1)
        noise = self.blind(pixels[:, 1:] - 0.5)
        classes = (pixels[:, 0] * 10).round().long()
        classes = classes - (classes == self.alike).long()
        own = nn.functional.one_hot(classes, 4).float() - 0.5
        # Of 24 units 4 are noise: classes differ in 12.
        own = self.seeing(torch.cat([own.repeat_interleave(5, 1), pixels[:, 1:5] - 0.5], 1))
        return own[:, :4] + 0 * noise[:, :4]


def image_set(counts):
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([c for c, n in enumerate(counts) for _ in range(n)])
    labels = labels[torch.randperm(len(labels), generator=generator)]
    images = torch.rand(len(labels), 1, 7, 7, generator=generator)
    images[:, 0, 0, 0] = labels / 10
    return ImageSet("made up", "evaluation", images, labels, torch.arange(len(labels)), ())


def test_a_layer_that_holds_the_class_is_cut_by_class_and_noise_is_not():
    rows = class_partition(Halves(), image_set([30, 30, 30]), per_class=30)
    assert [row.layer for row in rows] == ["blind", "seeing"]
    blind, seeing = (row.accuracy for row in rows)
    assert seeing.value == 1
    assert seeing.n == blind.n == 3  # pairs of classes
    assert 0.5 <= blind.value < 0.8


def test_every_pair_is_cut_by_itself():
    rows = class_partition(Halves(alike=3), image_set([30, 30, 30, 30]), per_class=30)
    seeing = rows[1].accuracy
    assert seeing.n == 6
    # Five pairs are told apart, and one is not.
    assert (5 + 0.5) / 6 <= seeing.value < (5 + 0.8) / 6


def test_only_classes_with_enough_images_count_and_only_the_first_of_them():
    images = image_set([30, 12, 30, 31])
    rows = class_partition(Halves(), images, per_class=30)
    assert rows[1].accuracy.n == 3
    first = torch.cat([(images.labels == c).nonzero()[:30, 0] for c in (0, 2, 3)])
    again = class_partition(Halves(), images.subset(first), per_class=30)
    assert [row.accuracy.value for row in again] == [row.accuracy.value for row in rows]


def test_says_when_images_are_too_few():
    with pytest.raises(
        InputError, match=r"expected 30 images of at least two classes, got \[30 +5"
    ):
        class_partition(Halves(), image_set([30, 5]), per_class=30)


@pytest.mark.parametrize(
    ("side", "expected"),
    [([0, 0, 1, 1], 1), ([1, 1, 0, 0], 1), ([1, 0, 1, 1], 0.75), ([0, 1, 0, 1], 0.5)],
)
def test_a_cut_agrees_whichever_side_is_which(side, expected):
    truth = np.array([False, False, True, True])
    assert cut_accuracy(np.array(side, bool), truth) == expected


def observed(rows, predicted):
    nothing = np.zeros(len(rows))
    return Observed(rows, np.asarray(predicted), nothing, nothing, nothing > 0)


@pytest.mark.parametrize(("shift", "low", "high"), [(6.0, 0.99, 1), (0.0, 0.5, 0.8)])
def test_clean_and_attacked_are_cut_where_they_differ(small_guard, small_attacks, shift, low, high):
    """Every third feature of attacked rows lies ``shift`` deviations from where it was."""
    generator = np.random.default_rng(0)
    usual = small_guard.fitting
    clean_rows = usual.rows[usual.origin == 0].double().numpy()
    labels = usual.predicted[usual.origin == 0].numpy()
    order = generator.permutation(len(clean_rows))
    half, other = order[: len(order) // 2], order[len(order) // 2 :]
    moved = clean_rows[other].copy()
    moved[:, ::3] += shift * clean_rows.std(0)[::3]
    result = next(r for r in small_attacks.results if r.attack == "linf_fmn")
    control = next(r for r in small_attacks.results if r.control)
    n = int(result.counted.sum())
    rows = np.zeros((len(result), clean_rows.shape[1]))
    predicted = np.zeros(len(result), np.int64)
    chosen = result.counted.numpy()
    rows[chosen], predicted[chosen] = moved[:n], labels[other][:n]
    # One class, so that there are enough of each kind.
    attacked = observed(rows, 0 * predicted)
    clean = observed(clean_rows[half], 0 * labels[half])
    found = cut_attacks(small_guard, clean, [(result, attacked), (control, attacked)])
    (cut,) = found
    assert cut.keys == {"attack": "linf_fmn", "eps": None, "predicted": 0}
    assert low <= cut_accuracy(cut["side"], cut["adversarial"]) <= high
    assert cut["adversarial"].mean() == 0.5
    assert cut_attacks(small_guard, clean, [(result, attacked)], per_class=19) == ()
