"""The loop: what each setting does to members that train within a second or two."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from advdetect import storage
from advdetect.ensembles import ADVERSARIES, Trainer, TrainingConfig, training
from advdetect.ensembles.featuring import logits_and_features
from advdetect.ensembles.penalties import dcor, partial_dcor, unbiased_dcor
from advdetect.ensembles.training import one_cycle
from advdetect.errors import FileError, InputError, ModelError
from advdetect.networks import build, load_model
from tests.conftest import ARCHITECTURE
from tests.ensembles import tiny_networks

CONFIG = TrainingConfig(
    members=2,
    epochs=2,
    batch=100,
    learning_rate=0.05,
    shift=1,
    mirror=False,
)


class StoppedError(Exception):
    """In the middle of a training."""


def run_one_epoch(training, file):
    """Train until the second epoch has begun."""

    def interrupt(step):
        if step.epoch == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        training.run(file, interrupt)


def ignore(step):
    """For trainings that nobody watches."""


def networks(make, count, seed=0):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return [make() for _ in range(count)]


def trainer(config, images, make=tiny_networks.plain, **options):
    members = networks(make, config.members)
    return Trainer(config, members, images.images, images.labels, **options)


@pytest.fixture
def some(digits):
    return digits["reference"].subset(range(300))


@pytest.fixture
def train(digits, tmp_path):
    """``train(config, make)``: train from the same start, and return the ensemble."""

    def run(config, make=tiny_networks.plain, images=digits["reference"], **options):
        (tmp_path / "checkpoint").unlink(missing_ok=True)
        return trainer(config, images, make, **options).run(tmp_path / "checkpoint", ignore)

    return run


def weights(ensemble):
    return storage.fingerprint(ensemble.state_dict())


def penultimate(ensemble, images):
    with torch.no_grad():
        return [
            logits_and_features(member, images, ["penultimate"])[1][0]
            for member in ensemble.members
        ]


def accuracy(model, images, labels):
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


def small_resnet():
    return build(ARCHITECTURE)


# BatchNorm's statistics, momenta, pictures and examples: all of it goes into the next epoch.
@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (small_resnet, {"penalty": "unbiased-dcor", "shift": 2, "mirror": True, "noise": 0.1}),
        (tiny_networks.plain, {"adversarial": "fgsm", "clean_share": 0.3}),
        (tiny_networks.dropping, {}),
        (small_resnet, {"optimizer": "muon", "ema": 0.8}),
    ],
)
def test_an_interrupted_training_ends_with_the_same_weights(some, tmp_path, make, changes):
    config = replace(CONFIG, epochs=3, **changes)
    expected = weights(trainer(config, some, make).run(tmp_path / "one", ignore))
    file = tmp_path / "two"
    run_one_epoch(trainer(config, some, make), file)
    torch.rand(7)  # whatever else draws from the global generator
    seen = []
    # Other initial weights: all that counts is in the checkpoint.
    again = Trainer(config, networks(make, 2, seed=9), some.images, some.labels)
    found = again.run(file, seen.append)
    assert weights(found) == expected
    assert [(step.epoch, step.step) for step in seen] == [(e, s) for e in (2, 3) for s in (1, 2, 3)]


def test_a_finished_training_does_nothing_more(some, tmp_path):
    seen = []
    first = trainer(CONFIG, some).run(tmp_path / "file", ignore)
    again = trainer(CONFIG, some).run(tmp_path / "file", seen.append)
    assert seen == []
    assert weights(again) == weights(first)
    assert not again.training


def test_a_seed_decides_what_comes_out(some, train):
    first = weights(train(CONFIG, images=some))
    assert weights(train(CONFIG, images=some)) == first
    assert weights(train(replace(CONFIG, seed=1), images=some)) != first


def test_steps_tell_what_was_learned(some, tmp_path):
    seen = []
    config = replace(CONFIG, penalty="dcor", epochs=1)
    trainer(config, some).run(tmp_path / "file", seen.append)
    assert [step.steps for step in seen] == [3, 3, 3]
    first = seen[0]
    # Untrained members: the logarithm of ten classes, and one in ten is right.
    assert first.losses == pytest.approx((2.3, 2.3), abs=0.15)
    assert all(0 <= share <= 0.4 for share in first.accuracies)
    assert len(first.penalties) == 2
    assert first.penalties[0] == first.penalties[1]  # of one pair
    assert 0.1 < first.penalties[0] <= 1


def test_one_step_by_hand(some, tmp_path):
    # A single step at the start of the cycle, a twentieth of the peak: Nesterov's first step is
    # 1.9 gradients long.
    config = replace(CONFIG, members=1, epochs=1, batch=300, shift=0, weight_decay=0.01)
    (before,) = networks(tiny_networks.plain, 1)
    loss = torch.nn.functional.cross_entropy(before(some.images), some.labels)
    parameters = list(before.parameters())
    gradients = torch.autograd.grad(loss, parameters)
    seen = []
    found = trainer(config, some).run(tmp_path / "file", seen.append)
    assert seen[0].losses[0] == pytest.approx(loss.item(), rel=1e-5)
    for after, old, gradient in zip(found.parameters(), parameters, gradients, strict=True):
        expected = old - 0.05 * 0.05 * 1.9 * (gradient + 0.01 * old)
        torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-6)


def test_training_ends_with_the_average_of_its_weights(some, tmp_path):
    config = replace(CONFIG, members=1, ema=0.8)
    learning = trainer(config, some, small_resnet)
    averages = []

    def average(_step):
        now = [t.double().clone() for t in learning.ensemble.state_dict().values()]
        before = averages[-1] if averages else now
        averages.append([0.8 * a + 0.2 * b for a, b in zip(before, now, strict=True)])

    found = learning.run(tmp_path / "file", average)
    assert len(averages) == 6
    for (name, ended), expected in zip(found.state_dict().items(), averages[-1], strict=True):
        if ended.is_floating_point():  # not the count of batches
            torch.testing.assert_close(ended.double(), expected, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("warm_up", [0.25, 0.1])
def test_the_learning_rate_goes_up_and_down_once(warm_up):
    assert one_cycle(0, warm_up) == pytest.approx(0.05)
    assert one_cycle(warm_up / 2, warm_up) == pytest.approx(0.525)
    assert one_cycle(warm_up, warm_up) == pytest.approx(1)
    assert one_cycle((warm_up + 1) / 2, warm_up) == pytest.approx(0.5)
    assert one_cycle(1, warm_up) == pytest.approx(0)


def test_without_a_warm_up_the_rate_only_falls():
    assert [one_cycle(share, 0) for share in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])


def test_the_first_step_is_as_long_as_the_warm_up_says(some, tmp_path):
    # From the peak down where there is none, from a twentieth of it up where there is one.
    def moved(warm_up):
        config = replace(CONFIG, members=1, epochs=1, batch=300, shift=0, warm_up=warm_up)
        found = trainer(config, some).run(tmp_path / f"{warm_up}", ignore)
        (before,) = networks(tiny_networks.plain, 1)
        return [
            (after - old).detach()
            for after, old in zip(found.parameters(), before.parameters(), strict=True)
        ]

    for long, short in zip(moved(0.0), moved(0.5), strict=True):
        torch.testing.assert_close(0.05 * long, short, rtol=1e-3, atol=1e-6)


def test_pictures_are_mirrored_in_every_other_epoch(some, tmp_path, monkeypatch):
    # Told apart by one bright column that mirroring moves from the left to the right.
    images = torch.zeros_like(some.images)
    images[:, :, :, 0] = torch.linspace(0.1, 1, len(images)).view(-1, 1, 1)
    seen = []
    original = training.augment

    def watched(given, generator, **options):
        changed = original(given, generator, **options)
        seen.append((given.amax((1, 2, 3)), changed[:, 0, 0, 0] == 0))
        return changed

    monkeypatch.setattr(training, "augment", watched)
    config = replace(CONFIG, members=1, epochs=4, batch=100, shift=0, mirror=True, alternate=True)
    trainer(config, replace(some, images=images)).run(tmp_path / "file", ignore)
    steps = len(images) // 100
    epochs = []
    for epoch in range(4):
        part = seen[epoch * steps : (epoch + 1) * steps]
        which, turned = (torch.cat(parts) for parts in zip(*part, strict=True))
        epochs.append(turned[which.argsort()])
    first, second, third, fourth = epochs
    assert torch.equal(first, ~second)
    assert torch.equal(first, third)
    assert torch.equal(second, fourth)
    assert 0.4 < first.float().mean() < 0.6


@pytest.mark.parametrize("penalty", ["unbiased-dcor", "cka", "partial-dcor"])
def test_a_penalty_makes_members_less_alike(digits, train, penalty):
    config = replace(CONFIG, epochs=12, batch=50, penalty=penalty)
    images = digits["evaluation"].images[:300]
    alone, together = (
        penultimate(train(replace(config, weight=weight)), images) for weight in (0.0, 3.0)
    )
    labels = torch.zeros(300, 1)
    assert unbiased_dcor(*alone, labels) > 0.5
    assert unbiased_dcor(*together, labels) < 0.3


def test_a_penalty_of_no_weight_changes_nothing(some, train):
    without = train(CONFIG, images=some)
    found = train(replace(CONFIG, penalty="gbs", weight=0.0), images=some)
    assert weights(found) == weights(without)


def test_against_predecessors_the_first_member_learns_as_if_alone(some, train):
    without = train(CONFIG, images=some)
    config = replace(CONFIG, penalty="dcor", weight=5.0, against="predecessors")
    found = train(config, images=some)
    assert weights(found.members[0]) == weights(without.members[0])
    assert weights(found.members[1]) != weights(without.members[1])
    both = train(replace(config, against="all"), images=some)
    assert weights(both.members[0]) != weights(without.members[0])


def test_penalties_of_members_are_means_over_those_they_are_compared_with(some, tmp_path):
    seen = {}
    for against in ("all", "predecessors"):
        config = replace(CONFIG, members=3, penalty="dcor", epochs=1, batch=300, shift=0)
        start = trainer(replace(config, against=against), some)
        features = penultimate(start.ensemble, some.images)
        steps = []
        start.run(tmp_path / against, steps.append)
        seen[against] = steps[0].penalties
    nothing = torch.zeros(300, 1)
    a, b, c = (dcor(features[i], features[j], nothing).item() for i, j in ((0, 1), (0, 2), (1, 2)))
    assert seen["all"] == pytest.approx(((a + b) / 2, (a + c) / 2, (b + c) / 2), rel=1e-4)
    assert seen["predecessors"] == pytest.approx((0, a, (b + c) / 2), rel=1e-4)


def test_labels_have_an_embedding_of_their_own(some, tmp_path):
    config = replace(CONFIG, penalty="partial-dcor", epochs=1, batch=300, shift=0)
    embedding = torch.linspace(0, 1, 10)[:, None]
    start = trainer(config, some, embedding=embedding)
    x, y = penultimate(start.ensemble, some.images)
    steps = []
    start.run(tmp_path / "file", steps.append)
    expected = partial_dcor(x, y, embedding[some.labels]).item()
    assert steps[0].penalties == pytest.approx((expected, expected), rel=1e-3)
    one_hot = partial_dcor(x, y, torch.eye(10)[some.labels]).item()
    assert abs(one_hot - expected) > 1e-3


def test_beyond_a_given_model_labels_are_learned(small, digits, train):
    config = replace(CONFIG, members=1, epochs=12, given="small", weight=0.0)
    held = digits["evaluation"].subset(range(300))
    labels = torch.eye(10)[held.labels]
    _, (known,) = logits_and_features(small.module, held.images, ["penultimate"])
    before = weights(small.module)
    found = []
    for weight in (0.0, 3.0):
        (features,) = penultimate(
            train(replace(config, weight=weight), given=small.module), held.images
        )
        found.append(partial_dcor(features, labels, known.detach()).item())
    assert found[1] > found[0] + 0.05
    assert weights(small.module) == before  # it is given, not trained


# What starts further out and stays there asks more of so small a network at the same eps.
@pytest.mark.parametrize(
    ("name", "steps", "eps"),
    [("fgsm", 2, 0.1), ("n-fgsm", 1, 0.04), ("pgd", 2, 0.1), ("trades", 2, 0.1)],
)
def test_adversarial_training_hardens(digits, train, name, steps, eps):
    config = replace(CONFIG, members=1, epochs=12, learning_rate=0.1, shift=0, eps=eps)
    held = digits["evaluation"].subset(range(200))
    noise = torch.zeros_like(held.images)
    robust = []
    for options in ({}, {"adversarial": name, "steps": steps}):
        model = train(replace(config, **options))
        attacked = ADVERSARIES["pgd"].craft(model, held.images, held.labels, noise, 0.1)
        robust.append(accuracy(model, attacked, held.labels))
        assert accuracy(model, held.images, held.labels) > 0.7
    assert robust[1] > robust[0] + 0.05


def test_a_clean_share_is_left_as_it_is(some):
    noise = torch.ones(300, 1, 8, 8)
    for share, left in ((0, 0), (0.3, 90), (0.99, 297)):
        config = replace(CONFIG, adversarial="fgsm", clean_share=share, eps=0.2)
        learned, _ = trainer(config, some)._crafted(some.images, some.labels, noise)
        same = (learned == some.images).flatten(1).all(1)
        assert same.tolist() == [True] * left + [False] * (300 - left)


def test_examples_are_crafted_on_the_average(some):
    config = replace(CONFIG, adversarial="pgd", steps=2, stride=0.5, eps=0.2)
    start = trainer(config, some)
    noise = torch.zeros_like(some.images)
    learned, _ = start._crafted(some.images, some.labels, noise)
    adversary = replace(ADVERSARIES["pgd"], steps=2, stride=0.5)
    for network in (start.ensemble, *start.ensemble.members):
        expected = adversary.craft(network, some.images, some.labels, noise, 0.2)
        assert torch.equal(learned, expected) == (network is start.ensemble)


def test_trades_weighs_the_divergence_beside_the_clean_loss(some, tmp_path):
    losses = []
    for beta in (0.0, 1.0, 3.0):
        config = replace(CONFIG, adversarial="trades", beta=beta, eps=0.2, epochs=1, batch=300)
        steps = []
        trainer(config, some).run(tmp_path / str(beta), steps.append)
        losses.append(steps[0].losses[0])
    # Before the first step is taken it is a straight line in beta.
    assert losses[2] - losses[0] == pytest.approx(3 * (losses[1] - losses[0]), rel=1e-3)
    assert losses[1] > losses[0]


def test_a_share_that_rounds_to_all_leaves_nothing_to_craft(some, train):
    # Unmoved pictures, since starts of attacks are drawn too; BatchNorm refuses empty batches.
    config = replace(CONFIG, adversarial="pgd", clean_share=0.999, epochs=1, shift=0)
    found = train(config, small_resnet, some)
    assert weights(found) == weights(
        train(replace(config, adversarial=None, clean_share=0.0), small_resnet, some)
    )


def test_half_precision_is_near_full_precision(some, train):
    exact = train(CONFIG, images=some)
    rough = train(replace(CONFIG, precision="bfloat16"), images=some)
    assert weights(rough) != weights(exact)
    for a, b in zip(exact.parameters(), rough.parameters(), strict=True):
        assert b.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0, atol=0.02)


def test_smoothed_labels_are_never_certain(train):
    config = replace(CONFIG, members=1, epochs=6, label_smoothing=0.5)
    model = train(config)
    some = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert model(some).softmax(1).max() < 0.85


def test_a_loss_that_is_not_finite_ends_it_before_anything_is_learned(some, tmp_path):
    start = trainer(CONFIG, some, tiny_networks.Exploding)
    before = weights(start.ensemble)
    message = "training diverged in epoch 1: the loss became nan; no epoch was finished. Lower the"
    with pytest.raises(ModelError, match=message):
        start.run(tmp_path / "file", ignore)
    assert weights(start.ensemble) == before
    assert not (tmp_path / "file").exists()


def test_the_checkpoint_of_the_last_good_epoch_is_kept(some, tmp_path):
    file = tmp_path / "file"
    run_one_epoch(trainer(CONFIG, some), file)
    good = file.read_bytes()
    wild = replace(CONFIG, learning_rate=1e30)
    message = "diverged in epoch 2: the loss became .*; the checkpoint after epoch 1 is kept. Low"
    with pytest.raises(ModelError, match=message):
        trainer(wild, some).run(file, ignore)
    assert file.read_bytes() == good


def test_weights_that_the_last_step_ruined_are_not_kept(some, tmp_path):
    # One step an epoch: its loss was fine, what it led to is not.
    wild = replace(CONFIG, batch=300, learning_rate=1e38, weight_decay=1e4)
    with pytest.raises(ModelError, match="diverged in epoch 1: the loss became nan; no epoch"):
        trainer(wild, some).run(tmp_path / "file", ignore)
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epochs": torch.tensor(1)}, "is no checkpoint of this network: Error"),
        ({"network.a": torch.zeros(1)}, "is no checkpoint of this network: Error"),
        (None, "is no readable safetensors file"),
    ],
)
def test_a_checkpoint_of_another_network_is_named(some, tmp_path, content, message):
    file = tmp_path / "checkpoint.safetensors"
    if content is None:
        file.write_text("no tensors")
    else:
        storage.save_tensors(file, content)
    with pytest.raises(FileError, match=f"checkpoint.safetensors {message}"):
        trainer(CONFIG, some).run(file, ignore)


def test_says_what_cannot_be_compared(some):
    with pytest.raises(InputError, match="no layer fits 'conv', choose from: penultimate, last, 2"):
        trainer(replace(CONFIG, penalty="dcor", layers=("conv",)), some)
    with pytest.raises(ModelError, match="no linear layer runs in Sequential"):
        trainer(replace(CONFIG, penalty="dcor"), some, tiny_networks.without_linear)


def test_a_batch_too_small_to_compare_is_named(some, tmp_path):
    with pytest.raises(InputError, match="needs at least 4 rows, got 3"):
        trainer(replace(CONFIG, penalty="cka", batch=3), some).run(tmp_path / "file", ignore)


def test_layers_are_compared_each_and_averaged(some, tmp_path):
    config = replace(CONFIG, epochs=1, batch=300, shift=0, penalty="cka")
    found = []
    for layers in (("2",), ("4",), ("2", "4")):
        steps = []
        trainer(replace(config, layers=layers), some).run(tmp_path / str(layers), steps.append)
        found.append(steps[0].penalties[0])
    assert found[2] == pytest.approx((found[0] + found[1]) / 2, rel=1e-4)


SCRIPT = """
import sys
from pathlib import Path

import torch

from advdetect import data, storage
from advdetect.ensembles import Trainer, TrainingConfig, processes
from tests.ensembles import tiny_networks

torch.set_num_threads(1)
images = data.load("digits", split="reference").subset(range(160))
options = {"members": 2, "epochs": 2, "batch": int(sys.argv[2]), "learning_rate": 0.05}
config = TrainingConfig(penalty=sys.argv[3], noise=0.1, adversarial="fgsm", **options)
with processes.together():
    torch.manual_seed(0)
    members = [tiny_networks.plain() for _ in range(2)]
    trainer = Trainer(config, members, images.images, images.labels)
    seen = []
    ensemble = trainer.run(Path(sys.argv[1]) / "checkpoint", seen.append)
    figures = torch.tensor([step.losses + step.penalties for step in seen])
    name = f"weights-{processes.rank()}-of-{processes.count()}"
    storage.save_tensors(Path(sys.argv[1]) / name, ensemble.state_dict() | {"figures": figures})
"""


def in_processes(count, script, *arguments):
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    return subprocess.run(
        [sys.executable, *(launch if count > 1 else ()), script, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


@pytest.mark.slow
def test_two_processes_learn_what_one_does(script, tmp_path):
    saved = []
    for count in (1, 2):
        folder = tmp_path / str(count)
        folder.mkdir()
        done = in_processes(count, script, folder, 40, "partial-dcor")
        assert done.returncode == 0, done.stderr
        saved += [
            storage.load_tensors(folder / f"weights-{rank}-of-{count}") for rank in range(count)
        ]
    alone, first, second = saved
    for name, expected in alone.items():
        torch.testing.assert_close(first[name], expected, rtol=0, atol=1e-5)
        assert torch.equal(first[name], second[name])  # neither knows better
    start = networks(tiny_networks.plain, 1)[0].state_dict()
    assert (alone["members.0.1.weight"] - start["1.weight"]).abs().max() > 0.01


def test_processes_that_cannot_share_a_batch_say_so(some, monkeypatch):
    monkeypatch.setattr("advdetect.ensembles.processes.count", lambda: 3)
    with pytest.raises(InputError, match="3 processes cannot share a batch of 100 images equally"):
        trainer(CONFIG, some)
    # Fewer pictures than a batch are a batch.
    with pytest.raises(InputError, match="3 processes cannot share a batch of 50 images equally"):
        trainer(replace(CONFIG, batch=99), some.subset(range(50)))


def test_a_loaded_model_may_be_a_member(small_model, some, tmp_path):
    members = [load_model(str(small_model)).module for _ in range(2)]
    config = replace(CONFIG, penalty="bits", epochs=1)
    steps = []
    Trainer(config, members, some.images, some.labels).run(tmp_path / "file", steps.append)
    assert steps[0].penalties[0] == pytest.approx(1, abs=1e-4)  # the very same network twice
