import pytest
import torch
from torch import nn

from advdetect.attacks import Budget, attack_chunk
from advdetect.attacks.freezing import channels_last, frozen

IMAGES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Viewing(nn.Module):
    """Flattens with ``view``, which takes features with channels first alone."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.classifier = nn.Linear(144, 3)

    def forward(self, images):
        return self.classifier(self.conv(images).relu().view(len(images), -1))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


def layout(model):
    return [p.stride() for p in model.parameters()]


def test_convolutions_have_their_channels_last_inside_and_as_before_afterwards():
    model = network()
    before, logits = layout(model), model(IMAGES)
    with frozen(model), channels_last(model, IMAGES):
        assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(model(IMAGES), logits)
    assert layout(model) == before
    assert torch.equal(model(IMAGES), logits)


def test_it_is_as_before_after_an_error_too():
    model = network()
    before = layout(model)
    with pytest.raises(ZeroDivisionError), channels_last(model, IMAGES):
        raise ZeroDivisionError
    assert layout(model) == before


def test_it_is_as_before_where_the_model_itself_fails():
    model = nn.Sequential(network(), Fails())
    before = layout(model)
    with pytest.raises(KeyError), channels_last(model, IMAGES):
        pass
    assert layout(model) == before


class Fails(nn.Module):
    def forward(self, images):
        raise KeyError("nothing here")


def test_a_model_that_views_its_features_stays_as_it_is():
    model = Viewing()
    before = layout(model)
    with channels_last(model, IMAGES):
        assert layout(model) == before
        model(IMAGES)


def test_a_model_that_views_its_features_is_attacked_all_the_same():
    model = Viewing()
    labels = model(IMAGES).argmax(1)
    chunk = attack_chunk(model, IMAGES, labels, Budget("linf_pgd", 0.5), seed=0)
    assert chunk.success.any()


def test_trying_it_draws_no_random_numbers():
    model = nn.Sequential(network(), nn.Softmax(1))
    model.register_forward_hook(lambda *_: torch.rand(1))
    state = torch.get_rng_state()
    with channels_last(model, IMAGES):
        pass
    assert torch.equal(torch.get_rng_state(), state)


def test_parameters_need_no_gradient_while_frozen():
    model = network().train()
    model[0].bias.requires_grad_(False)
    with frozen(model):
        assert not any(p.requires_grad for p in model.parameters())
        assert not model.training
    assert model.training
    assert [p.requires_grad for p in model.parameters()] == [True, False, True, True]
