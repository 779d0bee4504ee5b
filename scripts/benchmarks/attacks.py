"""What attacks cost beside those of other libraries, and how much each of them breaks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from advdetect import data, vision
from advdetect.attacks import Budget, attack_chunk
from advdetect.attacks.balls import perturbation_size
from advdetect.attacks.foolbox_attacks import foolbox
from advdetect.attacks.running import CHUNK
from advdetect.networks import load_model
from benchmarks.comparing import Rival, Row, Scope, once

EPS = 8 / 255
STEPS = 100  # what AutoAttack gives its members; torchattacks leaves some of them at 10
# adv-lib imports visdom, which newer pips cannot build: without it there is no adv-lib either.
ADV_LIB = "adv_lib" if find_spec("visdom") else "visdom"

Work = Callable[[], Tensor]


@dataclass(frozen=True)
class Victim:
    """A model and images that it gets right."""

    model: nn.Module
    images: Tensor
    labels: Tensor

    def robust(self, moved: Tensor) -> str:
        """How many images hold, of all."""
        wrong = torch.cat(
            [self.model(part).argmax(1) for part in moved.clamp(0, 1).split(CHUNK)]
        ).ne(self.labels)
        return f"robust {1 - wrong.double().mean().item():.2%}"

    def median(self, norm: str, moved: Tensor) -> str:
        """Median perturbation, of all."""
        return f"median {perturbation_size(moved - self.images, norm).median().item():.4g}"


class Kept:
    """Work whose last answer stays, to be judged once it has been timed."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.answer: Tensor | None = None

    def __call__(self) -> None:
        self.answer = self.work()


def attack_costs(scope: Scope) -> Iterator[Row]:
    """Attacks of one eps, least perturbations, and whole suites; ``full`` with a robust model."""
    n = 8 if scope.quick else 1000
    victim = load_victim("fashion-resnet", n)
    yield from judged(
        scope,
        "PGD-20, linf 8/255",
        partial(ours, victim, Budget("linf_pgd", EPS)),
        [
            Rival("Foolbox as documented", partial(foolbox_pgd, victim)),
            Rival("adv-lib", partial(adv_lib_pgd, victim), ADV_LIB),
            Rival("torchattacks", partial(torchattacks_pgd, victim), "torchattacks"),
        ],
        victim.robust,
    )
    for name, theirs in {
        "linf_fmn": "LInfFMNAttack",
        "l2_fmn": "L2FMNAttack",
        "l2_deepfool": "L2DeepFoolAttack",
    }.items():
        rival = Rival("Foolbox as documented", partial(foolbox_nearest, victim, theirs))
        made = partial(ours, victim, Budget(name))
        yield from judged(scope, name, made, [rival], partial(victim.median, name.split("_")[0]))
    yield from suites(scope, "fashion-resnet", 4 if scope.quick else n)
    if scope.full:
        # Every image that holds costs thousands of passes.
        yield from suites(scope, "fashion-robust", 200)


def suites(scope: Scope, name: str, n: int) -> Iterator[Row]:
    """The cascades of suite ``strong`` against AutoAttack."""
    victim = load_victim(name, n)
    for norm, eps in (("linf", EPS), ("linf", 0.1), ("l2", 0.5), ("l2", 1.5)):
        budget = Budget(f"{norm}_strong", eps)
        work = partial(auto_attack, victim, norm, eps)
        rival = Rival("torchattacks AutoAttack", work, "torchattacks")
        made = partial(ours, victim, budget)
        yield from judged(scope, f"{name}, {budget}", made, [rival], victim.robust)
        if scope.quick:
            return


def judged(
    scope: Scope, case: str, made: Work, rivals: Sequence[Rival], say: Callable[[Tensor], str]
) -> Iterator[Row]:
    """Rows whose case and rivals say what came of each attack."""
    kept = Kept(made)
    others = [Kept(rival.work) for rival in rivals]
    timed = [replace(rival, work=other) for rival, other in zip(rivals, others, strict=True)]
    rows = list(once(scope, case, kept, timed))
    for row, other in zip(rows, others, strict=True):
        found = row.rival if other.answer is None else f"{row.rival}: {say(other.answer)}"
        assert kept.answer is not None  # it has run
        text = f"{case}, n = {len(kept.answer)}: {say(kept.answer)}"
        yield replace(row, case=text, rival=found)


def load_victim(name: str, n: int) -> Victim:
    """Return the first ``n`` evaluation images that a shipped model gets right."""
    model = load_model(name).module.eval()
    pictures = data.load("fashion-mnist", split="evaluation", limit=2 * n)
    with torch.no_grad():
        right = torch.cat([model(part).argmax(1) for part in pictures.images.split(CHUNK)])
    rows = (right == pictures.labels).nonzero().squeeze(1)[:n]
    return Victim(model, pictures.images[rows], pictures.labels[rows])


def ours(victim: Victim, budget: Budget) -> Tensor:
    """An attack of the table, chunk by chunk as in a run."""
    return in_chunks(
        victim,
        lambda images, labels: (
            attack_chunk(victim.model, images, labels, budget, seed=0).adversarial
        ),
    )


def in_chunks(victim: Victim, made: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """What is made of the images, a chunk at a time."""
    chunks = zip(victim.images.split(CHUNK), victim.labels.split(CHUNK), strict=True)
    return torch.cat([made(images, labels).detach() for images, labels in chunks])


def foolbox_model(victim: Victim) -> Any:
    """The model as Foolbox's documentation wraps it."""
    return foolbox().PyTorchModel(victim.model, bounds=(0, 1), device="cpu")


def foolbox_pgd(victim: Victim) -> Tensor:
    """Foolbox's PGD, all images at once, with steps of the size that ours takes."""
    attack = foolbox().attacks.LinfPGD(rel_stepsize=0.1, steps=20)
    return attack(foolbox_model(victim), victim.images, victim.labels, epsilons=EPS)[1]


def foolbox_nearest(victim: Victim, name: str) -> Tensor:
    """An attack of Foolbox with its own settings, all images at once."""
    attack = getattr(foolbox().attacks, name)()
    return attack(foolbox_model(victim), victim.images, victim.labels, epsilons=None)[0]


def adv_lib_pgd(victim: Victim) -> Tensor:
    """PGD of adv-lib, chunk by chunk."""
    vision.torchvision()  # which a torch without CUDA may not be able to import by itself
    from adv_lib.attacks import pgd_linf

    def made(images: Tensor, labels: Tensor) -> Tensor:
        return pgd_linf(victim.model, images, labels, ε=EPS, steps=20, relative_step_size=0.1)

    return in_chunks(victim, made)


def torchattacks_pgd(victim: Victim) -> Tensor:
    """PGD of torchattacks, chunk by chunk."""
    vision.torchvision()
    import torchattacks

    return in_chunks(victim, torchattacks.PGD(victim.model, eps=EPS, alpha=0.1 * EPS, steps=20))


def auto_attack(victim: Victim, norm: str, eps: float) -> Tensor:
    """AutoAttack of torchattacks at full strength, chunk by chunk."""
    vision.torchvision()
    import torchattacks

    named = {"linf": "Linf", "l2": "L2"}[norm]
    classes = int(victim.labels.max()) + 1
    attack = torchattacks.AutoAttack(victim.model, norm=named, eps=eps, n_classes=classes, seed=0)
    for member in attack._autoattack.attacks:
        if hasattr(member, "steps"):
            member.steps = STEPS
    return in_chunks(victim, attack)
