"""Pictures moved, blurred and stored, against values worked out by hand."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from advdetect.attacks import Budget, attack, attack_chunk
from advdetect.attacks.changes import CHANGES, half_pixel, jpeg
from advdetect.errors import InputError


def test_half_a_pixel_is_the_mean_of_four():
    image = torch.tensor([[0.0, 1.0], [0.5, 0.25]]).view(1, 1, 2, 2)
    expected = torch.tensor([[0.0, 0.5], [0.25, 0.4375]]).view(1, 1, 2, 2)
    torch.testing.assert_close(half_pixel(image), expected)


def test_half_a_pixel_twice_is_a_whole_one_of_a_smooth_picture():
    ramp = torch.linspace(0, 1, 9).expand(1, 3, 9, 9)
    moved = half_pixel(half_pixel(ramp))
    torch.testing.assert_close(moved[..., 2:], ramp[..., 1:-1])


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_what_a_file_holds(channels):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, channels, 16, 16, generator=generator)
    levels = (images[1] * 255).round().byte().permute(1, 2, 0).numpy()
    file = BytesIO()
    Image.fromarray(levels.squeeze() if channels == 1 else levels).save(file, "JPEG", quality=90)
    read = np.asarray(Image.open(file)).reshape(levels.shape)
    found = jpeg(images)
    assert torch.equal((found[1].permute(1, 2, 0) * 255).round().byte(), torch.tensor(read))
    assert 0 < (found - images).abs().mean() < 0.2


def test_jpeg_holds_grey_and_colour_alone():
    with pytest.raises(InputError, match="JPEG holds 1 or 3 channels, got 2"):
        jpeg(torch.rand(1, 2, 8, 8))


def test_a_change_is_a_control_that_is_as_large_as_it_is(known):
    for name in CHANGES:
        found = attack_chunk(known.model, known.images, known.labels, Budget(name), seed=0)
        assert (found.distance > 0).all()
        with pytest.raises(InputError, match=f"{name} takes no eps: it is as large as it is"):
            attack_chunk(known.model, known.images, known.labels, Budget(name, 0.1), seed=0)


def test_what_is_stored_as_jpeg_is_judged_by_what_was_read_again(known):
    found = attack_chunk(
        known.model, known.images, known.labels, Budget("linf_pgd_jpeg", 0.3), seed=0
    )
    levels = found.adversarial * 255
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-4)
    assert torch.equal(found.prediction, known.model(found.adversarial).argmax(1))
    assert torch.equal(found.success, found.prediction != known.labels)


def test_an_eps_for_a_suite_leaves_changes_as_they_are(known):
    run = attack(known.model, known.images, known.labels, suite="fine", norm="l2", eps=0.2)
    eps = {str(result.attack): result.eps for result in run.results}
    assert eps["l2_pgd"] == eps["l2_deepfool"] == 0.2
    assert {eps[name] for name in CHANGES} == {None}
