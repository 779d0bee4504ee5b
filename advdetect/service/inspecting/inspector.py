"""A guard looked into: verdicts with their reasons, samples, attacks; on a copy of its own."""

import copy
import dataclasses
import threading
from functools import cached_property
from typing import Any

from torch import Tensor

from advdetect import data
from advdetect.service.inspecting.attacking import AttackName, amplified, attack_one
from advdetect.service.inspecting.embedded import fitting_data, why_none
from advdetect.service.inspecting.encoding import data_url
from advdetect.service.inspecting.finding import LandmarkPictures
from advdetect.service.inspecting.landmarks import Landmarks
from advdetect.service.inspecting.samples import ATTACK, make_samples
from advdetect.service.served import Served


class Inspector:
    """Looks into one served guard.

    It has a copy of the model, so that what the page asks for (attacks want gradients) never
    touches the one that judges traffic, nor waits for it. All that it says goes past the books:
    it is no traffic.

    Args:
        served: The guard in service.
    """

    def __init__(self, served: Served) -> None:
        self.of = served
        self._guard = dataclasses.replace(served.guard, model=copy.deepcopy(served.guard.model))
        self._served = dataclasses.replace(served, guard=self._guard, alone=threading.Lock())

    def explain(self, image: Tensor) -> dict[str, Any]:
        """The verdict of ``(c, h, w)`` pixels, its neighbours, and its place."""
        (judged,) = self._served.judge([image])
        answer: dict[str, Any] = {
            **judged.verdict,
            "false_alarm_rate": self._guard.false_alarm_rate,
            "guard": self.of.fingerprint,
            "picture": data_url(image),
            "neighbors": None,
            "pictures": "none",
            "place": None,
        }
        shown = self.shown
        if shown is not None:
            observation = self._guard.extractor.observe(self._guard.model, image[None])
            answer["neighbors"] = [
                {"layer": layer, "nearest": [self._landmark(shown, *one) for one in found]}
                for layer, found in shown.landmarks.nearest(observation).items()
            ]
            answer["pictures"] = shown.state
            answer["place"] = shown.landmarks.place(observation)
        return answer

    def attack(self, image: Tensor, attack: AttackName, levels: int) -> dict[str, Any]:
        """Attack a picture, and explain what comes of it."""
        attacked = attack_one(self._guard, image, attack, levels)
        difference = attacked - image
        return {
            **self.explain(attacked),
            "attack": attack,
            "eps": levels,
            "distance": float(difference.abs().max()),
            "perturbation": data_url(amplified(difference, levels)),
        }

    @cached_property
    def shown(self) -> LandmarkPictures | None:
        """The landmarks, if the guard keeps any, and their pictures, as far as they are found."""
        landmarks = Landmarks.of(self._guard)
        if landmarks is None:
            return None
        source = None if self._data is None else data.load(self._data, split="reference")
        return LandmarkPictures(self._guard, landmarks, source)

    def look_on(self) -> bool:
        """Look for pictures of landmarks a little longer; whether there is more to look through."""
        return self.shown is not None and self.shown.look_on()

    @cached_property
    def samples(self) -> dict[str, Any]:
        """Pictures to begin with, or why there are none."""
        if self._data is None:
            return {"samples": [], "reason": why_none(self._guard)}
        samples = [
            {
                "label": sample.label,
                "class_name": self._class_name(sample.label),
                "attack": ATTACK if sample.levels else None,
                "eps": sample.levels,
                "picture": data_url(sample.image),
            }
            for sample in make_samples(self._guard, self._data)
        ]
        return {"samples": samples, "reason": None}

    @cached_property
    def map(self) -> dict[str, Any]:
        """The landmarks as points, and what the page needs to know of the guard."""
        guard = self._guard
        landmarks = None if self.shown is None else self.shown.landmarks
        points = []
        if landmarks is not None and landmarks.embedding is not None:
            labels = landmarks.classes[landmarks.drawn].tolist()
            places = landmarks.embedding.coordinates.tolist()
            points = [
                {"x": x, "y": y, "label": label}
                for label, (x, y) in zip(labels, places, strict=True)
            ]
        return {
            "guard": self.of.name,
            "fingerprint": self.of.fingerprint,
            "input_shape": list(guard.input_shape),
            "classes": guard.about.get("classes"),
            "false_alarm_rate": guard.false_alarm_rate,
            "calibrated_on": len(guard.calibration.scores),
            "layer": landmarks.layers[-1] if landmarks is not None else None,
            "points": points,
        }

    @cached_property
    def _data(self) -> str | None:
        return fitting_data(self._guard)

    def _landmark(self, shown: LandmarkPictures, row: int, similarity: float) -> dict[str, Any]:
        label = int(shown.landmarks.classes[row])
        image = shown.picture(row)
        return {
            "label": label,
            "class_name": self._class_name(label),
            "similarity": similarity,
            "picture": None if image is None else data_url(image),
        }

    def _class_name(self, label: int) -> str | None:
        classes = self._guard.about.get("classes") or ()
        return classes[label] if label < len(classes) else None
