import copy
import pickle
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import _get_current_function_mode_stack

from advdetect.errors import InputError, ModelError
from advdetect.features.recording import FAMILY, record
from advdetect.vision import torchvision


class Calling(nn.Module):
    """A model whose forward is the function it is given, after a linear map that doubles."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.doubling = nn.Linear(3, 3, bias=False)
        nn.init.eye_(self.doubling.weight)
        with torch.no_grad():
            self.doubling.weight.mul_(2)

    def forward(self, images):
        return self.function(self.doubling(images))


IMAGES = torch.tensor([[1.0, -2.0, 3.0], [-4.0, 5.0, -6.0]])
DOUBLED = torch.tensor([[2.0, -4.0, 6.0], [-8.0, 10.0, -12.0]])

MODULES = [
    nn.ReLU(),
    nn.ReLU(inplace=True),
    nn.ReLU6(),
    nn.ReLU6(inplace=True),
    nn.LeakyReLU(inplace=True),
    nn.PReLU(),
    nn.RReLU(inplace=True).eval(),
    nn.GELU(),
    nn.GELU("tanh"),
    nn.SiLU(inplace=True),
    nn.Hardswish(inplace=True),
    nn.Mish(inplace=True),
    nn.ELU(inplace=True),
    nn.SELU(inplace=True),
    nn.CELU(inplace=True),
    nn.Softplus(),
    nn.Hardtanh(0, 1, inplace=True),
    nn.Threshold(0, 0, inplace=True),
]

FUNCTIONS = [
    ("relu", F.relu),
    ("relu", lambda x: F.relu(x, inplace=True)),
    ("relu", lambda x: F.relu(input=x)),
    ("relu", F.relu_),
    ("relu", torch.relu),
    ("relu", torch.relu_),
    ("relu", lambda x: x.relu()),
    ("relu", lambda x: x.relu_()),
    ("relu", torch.ops.aten.relu),
    ("relu", torch.ops.aten.relu.default),
    ("relu", torch.ops.aten.relu_.default),
    ("relu6", F.relu6),
    ("relu6", lambda x: F.relu6(x, inplace=True)),
    ("hardtanh", lambda x: F.hardtanh(x, 0, 6)),
    ("hardtanh", lambda x: F.hardtanh_(x, min_val=0.0, max_val=6.0)),
    ("leaky_relu", F.leaky_relu),
    ("leaky_relu", lambda x: F.leaky_relu_(x, 0.2)),
    ("prelu", lambda x: torch.prelu(x, torch.tensor([0.25]))),
    ("rrelu", F.rrelu),
    ("elu", F.elu_),
    ("selu", torch.selu),
    ("celu", torch.celu_),
    ("gelu", F.gelu),
    ("silu", lambda x: F.silu(x, inplace=True)),
    ("hardswish", F.hardswish),
    ("mish", F.mish),
    ("softplus", F.softplus),
    ("clamp", lambda x: x.clamp(0)),
    ("clamp", lambda x: x.clamp(min=0.0, max=6.0)),
    ("clamp", lambda x: x.clamp_(min=0)),
    ("clamp", lambda x: torch.clamp(x, min=0)),
    ("clip", lambda x: x.clip(min=0)),
    ("clamp_min", lambda x: torch.clamp_min(x, 0)),
    ("clamp_min", lambda x: x.clamp_min_(0)),
    ("threshold", lambda x: F.threshold(x, 0, 0)),
]


def values(recording):
    return {name: activation.tolist() for name, activation in recording.activations.items()}


@pytest.mark.parametrize("module", MODULES, ids=str)
@pytest.mark.parametrize("gradients", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_sees_a_module_once_and_before_it_acts(module, gradients):
    model = Calling(copy.deepcopy(module))
    with gradients():
        expected = model(IMAGES)
        with record(model) as recording:
            output = model(IMAGES)
    assert values(recording) == {"function": DOUBLED.tolist()}
    assert torch.equal(output, expected)


@pytest.mark.parametrize(("name", "function"), FUNCTIONS)
@pytest.mark.parametrize("gradients", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_sees_a_function_once_and_before_it_acts(name, function, gradients):
    model = Calling(function)
    with gradients():
        expected = model(IMAGES)
        with record(model) as recording:
            output = model(IMAGES)
    assert values(recording) == {name: DOUBLED.tolist()}
    assert torch.equal(output, expected)


def test_every_member_of_the_family_is_tried_above():
    assert {name for name, _ in FUNCTIONS} == set(FAMILY)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.clamp(min=0.1),
        lambda x: x.clamp(max=0),
        lambda x: x.clamp(min=torch.zeros(3)),
        lambda x: F.hardtanh(x),
        lambda x: F.threshold(x, 1, 0),
        lambda x: x.long().clamp(min=0) + x,
        lambda x: x.sum().relu() + x,
        lambda x: torch.sigmoid(x).tanh(),
    ],
)
def test_takes_nothing_else_for_a_layer(function):
    model = Calling(lambda x: F.gelu(function(x)))
    with record(model) as recording:
        model(IMAGES)
    assert recording.layers == ["gelu"]


def test_bits_are_one_where_the_pre_activation_is_positive():
    model = Calling(lambda x: torch.where(x > 9, 0.0, x).relu_())
    with record(model) as recording:
        model(IMAGES)
    expected = [[True, False, True], [False, False, False]]  # 0 itself is not on
    assert recording.bits["relu"].unpack().tolist() == expected
    assert recording.bits["relu"] is recording.bits["relu"]


def test_bits_of_feature_maps_and_of_single_numbers_are_one_row_an_input():
    class Maps(nn.Module):
        def forward(self, images):
            F.relu(images.reshape(2, 1, 1, 3))
            return F.relu(images[:, 0])

    model = Maps()
    with record(model) as recording:
        model(IMAGES)
    bits = {name: codes.unpack().int().tolist() for name, codes in recording.bits.items()}
    assert bits == {"relu": [[1, 0, 1], [0, 1, 0]], "relu:2": [[1], [0]]}


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()
        self.other = nn.Linear(3, 3)

    def forward(self, images):
        return F.relu(self.relu(F.relu(self.other(self.relu(images)))))


def test_names_say_which_module_calls_and_number_its_further_calls():
    model = nn.ModuleDict({"first": Block(), "second": nn.Sequential(nn.ReLU(), Block())})
    model.forward = lambda images: F.gelu(model["second"](model["first"](images)))
    with record(model) as recording:
        model(IMAGES)
        assert recording.layers == [
            "first.relu",  # the module
            "first.relu:2",  # F.relu
            "first.relu:3",
            "first.relu:4",
            "second.0",
            "second.1.relu",
            "second.1.relu:2",
            "second.1.relu:3",
            "second.1.relu:4",
            "gelu",
        ]


def test_a_module_the_model_does_not_register_counts_as_its_caller():
    hidden = nn.ReLU6()
    model = nn.Sequential(Calling(lambda x: hidden(x)))
    with record(model) as recording:
        model(IMAGES)
    assert recording.layers == ["0.hardtanh"]


def test_a_model_that_is_a_relu_itself():
    model = nn.ReLU()
    with record(model) as recording:
        model(IMAGES)
    assert values(recording) == {"relu": IMAGES.tolist()}


@pytest.mark.parametrize("gradients", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_other_names_of_a_tensor_see_the_in_place_change(gradients):
    def function(x):
        same, row = x, x[0]
        F.relu_(x)
        return same + 100 * row

    model = Calling(function)
    with gradients():
        expected = model(IMAGES)
        with record(model) as recording:
            assert torch.equal(model(IMAGES), expected)
    assert expected.tolist() == [[202, 0, 606], [200, 10, 600]]
    assert values(recording) == {"relu": DOUBLED.tolist()}


@pytest.mark.parametrize("gradients", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_a_tensor_changed_after_its_relu_keeps_its_recorded_value(gradients):
    def function(x):
        on = F.relu(x)
        x.add_(1)
        return on + x

    model = Calling(function)
    with gradients(), record(model) as recording:
        output = model(IMAGES)
    assert output.tolist() == [[5, -3, 13], [-7, 21, -11]]
    assert values(recording) == {"relu": DOUBLED.tolist()}


@pytest.mark.parametrize("inplace", [False, True])
def test_activations_can_be_differentiated_by_the_images(inplace):
    model = Calling(nn.Sequential(nn.ReLU(inplace), Calling(nn.ReLU(inplace))))
    images = IMAGES.clone().requires_grad_()
    with record(model) as recording:
        output = model(images)
    first, second = recording.activations.values()
    (by_first,) = torch.autograd.grad((first**2).sum(), images, retain_graph=True)
    (by_second,) = torch.autograd.grad((second**2).sum(), images, retain_graph=True)
    (by_output,) = torch.autograd.grad(output.sum(), images)
    assert torch.equal(by_first, 8 * IMAGES)  # (2 x)^2, also where the unit is off
    assert torch.equal(by_second, 32 * IMAGES.relu())  # (4 x)^2 past a ReLU
    assert torch.equal(by_output, 4.0 * (IMAGES > 0))


@pytest.mark.parametrize("gradients", [torch.no_grad, torch.inference_mode])
def test_activations_hold_no_graph_where_gradients_are_off(gradients):
    model = Calling(F.relu)
    with record(model) as recording, gradients():
        model(IMAGES.clone().requires_grad_())
    assert recording.activations["relu"].grad_fn is None


def test_a_pass_replaces_the_one_before_and_spares_what_was_read_of_it():
    model = Calling(F.relu)
    with record(model) as recording:
        model(IMAGES)
        first, first_bits = recording.activations, recording.bits
        model(-IMAGES)
        assert values(recording) == {"relu": (-DOUBLED).tolist()}
    assert first["relu"].tolist() == DOUBLED.tolist()
    assert not torch.equal(recording.bits["relu"].packed, first_bits["relu"].packed)


def test_a_model_that_calls_itself_makes_one_pass():
    class Twice(nn.Module):
        def forward(self, images):
            if images.ndim == 1:
                return self(images.relu()[None])[0]
            return F.gelu(images)

    model = Twice()
    with record(model) as recording:
        model(IMAGES[0])
    assert values(recording) == {"relu": [1, -2, 3], "gelu": [[1, 0, 3]]}


def test_only_calls_of_the_model_s_own_forward_count():
    model = Calling(F.relu)
    with record(model) as recording:
        F.relu(IMAGES)
        model(IMAGES)
        model.doubling(IMAGES).relu()
        Calling(F.gelu)(IMAGES)
    assert values(recording) == {"relu": DOUBLED.tolist()}


def test_blocks_nest_for_one_model_its_parts_and_others():
    part = Calling(F.relu)
    model, other = nn.Sequential(part, nn.GELU()), Calling(F.silu)
    with record(model) as outer, record(other) as second, record(part) as inner:
        with record(model) as again:
            model(IMAGES)
        other(IMAGES)
    assert (
        values(outer) == values(again) == {"0.relu": DOUBLED.tolist(), "1": DOUBLED.relu().tolist()}
    )
    assert values(inner) == {"relu": DOUBLED.tolist()}
    assert values(second) == {"silu": DOUBLED.tolist()}


def test_a_model_may_record_another_in_its_forward():
    inner = Calling(F.relu)

    def function(x):
        with record(inner) as recording:
            inner(IMAGES)
        return F.gelu(recording.activations["relu"] + x)

    model = Calling(function)
    with record(model) as recording:
        model(IMAGES)
    assert recording.layers == ["relu", "gelu"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_stays_behind_whatever_was_raised(error):
    def function(x):
        raise error

    model = Calling(nn.Sequential(nn.ReLU(), Calling(function)))
    with pytest.raises(error), record(model):
        model(IMAGES)
    assert_untouched(model)
    with pytest.raises(error), record(model):
        raise error
    assert_untouched(model)


def assert_untouched(model):
    assert _get_current_function_mode_stack() == []
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._forward_hooks_always_called


def test_a_failed_pass_is_not_read_and_the_next_one_is():
    model = nn.Sequential(nn.ReLU(), nn.Linear(3, 3), nn.ReLU())
    with record(model) as recording:
        model(IMAGES)
        with pytest.raises(RuntimeError):
            model(torch.ones(2, 4))
        with pytest.raises(ModelError, match="no forward pass of the recorded model has finished"):
            recording.activations  # noqa: B018
        model(IMAGES)
    assert recording.layers == ["0", "2"]


def test_the_model_can_be_copied_and_pickled_afterwards():
    model = Block()
    with record(model):
        expected = model(IMAGES)
    assert torch.equal(copy.deepcopy(model)(IMAGES), expected)
    assert torch.equal(pickle.loads(pickle.dumps(model))(IMAGES), expected)


def test_layers_are_chosen_by_name_or_pattern():
    model = nn.Sequential(Block(), Block())
    with record(model, ["1.relu", "0.relu:?"]) as recording:
        model(IMAGES)
    assert recording.layers == ["0.relu:2", "0.relu:3", "0.relu:4", "1.relu"]
    assert [*recording.bits] == recording.layers


def test_a_layer_that_the_model_lacks_is_named_beside_those_it_has():
    model = nn.Sequential(nn.ReLU(), nn.GELU())
    with record(model, ["1", "fc*"]) as recording:
        model(IMAGES)
    with pytest.raises(InputError, match=r"no layer fits 'fc\*', the model has: 0, 1"):
        recording.layers  # noqa: B018


def test_a_part_is_kept_where_asked_and_copied_where_it_is_a_view():
    model = Calling(nn.ReLU(inplace=True))
    chosen = torch.tensor([2, 0])
    for keep in (lambda name, x: x[:, chosen], lambda name, x: x[:, [2, 0]]):
        with record(model, keep=keep) as recording:
            model(IMAGES)
        assert values(recording) == {"function": [[6, 2], [-12, -8]]}
        assert recording.bits["function"].unpack().tolist() == [[True, True], [False, False]]
    with record(model, keep=lambda name, x: x[:, :1]) as recording:
        model(IMAGES)
    assert values(recording) == {"function": [[2], [-8]]}


def test_a_string_is_no_sequence_of_layers():
    with (
        pytest.raises(
            InputError, match=r"expected a sequence of layers, got a string: use \['r'\]"
        ),
        record(nn.ReLU(), "r"),
    ):
        pass


def test_only_a_module_can_be_recorded():
    with pytest.raises(InputError, match="expected a torch.nn.Module to record, got function"):
        record(F.relu).__enter__()


def test_nothing_can_be_read_before_a_pass():
    model = nn.ReLU()
    with record(model) as recording:
        model.forward(IMAGES)
        with pytest.raises(ModelError, match=r"call model\(images\), not model.forward, inside"):
            recording.bits  # noqa: B018


def test_a_model_without_a_relu_is_told_so():
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    with record(model) as recording:
        model(IMAGES)
    message = "has no ReLU-family call, saw none in a forward pass: expected relu, relu6, .*Python"
    with pytest.raises(ModelError, match=message):
        recording.activations  # noqa: B018


def test_scripted_models_are_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted, traced = torch.jit.script(nn.ReLU()), torch.jit.trace(nn.ReLU(), IMAGES)
    for module in (scripted, traced):
        with pytest.raises(
            ModelError, match="TorchScript, the model is a .*: record the nn.Module"
        ):
            record(module).__enter__()
        with pytest.raises(ModelError, match="TorchScript, its module 0.1 is a "):
            record(nn.Sequential(nn.Sequential(nn.ReLU(), module))).__enter__()


def test_compiled_models_are_refused():
    compiled, called = torch.compile(nn.ReLU(), backend="eager"), nn.ReLU()
    called.compile(backend="eager")
    with pytest.raises(ModelError, match="the model is a OptimizedModule: .* model._orig_mod"):
        record(compiled).__enter__()
    with pytest.raises(ModelError, match="compiled model, its module 0 is a OptimizedModule"):
        record(nn.Sequential(compiled)).__enter__()
    with pytest.raises(ModelError, match=r"its module 0 has had its compile\(\) called: record"):
        record(nn.Sequential(called)).__enter__()
    assert_untouched(called)
    with record(compiled._orig_mod) as recording:
        compiled._orig_mod(IMAGES)
    assert recording.layers == ["relu"]


def test_fused_transformer_layers_show_their_relu():
    generator = torch.Generator().manual_seed(0)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()
    words = torch.randn(2, 5, 8, generator=generator)
    with torch.no_grad():
        expected = model(words)
        with record(model) as recording:
            output = model(words)
    shapes = {name: tuple(kept.shape) for name, kept in recording.activations.items()}
    assert shapes == {"layers.0.relu": (2, 5, 16), "layers.1.relu": (2, 5, 16)}
    torch.testing.assert_close(output, expected)


@pytest.mark.parametrize(
    ("name", "arguments", "size", "count", "first", "last"),
    [
        ("resnet18", {}, 64, 17, "relu", "layer4.1.relu:2"),
        ("vgg11_bn", {}, 64, 10, "features.2", "classifier.4"),
        ("mobilenet_v2", {}, 64, 35, "features.0.2", "features.18.2"),
        ("convnext_tiny", {}, 64, 18, "features.1.0.block.4", "features.7.2.block.4"),
        (
            "vit_b_16",
            {"image_size": 32},
            32,
            12,
            "encoder.layers.encoder_layer_0.mlp.1",
            "encoder.layers.encoder_layer_11.mlp.1",
        ),
    ],
)
def test_counts_of_known_networks(name, arguments, size, count, first, last):
    model = torchvision().models.get_model(name, weights=None, **arguments).eval()
    with torch.no_grad(), record(model, keep=lambda name, x: x.flatten(1)[:, :8]) as recording:
        model(torch.zeros(2, 3, size, size))
    layers = recording.layers
    assert (len(layers), layers[0], layers[-1]) == (count, first, last)


def test_a_relu_shared_by_a_whole_network_is_many_layers():
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0").eval()
    with torch.no_grad(), record(model) as recording:
        model(torch.zeros(2, 3, 64, 64))
    assert len(recording.layers) == 33  # the stem, 16 depthwise, 15 expansions, the head


class Calls(nn.Module):
    """One call on its input."""

    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, x):
        return self.call(x + 0)


def halves():
    prelu = nn.PReLU(init=0.5).double()
    return prelu.requires_grad_(False)


@pytest.mark.parametrize("sharpness", [1.0, 4.0])
@pytest.mark.parametrize(
    ("call", "top", "below"),
    [
        (nn.ReLU(), torch.inf, 0),
        (nn.ReLU(inplace=True), torch.inf, 0),
        (F.relu_, torch.inf, 0),
        (nn.ReLU6(), 6, 0),
        (lambda x: x.clamp(min=0, max=2), 2, 0),
        (nn.LeakyReLU(0.1), torch.inf, 0.1),
        (lambda x: F.leaky_relu(x, 0.25, inplace=True), torch.inf, 0.25),
        (halves(), torch.inf, 0.5),
    ],
)
def test_a_smooth_slope_leaves_outputs_and_can_be_differentiated_twice(call, top, below, sharpness):
    z = torch.tensor([[-3.0, -0.1, 0.2, 1.0, 9.0]], dtype=torch.float64, requires_grad=True)
    model = Calls(call)
    with record(model, sharpness=sharpness) as recording:
        out = model(z)
    torch.testing.assert_close(out, torch.where(z < 0, below * z, z.clamp(max=top)), rtol=0, atol=0)
    torch.testing.assert_close(*(t.detach() for t in (*recording.activations.values(), z)))
    steepness = sharpness / z.detach().abs().mean()
    (slope,) = torch.autograd.grad(out.sum(), z, create_graph=True)
    on = torch.sigmoid(steepness * z.detach())
    whole = z.detach() <= top
    torch.testing.assert_close(slope.detach(), (below + (1 - below) * on) * whole)
    (bend,) = torch.autograd.grad(slope.sum(), z)
    torch.testing.assert_close(bend, steepness * (1 - below) * on * (1 - on) * whole)


def add_one_to_what_came_out(x):
    y = F.relu(x, inplace=True)
    y += 1
    return x


def give_back_what_went_in(x):
    x.relu_()
    return x


@pytest.mark.parametrize(
    ("call", "then"), [(add_one_to_what_came_out, 1), (give_back_what_went_in, 0)]
)
def test_a_smooth_slope_knows_in_place_calls_by_either_name(call, then):
    z = torch.tensor([[-2.0, 2.0]], requires_grad=True)
    model = Calls(call)
    with record(model, sharpness=1.0):
        out = model(z)
    assert out.tolist() == [[then, 2 + then]]
    (slope,) = torch.autograd.grad(out.sum(), z)
    torch.testing.assert_close(slope, torch.sigmoid(z.detach() / 2))


@pytest.mark.parametrize("sharpness", [0, -1.0, float("inf"), float("nan")])
def test_a_sharpness_is_above_0(sharpness):
    with (
        pytest.raises(InputError, match=f"sharpness must be a number above 0, got {sharpness}"),
        record(nn.ReLU(), sharpness=sharpness),
    ):
        pass


def test_without_a_sharpness_the_slope_is_a_step():
    z = torch.tensor([[-1.0, 2.0]], requires_grad=True)
    model = Calls(nn.ReLU())
    with record(model):
        out = model(z)
    (slope,) = torch.autograd.grad(out.sum(), z)
    assert slope.tolist() == [[0, 1]]


def test_threads_do_not_see_each_other():
    """Each waits in the middle of its pass until the other is there, too."""
    both = threading.Barrier(2, timeout=30)

    def forward(doubled):
        first = F.relu(doubled)
        both.wait()
        return F.relu(first - 3)

    model = Calling(forward)

    def recorded(images):
        with record(model) as recording:
            model(images)
        return list(recording.activations.values())

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(recorded, [IMAGES, -IMAGES]))
    for sign, activations in zip((1, -1), found, strict=True):
        first, second = activations
        torch.testing.assert_close(first, sign * DOUBLED)
        torch.testing.assert_close(second, first.relu() - 3)
