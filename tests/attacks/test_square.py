"""Square attack: shapes by hand, no gradients, and every picture with squares of its own."""

import pytest
import torch
from torch import nn

from advdetect.attacks import Budget, attack_chunk
from advdetect.attacks.searching import Hold
from advdetect.attacks.square import L2Square, LinfSquare, bumps, side_length


class Seen(nn.Module):
    """A classifier of two classes, always right, that keeps what it is shown."""

    def __init__(self):
        super().__init__()
        self.shown = []

    def forward(self, images):
        self.shown.append(images.detach().clone())
        score = images.flatten(1).mean(1)
        return torch.stack([score + 10, score * 0], 1)


def shown(attack, images, eps):
    model = Seen()
    labels = torch.zeros(len(images), dtype=torch.int64)
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(0)
        attack.search(Hold(model, images, labels, eps))
    return model.shown


@pytest.mark.parametrize(
    ("done", "side"), [(0.0, 25), (0.0015, 18), (0.03, 9), (0.3, 3), (0.9, 1), (1.0, 1)]
)
def test_squares_shrink_as_queries_go(done, side):
    # 0.8 of 28 x 28 is 25 x 25; halved in area 1, 3, 6 and 9 times.
    assert side_length(0.8, done, (28, 28)) == side


def test_a_square_is_never_larger_than_the_picture():
    assert side_length(1.0, 0.0, (3, 9)) == 3


def test_the_two_bumps_by_hand():
    # Equation 2 for a square of 3: n = 1, and the middle has 1/4 + 1, what is around it 1/4;
    # one column is positive, two are negative.
    ring, peak = 1 / 4, 1 / 4 + 1
    expected = torch.tensor([[ring, -ring, -ring], [peak, -ring, -peak], [ring, -ring, -ring]])
    assert bumps(3).shape == (3, 3)
    assert bumps(3).norm().item() == pytest.approx(1)
    assert (bumps(3)[:, 0] > 0).all()
    assert (bumps(3)[:, 1:] < 0).all()
    ratio = (bumps(3)[1, 0] / bumps(3)[0, 0]).item()
    assert ratio == pytest.approx(expected[1, 0].item() / expected[0, 0].item())
    assert bumps(1).tolist() == [[-1.0]]


def test_linf_starts_with_stripes_and_changes_one_square_of_each_picture():
    images = torch.full((4, 2, 8, 8), 0.5)
    first, *later = shown(LinfSquare(queries=200), images, 0.1)
    assert torch.equal(first, first[:, :, :1].expand_as(first))  # vertical stripes
    best = first
    for tried in later:
        changed = (tried != best).any(1)
        for picture in changed:
            down, across = picture.any(1).nonzero(), picture.any(0).nonzero()
            assert len(down)  # no query is wasted on a square that is there already
            height, width = (int(i.max() - i.min()) + 1 for i in (down, across))
            assert picture.sum() <= height * width
        torch.testing.assert_close((tried - images).abs(), torch.full_like(images, 0.1))
        better = tried.flatten(1).mean(1) < best.flatten(1).mean(1)
        best = torch.where(better.view(-1, 1, 1, 1), tried, best)
    assert best.flatten(1).mean(1).tolist() == pytest.approx([0.4] * 4, abs=0.04)


def test_every_picture_has_squares_of_its_own():
    images = torch.full((5, 1, 8, 8), 0.5)
    for attack in (LinfSquare(queries=20), L2Square(queries=20)):
        last = shown(attack, images, 0.1)[-1]
        assert len({tuple(picture.flatten().tolist()) for picture in last}) == 5


def test_l2_uses_its_whole_budget_and_no_more():
    generator = torch.Generator().manual_seed(0)
    images = 0.4 + 0.2 * torch.rand(4, 3, 10, 10, generator=generator)
    for tried in shown(L2Square(queries=100), images, 0.5):
        sizes = (tried - images).flatten(1).norm(dim=1)
        assert sizes.max() <= 0.5 * (1 + 1e-5)
        assert sizes.min() >= 0.95 * 0.5  # a high bump may meet the end of the range


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("eps", [0.3, 50.0])
def test_stays_in_the_budget_and_the_pixels(norm, eps):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 1, 7, 5, generator=generator).round()
    attack = LinfSquare(queries=60) if norm == "linf" else L2Square(queries=60)
    order = {"linf": torch.inf, "l2": 2}[norm]
    for tried in shown(attack, images, eps):
        assert tried.min() >= 0
        assert tried.max() <= 1
        assert (
            torch.linalg.vector_norm((tried - images).flatten(1), order, dim=1).max() <= eps + 1e-5
        )


@pytest.mark.parametrize("name", ["linf_square", "l2_square"])
def test_takes_no_gradients_and_lets_go_of_what_is_broken(name, known):
    class NoGradient(nn.Module):
        def forward(self, images):
            return known.model(images).detach()

    far = known.distance[name.split("_")[0]].max().item() * 2
    chunk = attack_chunk(NoGradient(), known.images, known.labels, Budget(name, far), seed=0)
    assert chunk.success.all()
    assert chunk.backwards == 0
    assert chunk.forwards < 100
    near = known.distance[name.split("_")[0]].min().item() / 2
    chunk = attack_chunk(NoGradient(), known.images, known.labels, Budget(name, near), seed=0)
    assert not chunk.success.any()
    assert chunk.forwards == 401  # 400 queries, and Foolbox's look at what came of them
