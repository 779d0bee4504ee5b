"""Everything that the next epoch depends on, in one file."""

from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import nn

from advdetect import storage
from advdetect.ensembles.optimizers import Optimizer
from advdetect.errors import FileError, ModelError


@final
@dataclass(frozen=True)
class Checkpoint:
    """A network and its optimizer between two epochs.

    Args:
        path: The file, written whole or not at all.
        network: All members.
        optimizer: Of its weights.
    """

    path: Path
    network: nn.Module
    optimizer: Optimizer

    def save(self, epochs: int) -> None:
        """Write what ``epochs`` epochs led to, over what was there."""
        storage.save_tensors(
            self.path,
            {f"network.{key}": value for key, value in self.network.state_dict().items()}
            | {f"momentum.{key}": value for key, value in self.optimizer.momenta().items()}
            | {"epochs": torch.tensor(epochs)},
        )

    def load(self) -> int:
        """Take up what is there, if anything, and return how many epochs it has behind it.

        Raises:
            FileError: the file is damaged or of another network.
        """
        if not self.path.exists():
            return 0
        saved = storage.load_tensors(self.path)
        try:
            self.network.load_state_dict(_under("network.", saved))
            epochs = int(saved["epochs"])
        except (KeyError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0][:150]
            raise FileError(f"{self.path} is no checkpoint of this network: {reason}") from None
        self.optimizer.take_up(_under("momentum.", saved))
        return epochs


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def diverged(epoch: int, kept: int, loss: float) -> ModelError:
    """Say that training came to nothing, and what is left."""
    left = f"the checkpoint after epoch {kept} is kept" if kept else "no epoch was finished"
    return ModelError(
        f"training diverged in epoch {epoch}: the loss became {loss}; {left}. Lower the learning "
        "rate or the penalty's weight, in another folder"
    )
