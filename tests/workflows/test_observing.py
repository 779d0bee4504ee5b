"""What is kept of judged inputs."""

import numpy as np
import torch

from advdetect.workflows.observing import observe
from advdetect.workflows.progress import untracked


def test_batches_make_no_difference(small_guard, digits):
    images = digits["evaluation"].images[:260]  # more than one batch
    seen = observe(small_guard, images, untracked, "judging")
    verdicts = small_guard(images)
    np.testing.assert_array_equal(seen.predicted, verdicts.label.numpy())
    np.testing.assert_allclose(seen.score, verdicts.score.numpy(), rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(seen.flagged, seen.p_value <= small_guard.false_alarm_rate)
    extractor = small_guard.extractor
    rows = extractor.rows(extractor.observe(small_guard.model, images))
    np.testing.assert_allclose(seen.rows, rows.double().numpy(), rtol=1e-4, atol=1e-4)
    assert seen.rows.shape == (260, len(extractor.columns))


def test_a_choice_of_inputs_keeps_everything_of_them(small_guard, digits):
    seen = observe(small_guard, digits["evaluation"].images[:20], untracked, "judging")
    keep = np.arange(20) % 3 == 0
    part = seen[keep]
    for name in ("rows", "predicted", "score", "p_value", "flagged"):
        np.testing.assert_array_equal(getattr(part, name), getattr(seen, name)[keep])


def test_progress_is_shown_by_batch(small_guard, digits):
    shown = []

    def track(items, description):
        shown.append((description, [len(item) for item in items]))
        return items

    observe(small_guard, digits["evaluation"].images[:260], track, "judging")
    assert shown == [("judging", [250, 10])]
    assert untracked([1, 2], "nothing") == [1, 2]
    assert torch.is_grad_enabled()
