"""What a training begins with: networks to build, weights that are there, a model to go beyond."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from advdetect.checks import check_logits
from advdetect.data import ImageSet
from advdetect.ensembles import TrainingConfig
from advdetect.errors import InputError, ModelError
from advdetect.networks import NETWORKS, load_model
from advdetect.networks.loading import LoadedModel
from advdetect.workflows.models import try_on


def architecture_of(config: TrainingConfig, images: ImageSet) -> dict[str, Any]:
    """What ``build`` makes the untrained model from.

    Networks of the table are told the images' channels, their mean and deviation, and the number
    of classes, unless the configuration does.

    Raises:
        ModelError: no such network.
    """
    if config.network in NETWORKS:
        told = {
            "mean": [round(float(m), 4) for m in images.images.mean((0, 2, 3))],
            "std": [round(float(s), 4) for s in images.images.std((0, 2, 3))],
            "classes": len(images.classes),
        }
        arguments = told | dict(config.arguments)
        one = {"kind": "network", "name": config.network, "arguments": arguments}
    elif ":" in config.network:
        one = {"kind": "factory", "name": config.network}
    else:
        raise ModelError(
            f"no network named {config.network!r}, choose from: {', '.join(NETWORKS)}, or give "
            "package.module:factory"
        )
    if config.members == 1:
        return one
    return {"kind": "ensemble", "members": [one] * config.members}


def members_of(architecture: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The architecture of each member; that of a single network alone."""
    return architecture["members"] if architecture["kind"] == "ensemble" else [architecture]


def given_of(name: str, images: ImageSet) -> nn.Module:
    """The model beyond which a network is to know the labels.

    Raises:
        InputError: it takes other images.
        ModelError: no such model.
    """
    model = load_model(name)
    _check_shape(f"the given model {name}", model, images)
    return model.module


def start_of(config: TrainingConfig, images: ImageSet) -> LoadedModel:
    """The model to start from, or the mean of several.

    Raises:
        InputError: it takes other images, or what the configuration says of its network is not so;
            several are of different networks.
        ModelError: no such model.
    """
    first, *more = [_checked_start(name, config, images) for name in config.start]
    for name, model in zip(config.start[1:], more, strict=True):
        if model.architecture != first.architecture:
            raise InputError(
                f"the starts {config.start[0]} and {name} are different networks: weights of one "
                "kind of network have a mean"
            )
    if more:
        first.module.load_state_dict(mean_weights([model.module for model in (first, *more)]))
    return first


def mean_weights(modules: Sequence[nn.Module]) -> dict[str, Tensor]:
    """State of a module whose weights, and BatchNorm's statistics, are the mean of several.

    It is a good network where they were trained on from the same weights.

    Args:
        modules: At least one; all built alike, so that their states have the same names and shapes.

    Source:
        Wortsman et al. 2022, arXiv:2203.05482, "uniform soup".
    """
    first, *more = [module.state_dict() for module in modules]
    return {
        # Counts, of batches seen, have no mean.
        key: torch.stack([value, *(one[key] for one in more)]).mean(0)
        if value.is_floating_point()
        else value
        for key, value in first.items()
    }


def check_output(name: str, network: nn.Module, images: ImageSet) -> None:
    """Refuse a network that cannot take the images, or knows too few classes.

    Raises:
        InputError: so it is.
        ModelError: it returns no logits.
    """
    logits = try_on(images, name, network)
    check_logits(logits, name)
    classes, wanted = cast(Tensor, logits).shape[1], len(images.classes)
    if classes < wanted:
        raise InputError(f"{name} knows {classes} classes, {images.name} has {wanted}")


def _checked_start(name: str, config: TrainingConfig, images: ImageSet) -> LoadedModel:
    model = load_model(name)
    _check_shape(f"the start {name}", model, images)
    one, *others = members_of(model.architecture)
    if config.members != 1 + len(others):
        raise InputError(f"the start {name} has {1 + len(others)} members, not {config.members}")
    own = {"network": one["name"], **one.get("arguments", {})}
    told = dict(config.arguments)
    if config.network != TrainingConfig.network:
        told["network"] = config.network
    differing = [key for key, value in told.items() if own.get(key) != value]
    if differing:
        raise InputError(
            f"the start {name} has another {', '.join(differing)}: leave network and arguments out"
        )
    return model


def _check_shape(what: str, model: LoadedModel, images: ImageSet) -> None:
    if model.shape not in (None, images.shape):
        raise InputError(
            f"{what} takes images of shape {model.shape}, {images.name} has {images.shape}"
        )
