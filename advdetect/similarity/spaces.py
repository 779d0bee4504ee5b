"""Metric spaces of representations: points on a sphere, an angle apart.

A space turns activations into points, in double precision; all else is about points.
Distances are angles in radians, shortest ways are arcs of great circles.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from advdetect.checks import pick
from advdetect.errors import InputError
from advdetect.similarity.gram import double_centred, full_rank, paired, standardised, u_centred

SAME = 1e-12  # radians: points that have no direction to each other


@final
@dataclass(frozen=True, eq=False)
class Projection:
    """The point of a way that is nearest to a given one.

    Args:
        point: The nearest point.
        share: Where it lies, from 0 at the way's start to 1 at its end.
        distance: How far off it the given point is.
    """

    point: Tensor
    share: float
    distance: float


class Sphere(ABC):
    """Points of length 1, with the angle between them as their distance.

    Subclasses say which point stands for activations and, where several matrices are the same
    point, how one is laid onto another as near as can be. They override nothing else.
    """

    least_rows: ClassVar[int] = 2
    projection_steps: ClassVar[int] = 1

    @final
    def point(self, x: Tensor) -> Tensor:
        """Turn ``(n, p)`` activations into a point, a float64 matrix of n rows and length 1.

        Raises:
            InputError: not a finite float matrix, too few rows, or activations that place
                all inputs alike and so have no direction.
        """
        (x,) = paired(x, at_least=self.least_rows)
        matrix = self._represent(standardised(x.double()))
        length = torch.linalg.vector_norm(matrix)
        if length == 0:
            raise InputError("activations that place all inputs alike are no point of this space")
        return matrix / length

    @final
    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Angle between two points, in [0, pi]; differentiable.

        Raises:
            InputError: points of different numbers of inputs.
        """
        return _angle(*self._aligned(a, b))

    @final
    def logarithm(self, a: Tensor, b: Tensor) -> Tensor:
        """Tangent at ``a`` that points to ``b``, as long as their distance.

        Raises:
            InputError: opposite points, to which all directions lead.
        """
        a, b = self._aligned(a, b)
        angle = _angle(a, b)
        if math.pi - angle < SAME:
            raise InputError("opposite points have no single shortest way between them")
        across = b - (a * b).sum() * a
        length = torch.linalg.vector_norm(across)
        return across * (angle / length) if length > 0 else across

    @final
    def exponential(self, a: Tensor, tangent: Tensor) -> Tensor:
        """Point reached from ``a`` along a tangent: the logarithm's inverse."""
        a, tangent = _equally_wide(a, tangent)
        length = torch.linalg.vector_norm(tangent)
        return length.cos() * a + torch.sinc(length / math.pi) * tangent

    @final
    def geodesic(self, a: Tensor, b: Tensor, t: float) -> Tensor:
        """Point at share ``t`` of the shortest way from ``a`` to ``b``, beyond it if t > 1.

        Raises:
            InputError: opposite points.
        """
        return self.exponential(a, t * self.logarithm(a, b))

    @final
    def angle(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """Angle at ``b`` between the ways to ``a`` and to ``c``: pi is straight on, 0 is back.

        Raises:
            InputError: ``b`` is the same point as ``a`` or ``c``, or opposite.
        """
        ways = _equally_wide(self.logarithm(b, a), self.logarithm(b, c))
        lengths = [torch.linalg.vector_norm(way) for way in ways]
        if min(lengths) < SAME:
            raise InputError("an angle needs two ways, got a way between equal points")
        return _angle(ways[0] / lengths[0], ways[1] / lengths[1])

    @final
    def project(self, c: Tensor, a: Tensor, b: Tensor) -> Projection:
        """Find the point nearest to ``c`` on the shortest way from ``a`` to ``b``.

        Raises:
            InputError: ``a`` and ``b`` are equal or opposite.
        """
        a, way, c = _equally_wide(a, self.logarithm(a, b), c)
        whole = torch.linalg.vector_norm(way).item()
        if whole < SAME:
            raise InputError("a way needs two ends, got equal points")
        way, nearest, angle = way / whole, a, 0.0
        for _ in range(self.projection_steps):
            laid = self._lay(c, nearest)
            angle = math.atan2((laid * way).sum().item(), (laid * a).sum().item())
            # Past the point opposite to the middle of the way, its end is the nearer one.
            angle = whole if angle < whole / 2 - math.pi else min(max(angle, 0.0), whole)
            nearest = math.cos(angle) * a + math.sin(angle) * way
        return Projection(nearest, angle / whole, self.distance(c, nearest).item())

    def _aligned(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        if len(a) != len(b):
            raise InputError(f"points must be of the same inputs, got {len(a)} and {len(b)}")
        a, b = _equally_wide(a, b)
        return a, self._lay(b, a)

    @abstractmethod
    def _represent(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def _lay(self, b: Tensor, a: Tensor) -> Tensor: ...


CENTRINGS = {
    "u-centred": u_centred,
    "double-centred": double_centred,
    "off-diagonal": lambda gram: double_centred(gram).fill_diagonal_(0),
}


@final
@dataclass(frozen=True)
class AngularCKA(Sphere):
    """The space whose distance is the arc cosine of linear CKA.

    A point is a centred ``n x n`` Gram matrix.

    Args:
        centring: ``u-centred``, the arc cosine of ``unbiased_linear_cka``, for at least 4
            rows; ``double-centred``, of ``linear_cka``, never above pi / 2; ``off-diagonal``,
            the latter without its diagonal, as in the authors' code, nearly unbiased.

    Source:
        Lange et al. 2022, arXiv:2206.10999; Williams et al. 2021, arXiv:2110.14739.
    """

    centring: Literal["u-centred", "double-centred", "off-diagonal"] = "u-centred"

    least_rows: ClassVar[int] = 4

    def __post_init__(self) -> None:
        pick(CENTRINGS, self.centring, "centring")

    def _represent(self, x: Tensor) -> Tensor:
        return CENTRINGS[self.centring](x @ x.T)

    def _lay(self, b: Tensor, a: Tensor) -> Tensor:
        return b


@final
@dataclass(frozen=True)
class AngularShape(Sphere):
    """Representations up to rotation: the arc cosine of ``procrustes_similarity``.

    A point is a centred, scaled feature matrix; matrices that a rotation or reflection joins
    are the same point, and narrow ones are filled up with zeros.

    Args:
        whitening: How far principal components are brought to one deviation, from 0, not
            at all, to 1, which makes the space blind to invertible linear maps.
        dimensions: Principal components to keep, or ``None`` for all.

    Source:
        Williams et al. 2021, arXiv:2110.14739, Eq. 5 and 8.
    """

    whitening: float = 0.0
    dimensions: int | None = None

    projection_steps: ClassVar[int] = 50

    def __post_init__(self) -> None:
        if not 0 <= self.whitening <= 1:
            raise InputError(f"whitening must be between 0 and 1, got {self.whitening}")
        if self.dimensions is not None and self.dimensions < 1:
            raise InputError(f"dimensions must be at least 1, got {self.dimensions}")

    def _represent(self, x: Tensor) -> Tensor:
        x = full_rank(x)
        if self.whitening == 0 and self.dimensions is None:
            return x
        # Principal components are a rotation of the features: the same point.
        left, singular, _ = torch.linalg.svd(x, full_matrices=False)
        left, singular = left[:, : self.dimensions], singular[: self.dimensions]
        white = singular.square().mean().sqrt()
        return left * ((1 - self.whitening) * singular + self.whitening * white)

    def _lay(self, b: Tensor, a: Tensor) -> Tensor:
        # The nearest rotation is where the distance is stationary: no gradient through it.
        left, _, right = torch.linalg.svd(b.detach().T @ a.detach())
        return b @ (left @ right)


def _angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle between matrices of length 1; the arc cosine would lose half the digits near 0."""
    apart, together = torch.linalg.vector_norm(a - b), torch.linalg.vector_norm(a + b)
    return 2 * torch.atan2(apart, together)


def _equally_wide(*matrices: Tensor) -> tuple[Tensor, ...]:
    width = max(matrix.shape[1] for matrix in matrices)
    return tuple(
        torch.nn.functional.pad(matrix, (0, width - matrix.shape[1])) for matrix in matrices
    )
