"""What the plots need beyond the numbers of a report."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PictureRow:
    """A clean picture and its attacked twin, ``(c, h, w)`` pixels in [0, 1], with verdicts.

    Attributes:
        attack: Attack and eps as text, ``linf_pgd 8/255``.
        true_label: Name of the true class; the other two are what the model said.
    """

    clean: NDArray[np.float32]
    attacked: NDArray[np.float32]
    attack: str
    true_label: str
    clean_label: str
    attacked_label: str
    clean_p_value: float
    attacked_p_value: float
    clean_flagged: bool
    attacked_flagged: bool


@dataclass(frozen=True, eq=False)
class Embedding:
    """Inputs in the plane of a graph's softest cuts.

    Attributes:
        coordinates: ``(n, 2)``: the Fiedler vector, then the next eigenvector.
        kind: ``(n,)``, 0 for clean and 1 for attacked.
        title: Which inputs, in words.
    """

    coordinates: Values
    kind: NDArray[np.int64]
    title: str


@dataclass(frozen=True, eq=False)
class Figures:
    """What is drawn; whatever is left out has no figure.

    Attributes:
        clean_scores: ``(n,)`` the guard's scores of clean evaluation images.
        scores: The guard's scores of the rows that a report counts, by attack and eps as text
            (``linf_pgd 8/255``).
        controls: Which keys of ``scores`` are noise.
        threshold: The least score that is flagged.
        curves: By attack's name, budgets, the robust accuracy at each, and the norm; attacks
            at a fixed eps need none, the report has their points.
        pictures: Rows of the picture grid.
        embedding: The Fiedler embedding of clean and attacked inputs.
    """

    clean_scores: Values
    scores: Mapping[str, Values]
    controls: frozenset[str] = frozenset()
    threshold: float | None = None
    curves: Mapping[str, tuple[Values, Values, str]] = field(default_factory=dict)
    pictures: tuple[PictureRow, ...] = ()
    embedding: Embedding | None = None
