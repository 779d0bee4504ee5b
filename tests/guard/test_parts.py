"""Every source image serves one purpose, and only attacks that succeeded are fitted on."""

from dataclasses import replace

import pytest
import torch

from advdetect.attacks import AttackRun
from advdetect.attacks.running import fingerprints
from advdetect.errors import InputError
from advdetect.guard import Guard
from advdetect.guard.parts import feature_rows, fitting_rows, part_images


@pytest.fixture(scope="module")
def clean():
    """A hundred pictures, of which the last ten are copies of the first."""
    images = torch.rand(90, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return torch.cat([images, images[:10]])


def sources(images):
    return set(fingerprints(images).tolist())


def attacks_on(run, images):
    """The same results, as if made from other images."""
    source = fingerprints(images)
    return AttackRun(run.suite, 0, tuple(replace(r, source=source) for r in run.results))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_source_image_serves_one_purpose(clean, seed):
    parts = part_images(clean, None, None, seed)
    found = [sources(clean[parts.reference]), sources(clean[parts.fitting])]
    found.append(sources(parts.calibration))
    assert len(set.union(*found)) == sum(map(len, found)) == 90
    assert len(found[2]) == 27  # 30 % of the distinct images
    assert len(found[0]) == round(0.4 * 63)
    assert not parts.reference.logical_and(parts.fitting).any()
    assert set(parts.reserved.tolist()) == found[0] | found[2]


def test_another_seed_holds_back_others(clean):
    first, again, other = (part_images(clean, None, None, seed).calibration for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert sources(first) != sources(other)


def test_calibration_images_that_are_given_are_taken_out_of_the_rest(clean):
    given = clean[:30]  # the last ten are copies of ten of these
    parts = part_images(clean, None, given, 0)
    assert torch.equal(parts.calibration, given)
    used = clean[parts.reference | parts.fitting]
    assert len(used) == 60
    assert not sources(used) & sources(given)


def test_features_learn_from_images_that_were_not_attacked(clean, small_attacks):
    few = attacks_on(small_attacks, clean[40:60])
    parts = part_images(clean, few, clean[60:80], 0)
    assert parts.reference.any()
    assert not sources(clean[parts.reference]) & sources(clean[40:60])
    assert parts.fitting[40:60].all()


def test_with_every_image_attacked_some_are_given_up_for_the_features(clean, small_attacks):
    parts = part_images(clean, attacks_on(small_attacks, clean), clean[60:80], 0)
    assert len(sources(clean[parts.reference])) == round(0.4 * 70)


@pytest.mark.parametrize(
    ("images", "calibration", "message"),
    [
        (slice(0, 3), None, "3 clean images are too few to fit a guard: give at least a few hun"),
        (slice(0, 20), slice(0, 20), "20 clean images are too few to fit a guard"),
    ],
)
def test_says_when_images_are_too_few(clean, images, calibration, message):
    given = None if calibration is None else clean[calibration]
    with pytest.raises(InputError, match=message):
        part_images(clean[images], None, given, 0)


def test_says_when_calibration_images_have_another_shape(clean):
    with pytest.raises(InputError, match=r"expected images of shape \(1, 4, 4\)"):
        part_images(clean, None, torch.rand(30, 1, 5, 5), 0)


def test_only_successful_attacks_on_images_kept_for_fitting_become_rows(
    small_guard, small_attacks, digits
):
    model, extractor = small_guard.model, small_guard.extractor
    images = digits["reference"].images
    reserved = fingerprints(images[:40])
    rows = fitting_rows(
        model, extractor, images[40:60], small_attacks, reserved, lambda items, text: items
    )
    assert rows.budgets == ("linf_fgsm 8/255", "linf_pgd 8/255", "linf_fmn")
    for i, result in enumerate(small_attacks.results[:3]):
        assert str(result.budget) == rows.budgets[i]
        right = result.clean_prediction == result.labels
        wrong = result.prediction != result.labels
        kept = [j for j in range(150) if right[j] and wrong[j] and j >= 40]
        assert 0 < len(kept) < 110  # some attacks failed
        expected, predicted = feature_rows(
            model, extractor, result.adversarial[kept], lambda items, text: items, ""
        )
        mine = rows.origin == 1 + i
        torch.testing.assert_close(rows.rows[mine], expected, rtol=1e-3, atol=1e-3)
        assert torch.equal(rows.predicted[mine], predicted)
    assert int((rows.origin == 0).sum()) == 20


def test_a_guard_is_not_fitted_on_noise_or_on_attacks_that_failed(small, digits, small_attacks):
    def part(run, keep):
        return AttackRun(run.suite, 0, tuple(r for r in run.results if keep(r)))

    failed = tuple(
        replace(r, prediction=r.labels, success=torch.zeros(len(r), dtype=torch.bool))
        for r in small_attacks.results
    )
    for run in (part(small_attacks, lambda r: r.control), AttackRun("quick", 0, failed)):
        with pytest.raises(InputError, match="no attack of the run succeeded on an image kept for"):
            Guard.fit(
                small.module,
                digits["reference"].images,
                run,
                calibration_images=digits["calibration"].images,
            )
