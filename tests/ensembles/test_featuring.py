"""What a penalty looks at: against layers taken out by hand."""

import pytest
import torch
from torch import nn

from advdetect.ensembles.featuring import find_layers, logits_and_features
from advdetect.errors import InputError, ModelError
from advdetect.features import record
from advdetect.networks import load_model


@pytest.fixture
def model(small_model):
    return load_model(str(small_model)).module


@pytest.fixture
def images(digits):
    return digits["evaluation"].images[:5]


class Functional(nn.Module):
    """Two linear layers, of which the one defined last runs first."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 2)
        self.body = nn.Linear(64, 3)

    def forward(self, images):
        return self.head(torch.relu(self.body(images.flatten(1))))


class Explosive(nn.Module):
    def __init__(self, *, explodes=True):
        super().__init__()
        self.first = nn.Linear(64, 3)
        self.explodes = explodes

    def forward(self, images):
        x = torch.relu(self.first(images.flatten(1)))
        if self.explodes:
            raise ZeroDivisionError("a bug of the network's own")
        return x


def hooks(model):
    return [
        hook
        for module in model.modules()
        for table in (module._forward_pre_hooks, module._forward_hooks)
        for hook in table.values()
    ]


def test_penultimate_features_are_means_over_pixels_of_the_last_relu(model, images):
    with record(model) as recording:
        expected = model(images)
    last = recording.activations["stages.1.0.relu2"].relu().mean((2, 3))
    logits, (found,) = logits_and_features(model, images, ["penultimate"])
    torch.testing.assert_close(found, last)
    torch.testing.assert_close(logits, expected)
    by_hand = found @ model.classifier.weight.T + model.classifier.bias
    torch.testing.assert_close(by_hand, logits)


def test_the_last_linear_layer_is_the_one_that_runs_last(images):
    model = Functional()
    _, (found,) = logits_and_features(model, images, ["penultimate"])
    torch.testing.assert_close(found, model.body(images.flatten(1)).relu())


def test_a_layer_is_what_goes_into_its_relu(model, images):
    layers = ["penultimate", "relu", "stages.1.0.relu2"]
    _, (penultimate, first, last) = logits_and_features(model, images, layers)
    torch.testing.assert_close(first, model.stem(model.normalize(images)).flatten(1))
    assert (last < 0).any()  # before the ReLU
    torch.testing.assert_close(last.relu().view(5, 8, 16).mean(2), penultimate)


def test_features_are_float32_whatever_the_network_computes_in(model, images):
    _, found = logits_and_features(model.double(), images.double(), ["penultimate", "relu"])
    assert [features.dtype for features in found] == 2 * [torch.float32]


def test_gradients_reach_the_network_through_its_features(model, images):
    _, (features,) = logits_and_features(model, images, ["penultimate"])
    features.sum().backward()
    assert model.stem[0].weight.grad.abs().sum() > 0
    assert model.classifier.weight.grad is None  # behind the features


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], ()),
        (["penultimate"], ("penultimate",)),
        (["last"], ("stages.1.0.relu2",)),
        (["relu"], ("relu",)),
        (["stages.*.relu2"], ("stages.0.0.relu2", "stages.1.0.relu2")),
        (["last", "stages.1.*", "penultimate"], None),
    ],
)
def test_entries_are_names_patterns_or_places(model, images, entries, expected):
    if expected is None:  # none twice, in the order of the entries
        expected = ("stages.1.0.relu2", "stages.1.0.relu1", "penultimate")
    assert find_layers(model, images, entries) == expected


def test_an_unknown_layer_lists_what_there_is(model, images):
    message = "no layer fits 'conv9', choose from: penultimate, last, relu, stages.0.0.relu1, "
    with pytest.raises(InputError, match=message):
        find_layers(model, images, ["relu", "conv9"])


def test_a_network_without_a_linear_layer_has_no_penultimate_features(images):
    model = nn.Sequential(nn.Conv2d(1, 10, 8), nn.ReLU(), nn.Flatten())
    message = "no linear layer runs in Sequential, so it has no penultimate features: name rec"
    with pytest.raises(ModelError, match=message):
        find_layers(model, images, ["penultimate"])
    with pytest.raises(ModelError, match=message):
        logits_and_features(model, images, ["penultimate"])
    assert find_layers(model, images, ["last"]) == ("1",)


def test_a_network_without_relu_still_has_penultimate_features(images):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Tanh(), nn.Linear(4, 2))
    assert find_layers(model, images, ["penultimate"]) == ("penultimate",)
    with pytest.raises(ModelError, match="the model has no ReLU-family call"):
        find_layers(model, images, ["last"])


def test_nothing_stays_on_the_network(model, images):
    before = len(hooks(model))
    find_layers(model, images, ["penultimate", "last"])
    logits_and_features(model, images, ["penultimate", "relu"])
    assert len(hooks(model)) == before == 0


@pytest.mark.parametrize("layers", [["penultimate"], ["penultimate", "relu"]])
def test_nothing_stays_on_the_network_after_an_exception(images, layers):
    model = Explosive()
    for call in (find_layers, logits_and_features):
        with pytest.raises(ZeroDivisionError, match="a bug of the network's own"):
            call(model, images, layers)
        assert hooks(model) == []
        assert model.training


def test_looking_for_layers_changes_no_mode_and_no_statistics(model, images):
    model.train()
    model.stem.eval()  # frozen by its owner
    modes = [module.training for module in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    find_layers(model, images, ["penultimate"])
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
