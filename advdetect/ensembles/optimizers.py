"""From gradients to new weights."""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from advdetect.errors import InputError

OPTIMIZERS = ("sgd", "muon")


@final
class Optimizer:
    """Stochastic gradient descent with Nesterov momentum .9, or Muon for kernels of convolutions.

    Muon moves all directions of a kernel, as a matrix ``(out, in * height * width)``, equally far,
    and so learns in fewer epochs. Before each step a kernel is brought to the norm sqrt(out): the
    learning rate is then about the share of it that a step changes, and there is no weight decay
    on it. BatchNorm behind a convolution makes up for the norm. All else is left to SGD.

    Args:
        network: What is learned; it stays on its device from here on.
        name: One of ``OPTIMIZERS``.
        weight_decay: Of SGD.

    Raises:
        InputError: this torch is too old for ``muon``.

    Source:
        Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; norms and
        momentum of his record on CIFAR-10 (KellerJordan/cifar10-airbench).
    """

    def __init__(self, network: nn.Module, name: str, weight_decay: float) -> None:
        if name == "muon" and not hasattr(torch.optim, "Muon"):
            raise InputError(
                f"the optimizer muon needs torch 2.9 or newer, this is {torch.__version__}: "
                "update torch, or take sgd"
            )
        kernels: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for parameter in network.parameters():
            is_kernel = name == "muon" and parameter.ndim == 4 and parameter.requires_grad
            (kernels if is_kernel else rest).append(parameter)
        self._kernels = kernels
        # torch's Muon takes nothing but matrices: it works on copies.
        self._matrices = [nn.Parameter(k.detach().flatten(1).clone()) for k in kernels]
        # By what their momenta's names begin with.
        self._parts: dict[str, torch.optim.Optimizer] = {}
        if rest:
            self._parts[""] = torch.optim.SGD(
                rest, momentum=0.9, nesterov=True, weight_decay=weight_decay
            )
        if kernels:
            self._parts["kernel."] = torch.optim.Muon(self._matrices, momentum=0.6, weight_decay=0)

    def step(self, learning_rate: float) -> None:
        """Change the weights by their gradients."""
        with torch.no_grad():
            for kernel, matrix in zip(self._kernels, self._matrices, strict=True):
                norm = kernel.norm().clamp(min=1e-7)
                matrix.copy_(kernel.flatten(1) * (len(kernel) ** 0.5 / norm))
                matrix.grad = None if kernel.grad is None else kernel.grad.flatten(1)
        for part in self._parts.values():
            part.param_groups[0]["lr"] = learning_rate
            part.step()
        with torch.no_grad():
            for kernel, matrix in zip(self._kernels, self._matrices, strict=True):
                kernel.copy_(matrix.reshape(kernel.shape))

    def momenta(self) -> dict[str, Tensor]:
        """What it remembers from step to step."""
        return {
            f"{prefix}{key}": state["momentum_buffer"]
            for prefix, part in self._parts.items()
            for key, state in part.state_dict()["state"].items()
        }

    def take_up(self, momenta: Mapping[str, Tensor]) -> None:
        """Go on from what ``momenta`` returned."""
        for prefix, part in self._parts.items():
            state: dict[str, Any] = part.state_dict()
            state["state"] = {
                int(number): {"momentum_buffer": momenta[prefix + number]}
                for number in map(str, range(len(part.param_groups[0]["params"])))
                if prefix + number in momenta
            }
            part.load_state_dict(state)
