"""Attacks that know the guard: they fool the classifier and look clean to the detector."""

from advdetect.attacks.knowing.running import KnowingResult, evade_chunk, join_knowing
from advdetect.attacks.knowing.tables import ADAPTIVE, EPS, KNOWING, Effort
from advdetect.attacks.knowing.target import Answers, Look, Target

__all__ = [
    "ADAPTIVE",
    "EPS",
    "KNOWING",
    "Answers",
    "Effort",
    "KnowingResult",
    "Look",
    "Target",
    "evade_chunk",
    "join_knowing",
]
