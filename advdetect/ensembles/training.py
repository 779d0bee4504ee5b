"""Train members together: their own losses, and a penalty on what they have in common."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import isfinite, nan
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from advdetect.ensembles import processes
from advdetect.ensembles.adversaries import ADVERSARIES, divergence
from advdetect.ensembles.augmenting import augment
from advdetect.ensembles.checkpoints import Checkpoint, diverged
from advdetect.ensembles.configuring import TrainingConfig
from advdetect.ensembles.featuring import find_layers, logits_and_features
from advdetect.ensembles.optimizers import Optimizer
from advdetect.ensembles.penalties import PENALTIES, PENULTIMATE, partial_dcor
from advdetect.errors import InputError
from advdetect.networks.ensemble import Ensemble


@final
@dataclass(frozen=True)
class Step:
    """How a step went.

    Attributes:
        epoch: From 1.
        step: From 1, in this epoch.
        steps: In every epoch.
        losses: Of each member, cross-entropy or what an adversary makes of it.
        accuracies: Of each member, on what it was trained on.
        penalties: Of each member, the mean over the others it is compared with; with a given
            model, what it knows beyond that. Empty where nothing is compared.
    """

    epoch: int
    step: int
    steps: int
    losses: tuple[float, ...]
    accuracies: tuple[float, ...]
    penalties: tuple[float, ...]


class Trainer:
    """Members, and all that trains them.

    Args:
        config: How.
        members: The networks to train; the number that ``config`` says.
        images: ``(n, c, h, w)`` pixels in [0, 1].
        labels: ``(n,)`` classes.
        embedding: ``(classes, r)`` what stands for each class where a penalty is given the
            labels; ``None``: one-hot vectors.
        given: A trained model; the network learns the labels beyond what this one knows.
        device: Where to compute.

    Raises:
        InputError: a layer is asked for that there is not, or processes cannot share a batch
            equally.
        ModelError: a member has no penultimate features.
    """

    def __init__(
        self,
        config: TrainingConfig,
        members: Sequence[nn.Module],
        images: Tensor,
        labels: Tensor,
        *,
        embedding: Tensor | None = None,
        given: nn.Module | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        shared = min(config.batch, len(images))
        if shared % processes.count():
            raise InputError(
                f"{processes.count()} processes cannot share a batch of {shared} images equally"
            )
        self.config = config
        # torch's stubs do not know that a module takes a memory format.
        self.ensemble = Ensemble(members).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._images, self._labels, self._device = images, labels, torch.device(device)
        self._given = None if given is None else given.to(device).eval()
        classes = int(labels.max()) + 1
        self._embedding = (torch.eye(classes) if embedding is None else embedding).to(device)
        wanted = config.layers
        if not wanted and config.penalty is not None:
            wanted = (PENALTIES[config.penalty].layer,)
        elif not wanted and given is not None:
            wanted = (PENULTIMATE,)
        some = images[:2].to(device)
        self._layers = [find_layers(member, some, wanted) for member in self.ensemble.members]
        self._given_layers = () if given is None else find_layers(given, some, wanted)
        self._optimizer = Optimizer(self.ensemble, config.optimizer, config.weight_decay)
        self._average = None
        if config.ema:
            average = get_ema_multi_avg_fn(config.ema)
            self._average = AveragedModel(self.ensemble, multi_avg_fn=average, use_buffers=True)

    @property
    def steps(self) -> int:
        """Steps of an epoch; what does not fill a batch waits for another epoch's order."""
        return max(1, len(self._images) // self.config.batch)

    def run(self, checkpoint: Path, watch: Callable[[Step], None]) -> Ensemble:
        """Train until all epochs are done, going on after the last one that was finished.

        Ends with the same weights whether it was interrupted or not (on one CPU, with one
        number of threads).

        Args:
            checkpoint: File to keep the state of the last finished epoch in.
            watch: Called after every step.

        Raises:
            ModelError: the loss is no longer finite; the checkpoint is of the epoch before.
            FileError: the checkpoint is of another network.
        """
        network: nn.Module = self.ensemble
        if self._average is not None:
            network = nn.ModuleList([self.ensemble, self._average])
        kept = Checkpoint(checkpoint, network, self._optimizer)
        done = kept.load()
        for epoch in range(done, self.config.epochs):
            self.ensemble.train()
            for step in self.epoch(epoch):
                if not all(map(isfinite, step.losses + step.penalties)):
                    raise diverged(epoch + 1, epoch, sum(step.losses + step.penalties))
                watch(step)
            # The last step's loss was of the weights before it.
            if not all(p.isfinite().all() for p in self.ensemble.parameters()):
                raise diverged(epoch + 1, epoch, nan)
            if processes.is_first():
                kept.save(epoch + 1)
            processes.wait()
        if self._average is not None:
            self.ensemble.load_state_dict(self._average.module.state_dict())
        return self.ensemble.eval()

    def epoch(self, epoch: int) -> Iterator[Step]:
        """Train for one epoch, counted from 0, step by step."""
        config = self.config
        # One generator an epoch: going on after an interruption draws the same numbers.
        generator = torch.Generator().manual_seed(1000 * config.seed + epoch)
        torch.manual_seed(1000 * config.seed + epoch)  # for networks that draw, as dropout does
        order = torch.randperm(len(self._images), generator=generator)
        for step in range(self.steps):
            rows = order[step * config.batch : (step + 1) * config.batch]
            # Every process draws for the whole batch and takes its part: any number of them
            # trains on the same pictures.
            images = augment(
                self._images[rows],
                generator,
                shift=config.shift,
                mirror=config.mirror,
                noise=config.noise,
                cutout=config.cutout,
                mirrored=self._mirrored(epoch)[rows] if config.alternate else None,
            )
            noise = None
            if config.adversarial is not None:
                noise = 2 * torch.rand(images.shape, generator=generator) - 1
            share = (epoch * self.steps + step) / (config.epochs * self.steps)
            rate = config.learning_rate * one_cycle(share, config.warm_up)
            losses, accuracies, penalties = self._step(images, self._labels[rows], noise, rate)
            yield Step(epoch + 1, step + 1, self.steps, losses, accuracies, penalties)

    def _mirrored(self, epoch: int) -> Tensor:
        """Which pictures are mirrored, ``(n,)``: a random half, and in the next epoch the other.

        Source:
            Jordan 2024, arXiv:2404.00498, section 3.6.
        """
        generator = torch.Generator().manual_seed(self.config.seed)
        return (torch.rand(len(self._images), generator=generator) < 0.5) ^ bool(epoch % 2)

    def _step(
        self, images: Tensor, labels: Tensor, noise: Tensor | None, rate: float
    ) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
        """Learn from one batch; only this process's share of it is looked at here."""
        mine = slice(processes.rank(), None, processes.count())
        images = images[mine].to(self._device).contiguous(memory_format=torch.channels_last)
        labels = labels[mine].to(self._device)
        noise = None if noise is None else noise[mine].to(self._device)
        with self._autocast():
            learned, clean = self._crafted(images, labels, noise)
            passes = [
                logits_and_features(member, learned, layers)
                for member, layers in zip(self.ensemble.members, self._layers, strict=True)
            ]
            logits = torch.stack([found.float() for found, _ in passes])
            losses = self._losses(logits, labels, clean)
        features = [[processes.gathered(part) for part in found] for _, found in passes]
        right = (logits.argmax(2) == labels).float().mean(1)
        seen = processes.total(torch.stack([losses, right])) / processes.count()
        own, accuracies = tuple(seen[0].tolist()), tuple(seen[1].tolist())
        if not (seen.isfinite().all() and all(p.isfinite().all() for f in features for p in f)):
            return own, accuracies, (nan,)  # nothing is learned from it
        penalties = self._penalties(features, images, processes.gathered(labels))
        loss = losses.sum()
        if self._given is not None:
            loss = loss - self.config.weight * penalties.sum()
        elif self.config.against == "predecessors":
            # Every later member pays in full, as in the paper; the first pays nothing.
            loss = loss + self.config.weight * penalties.sum()
        elif len(penalties):
            loss = loss + self.config.weight * penalties.mean()
        self.ensemble.zero_grad()
        loss.backward()
        processes.average_gradients(self.ensemble)
        self._optimizer.step(rate)
        if self._average is not None:
            self._average.update_parameters(self.ensemble)
        return own, accuracies, tuple(penalties.tolist())

    def _autocast(self) -> Any:
        enabled = self.config.precision == "bfloat16"
        return torch.autocast(self._device.type, torch.bfloat16, enabled=enabled)

    def _crafted(
        self, images: Tensor, labels: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the pictures to learn from, and the clean ones where they are learned from too."""
        config = self.config
        if config.adversarial is None or noise is None:
            return images, None
        adversary = ADVERSARIES[config.adversarial]
        if config.steps is not None:
            adversary = replace(adversary, steps=config.steps)
        if config.stride is not None:
            adversary = replace(adversary, stride=config.stride)
        first = round(config.clean_share * len(images))
        learned = images
        if first < len(images):  # BatchNorm counts an empty batch, too
            # Crafted on the average, which is what an attacker meets.
            moved = adversary.craft(
                self.ensemble, images[first:], labels[first:], noise[first:], config.eps
            )
            learned = torch.cat([images[:first], moved])
        return learned, images if adversary.smooths else None

    def _losses(self, logits: Tensor, labels: Tensor, clean: Tensor | None) -> Tensor:
        """``(members,)`` losses."""
        smoothing = self.config.label_smoothing
        if clean is None:
            return torch.stack(
                [F.cross_entropy(own, labels, label_smoothing=smoothing) for own in logits]
            )
        found = []
        for member, moved in zip(self.ensemble.members, logits, strict=True):
            calm = member(clean).float()
            natural = F.cross_entropy(calm, labels, label_smoothing=smoothing)
            found.append(natural + self.config.beta * divergence(moved, calm.softmax(1)))
        return torch.stack(found)

    def _penalties(self, features: list[list[Tensor]], images: Tensor, labels: Tensor) -> Tensor:
        """``(members,)`` what each has in common with the others it is compared with."""
        embedded = self._embedding[labels]
        if self._given is not None:
            with torch.no_grad():
                _, known = logits_and_features(self._given, images, self._given_layers)
            known = [processes.gathered(part) for part in known]
            values = [partial_dcor(own, embedded, k) for own in features[0] for k in known]
            return torch.stack(values).mean()[None]
        if self.config.penalty is None:
            return torch.zeros(0, device=self._device)
        value = PENALTIES[self.config.penalty].value
        shares: list[list[Tensor]] = [[] for _ in features]
        for earlier, later in combinations(range(len(features)), 2):
            fixed = features[earlier]
            if self.config.against == "predecessors":
                fixed = [part.detach() for part in fixed]
            both = zip(fixed, features[later], strict=True)
            alike = torch.stack([value(x, y, embedded) for x, y in both]).mean()
            shares[later].append(alike)
            if self.config.against == "all":
                shares[earlier].append(alike)
        nothing = torch.zeros((), device=self._device)
        return torch.stack([torch.stack(s).mean() if s else nothing for s in shares])


def one_cycle(share: float, warm_up: float) -> float:
    """Share of the peak learning rate: up from a twentieth, then down to 0, as cosines."""
    if share < warm_up:
        return 0.05 + 0.95 * _half_cosine(1 - share / warm_up)
    return _half_cosine((share - warm_up) / (1 - warm_up))


def _half_cosine(share: float) -> float:
    """From 1 at share 0 down to 0 at share 1."""
    return float(0.5 + 0.5 * torch.cos(torch.pi * torch.tensor(share, dtype=torch.float64)))
