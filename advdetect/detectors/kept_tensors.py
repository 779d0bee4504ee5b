"""What detectors learnt, as tensors where gradients and devices ask for them."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from numpy.typing import NDArray
from torch import Tensor


@final
class KeptTensors:
    """Arrays as tensors beside those they are used with; a service asks with every batch.

    Args:
        arrays: By name.
        names: Of those wanted, in order; what is not there is passed over.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], names: Sequence[str]) -> None:
        self._arrays = [arrays[name] for name in names if name in arrays]
        self._kept: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}

    def like(self, rows: Tensor) -> list[Tensor]:
        """On the device of ``rows``; numbers in its precision, indices as they are."""
        key = (rows.dtype, rows.device)
        if key not in self._kept:
            # A tensor made in inference mode could never be asked for a gradient again.
            with torch.inference_mode(False):
                self._kept[key] = [
                    torch.tensor(a, dtype=rows.dtype if a.dtype.kind == "f" else None).to(key[1])
                    for a in self._arrays
                ]
        return self._kept[key]
