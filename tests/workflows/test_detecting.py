"""Judging inputs as they come."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from PIL import Image

from advdetect.errors import FileError
from advdetect.workflows.detecting import BATCH, Detection, detect


@pytest.fixture(scope="module")
def pictures(digits, tmp_path_factory):
    """More pictures than a batch, every tenth of them broken."""
    folder = tmp_path_factory.mktemp("pictures")
    for i, image in enumerate(digits["evaluation"].images[: BATCH + 10]):
        file = folder / f"{i:03d}.png"
        Image.fromarray((image[0].numpy() * 255).round().astype(np.uint8)).save(file)
        if i % 10 == 9:
            file.write_bytes(file.read_bytes()[:60])
    return folder


def test_verdicts_are_the_guards_own_and_in_order(small_guard, pictures):
    found = list(detect(small_guard, [str(pictures)]))
    assert [f.name for f in found] == [str(pictures / f"{i:03d}.png") for i in range(BATCH + 10)]
    good = [f for f in found if f.error is None]
    broken = [f for f in found if f.error is not None]
    assert [f.name[-7:-4] for f in broken] == [f"{i:03d}" for i in range(9, BATCH + 10, 10)]
    images = torch.stack(
        [torch.from_numpy(np.array(Image.open(f.name)) / np.float32(255))[None] for f in good]
    )
    verdicts = small_guard(images)
    for i, one in enumerate(good):
        assert one.label == verdicts.label[i].item()
        assert one.class_name == str(one.label)
        assert one.confidence == pytest.approx(verdicts.confidence[i].item(), rel=1e-4)
        assert one.score == pytest.approx(verdicts.score[i].item(), abs=1e-3)
        assert one.flagged == (one.p_value <= small_guard.false_alarm_rate)
        total = sum(one.evidence.values()) + float(small_guard.detector.intercept_[0])
        assert total == pytest.approx(one.score, abs=1e-6)


def test_pictures_are_read_as_they_are_judged(small_guard, pictures):
    taken = []

    def lines():
        for i in range(1000):
            taken.append(i)
            yield str(pictures / "000.png")

    found = detect(small_guard, ["-"], lines=lines())
    assert next(found).label is not None
    assert len(taken) == BATCH


def test_a_missing_path_stops_before_anything_is_judged(small_guard, pictures):
    with pytest.raises(FileError, match="nothing: no such file or folder"):
        next(detect(small_guard, [str(pictures), str(pictures / "nothing")]))


def test_only_broken_inputs_give_no_verdict(small_guard, pictures):
    (found,) = detect(small_guard, [str(pictures / "009.png")])
    assert found.to_json() == {"name": str(pictures / "009.png"), "error": found.error}


def test_a_detection_is_frozen_and_plain_json():
    verdict = Detection("a.png", 3, None, 0.5, 1.0, 0.2, False, {})
    with pytest.raises(FrozenInstanceError):
        verdict.flagged = True
    assert verdict.to_json() == {
        "name": "a.png",
        "label": 3,
        "class_name": None,
        "confidence": 0.5,
        "score": 1.0,
        "p_value": 0.2,
        "flagged": False,
        "evidence": {},
    }
