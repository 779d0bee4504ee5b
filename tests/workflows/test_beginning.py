"""What a training is told of its networks, and the mean of several."""

import pytest
import torch
from torch import nn

from advdetect import data
from advdetect.ensembles import TrainingConfig
from advdetect.errors import ModelError
from advdetect.workflows.beginning import architecture_of, mean_weights


@pytest.fixture(scope="module")
def images():
    return data.load("digits", split="reference").subset(range(200))


def test_networks_of_a_factory_are_built_as_they_are(images):
    config = TrainingConfig(network="my_models:make", members=3)
    one = {"kind": "factory", "name": "my_models:make"}
    assert architecture_of(config, images) == {"kind": "ensemble", "members": 3 * [one]}


def test_says_which_networks_there_are(images):
    message = "no network named 'lenet', choose from: resnet, pooled-resnet, tiny-10, vgg, or give "
    with pytest.raises(ModelError, match=message):
        architecture_of(TrainingConfig(network="lenet"), images)


def test_arguments_come_before_what_the_images_say(images):
    config = TrainingConfig(network="vgg", arguments={"mean": [0.1], "width": 3})
    found = architecture_of(config, images)["arguments"]
    assert (found["mean"], found["width"], found["classes"]) == ([0.1], 3, 10)


def test_the_mean_is_of_weights_and_statistics_but_not_of_counts():
    modules = [nn.BatchNorm1d(2) for _ in range(2)]
    for module, weight, seen, steps in zip(modules, (1.0, 4.0), (0.5, 1.5), (3, 8), strict=True):
        nn.init.constant_(module.weight, weight)
        module.running_mean.fill_(seen)
        module.num_batches_tracked.fill_(steps)
    found = mean_weights(modules)
    assert found["weight"].tolist() == [2.5, 2.5]
    assert found["running_mean"].tolist() == [1.0, 1.0]
    assert found["num_batches_tracked"] == torch.tensor(3)
    assert modules[0].weight.tolist() == [1.0, 1.0]
