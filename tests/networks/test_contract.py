"""What every network of the table owes its callers, and the shape of each."""

import pytest
import torch
from torch import nn

from advdetect.features import record
from advdetect.networks import NETWORKS, build

MEAN, STD = (0.3, 0.5, 0.6), (0.2, 0.25, 0.3)
DEPTHS = {"resnet": "blocks", "pooled-resnet": None, "tiny-10": None, "vgg": "convolutions"}
SMALL = dict.fromkeys(DEPTHS, {"width": 4}) | {"pooled-resnet": {"stem": 4, "widths": (4, 8, 8)}}
STAGED = [name for name, depth in DEPTHS.items() if depth]


def make(name, mean=MEAN, std=STD, **arguments):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return NETWORKS[name](mean, std, **(SMALL[name] | arguments)).eval()


def pixels(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def test_every_network_is_tested_here():
    assert set(DEPTHS) == set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 19, 23)])
def test_any_size_and_number_of_channels_gives_logits(name, shape):
    channels = shape[0]
    network = make(name, MEAN[:channels], STD[:channels], classes=7)
    assert network(pixels(5, *shape)).shape == (5, 7)


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_do_not_depend_on_their_batch(name):
    network, images = make(name), pixels(4, 3, 16, 16)
    alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(network(images), alone)


@pytest.mark.parametrize("name", NETWORKS)
def test_normalisation_is_inside(name):
    # Fed pixels, it answers as a network without normalisation fed normalised pixels.
    network = make(name)
    bare = make(name, mean=(0, 0, 0), std=(1, 1, 1))
    weights = {
        key: tensor
        for key, tensor in network.state_dict().items()
        if not key.startswith("normalize.")
    }
    missing, unexpected = bare.load_state_dict(weights, strict=False)
    assert (missing, unexpected) == (["normalize.mean", "normalize.std"], [])
    images = pixels(2, 3, 16, 16)
    normal = (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(network(images), bare(normal))


@pytest.mark.parametrize(
    ("name", "depth", "calls"),
    [
        ("resnet", (1, 1, 1), 7),  # the stem, and two in each block
        ("resnet", (2, 1), 7),
        ("resnet", (1, 3, 2, 1), 15),
        ("vgg", (2, 2, 3), 7),
        ("vgg", (1, 1), 2),
        ("tiny-10", None, 8),
        ("pooled-resnet", None, 10),  # the stem, and three in each stage
    ],
)
def test_every_relu_is_a_layer_of_its_own(name, depth, calls):
    network = make(name, **({DEPTHS[name]: depth} if depth else {}))
    with record(network) as recording:
        network(pixels(2, 3, 16, 16))
    paths = {path for path, module in network.named_modules() if isinstance(module, nn.ReLU)}
    assert len(recording.layers) == calls
    assert set(recording.layers) == paths


@pytest.mark.parametrize("name", STAGED)
def test_stages_halve_the_picture_and_double_the_width(name):
    network = make(name, **{DEPTHS[name]: (1, 1, 1)})
    with record(network) as recording:
        network(pixels(1, 3, 16, 16))
    sizes = list(dict.fromkeys(tuple(x.shape[1:]) for x in recording.activations.values()))
    assert sizes == [(4, 16, 16), (8, 8, 8), (16, 4, 4)]


def test_tiny_10_has_the_layers_of_its_source():
    network = make("tiny-10", width=16)
    with record(network) as recording:
        network(pixels(1, 3, 32, 32))
    sizes = [tuple(x.shape[1:]) for x in recording.activations.values()]
    wide, middle = [(16, 32, 32)] * 2, [(32, 16, 16)] * 3
    assert sizes == [*wide, *middle, (64, 8, 8), (64, 6, 6), (64, 6, 6)]


def test_pooling_halves_the_picture_at_the_head_of_each_stage():
    network = make("pooled-resnet")
    with record(network) as recording:
        network(pixels(1, 3, 16, 16))
    sizes = [tuple(x.shape[1:]) for x in recording.activations.values()]
    assert sizes == [(4, 16, 16)] + [(4, 8, 8)] * 3 + [(8, 4, 4)] * 3 + [(8, 2, 2)] * 3


def test_the_strongest_place_of_a_channel_is_what_the_classifier_sees():
    network = make("pooled-resnet")
    seen = []
    network.stages.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    logits = network(pixels(2, 3, 16, 16))
    strongest = seen[0].flatten(2).max(dim=2).values
    torch.testing.assert_close(logits, network.classifier(strongest) / 8)


def test_a_block_adds_what_it_was_given():
    # With its second BatchNorm at zero a block of one width is the identity behind a ReLU.
    network = make("resnet", blocks=(2,))
    block = network.stages[0][1]
    assert isinstance(block.shortcut, nn.Identity)
    nn.init.zeros_(block.conv2[1].weight)
    x = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(2))
    assert torch.equal(block(x), x.relu())


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_reach_the_pixels(name):
    images = pixels(2, 3, 16, 16).requires_grad_()
    make(name)(images).sum().backward()
    assert images.grad.abs().amax(dim=(1, 2, 3)).min() > 0


def test_resnet_and_vgg_have_about_the_same_size():
    sizes = [sum(p.numel() for p in NETWORKS[name]([0.5], [0.5]).parameters()) for name in STAGED]
    assert max(sizes) / min(sizes) < 2


@pytest.mark.parametrize("name", NETWORKS)
def test_is_built_from_what_a_card_says(name):
    architecture = {
        "kind": "network",
        "name": name,
        "arguments": {"mean": [0.5], "std": [0.5], "classes": 3} | SMALL[name],
    }
    assert build(architecture)(pixels(2, 1, 16, 16)).shape == (2, 3)
