"""The shapes of what the page is told."""

from typing import Literal

from pydantic import BaseModel

from advdetect.service.schemas import Judgement


class Sample(BaseModel):
    """A picture to begin with; ``eps`` in levels of 255, 0 for a clean one."""

    label: int
    class_name: str | None
    attack: str | None
    eps: int
    picture: str


class Samples(BaseModel):
    """Samples, or why there are none."""

    samples: list[Sample]
    reason: str | None


class Point(BaseModel):
    """A landmark's place."""

    x: float
    y: float
    label: int


class Map(BaseModel):
    """The guard, and its landmarks in the first two eigenvectors of their graph."""

    guard: str
    fingerprint: str
    input_shape: list[int]
    classes: list[str] | None
    false_alarm_rate: float
    calibrated_on: int
    layer: str | None
    points: list[Point]


class Neighbor(BaseModel):
    """A landmark near an input, with its picture where it is known."""

    label: int
    class_name: str | None
    similarity: float
    picture: str | None


class Layer(BaseModel):
    """The landmarks nearest in one layer."""

    layer: str
    nearest: list[Neighbor]


class Explanation(Judgement):
    """A verdict and what it rests on; pictures are ``data:`` URLs."""

    picture: str
    neighbors: list[Layer] | None
    pictures: Literal["looking", "found", "none"]
    place: tuple[float, float] | None


class Attacked(Explanation):
    """What an attack made of a picture; ``eps`` in levels of 255, ``distance`` in [0, 1]."""

    attack: str
    eps: int
    distance: float
    perturbation: str
