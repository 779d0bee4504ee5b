"""Pictures in, a line each out."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from advdetect.guard import Guard


@pytest.fixture(scope="module")
def tampered(small_guard, small_attacks):
    """Pictures that the guard flags, also once saved with 8 bits."""
    result = next(r for r in small_attacks.results if r.attack == "linf_fmn")
    images = (result.adversarial[result.counted] * 255).round() / 255
    flagged = small_guard(images).flagged
    assert flagged.sum() > 3
    return images[flagged]


@pytest.fixture
def clean(small_guard, digits):
    """Pictures that the guard passes."""
    images = (digits["evaluation"].images[:30] * 255).round() / 255
    return images[~small_guard(images).flagged]


def lines(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_json_lines_hold_the_guards_verdicts(advdetect, small_guard_folder, pictures):
    result = advdetect("detect", small_guard_folder, pictures, "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    found = lines(result)
    assert [line["name"] for line in found] == [str(pictures / f"{i}.png") for i in range(10)]
    images = [np.array(Image.open(line["name"])) / np.float32(255) for line in found]
    verdicts = Guard.load(small_guard_folder)(torch.from_numpy(np.stack(images))[:, None])
    for i, line in enumerate(found):
        assert set(line) == {
            *("name", "label", "class_name", "confidence", "score", "p_value", "flagged"),
            "evidence",
        }
        assert line["label"] == verdicts.label[i].item()
        assert line["score"] == pytest.approx(verdicts.score[i].item(), abs=1e-3)
        assert line["flagged"] == (line["p_value"] <= 0.05)


def test_people_get_a_verdict_a_line(
    advdetect, small_guard_folder, save, clean, tampered, tmp_path
):
    good, bad = save(tmp_path / "good.png", clean[0]), save(tmp_path / "bad.png", tampered[0])
    result = advdetect("detect", small_guard_folder, good, bad)
    assert result.exit_code == 0, result.output
    first, second = result.stdout.splitlines()
    assert first.startswith("clean        p=0.")
    assert first.endswith(str(good))
    assert second.startswith("ADVERSARIAL  p=0.0")
    assert second.endswith(str(bad))


def test_exit_code_says_what_was_found(
    advdetect, small_guard_folder, save, clean, tampered, tmp_path
):
    good, bad = save(tmp_path / "good.png", clean[0]), save(tmp_path / "bad.png", tampered[0])
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"broken")
    expected = {
        (good,): 0,
        (good, bad): 3,
        (good, broken): 1,
        (bad, broken, good): 1,  # that something could not be read comes first
    }
    for paths, status in expected.items():
        result = advdetect("detect", small_guard_folder, *paths, "--exit-code")
        assert result.exit_code == status, paths
    assert advdetect("detect", small_guard_folder, bad).exit_code == 0


def truncated(path, image, save):
    save(path, image)
    path.write_bytes(path.read_bytes()[:80])


def nan(path, image, save):
    np.save(path, np.full((8, 8), np.nan, np.float32))


BROKEN = {
    "truncated.png": (truncated, "cannot be read: "),
    "text.png": (lambda path, image, save: path.write_text("text"), "no picture of a known form"),
    "empty.jpg": (lambda path, image, save: path.touch(), "no picture of a known format (PNG, JPE"),
    "small.png": (
        lambda path, image, save: save(path, image[:, :7]),
        "expected 8 x 8 pixels (height x width), got 7 x 8: ask for --resize to scale it",
    ),
    "colour.png": (
        lambda path, image, save: save(path, torch.cat([image, 1 - image, image])),
        "expected a grey picture, got a coloured one: convert it to grey",
    ),
    "nan.npy": (nan, "pixels must be finite, got NaN or infinity"),
    "large.npy": (
        lambda path, image, save: np.save(path, 255 * image.numpy()),
        "pixels must lie in [0, 1], got [0, 2",
    ),
    "objects.npy": (
        lambda path, image, save: np.save(path, np.array([{}]), allow_pickle=True),
        "cannot be read as an array file (.npy or .npz of numbers)",
    ),
    "bytes.npz": (lambda path, image, save: path.write_bytes(b"PK"), "cannot be read as an array"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_input_costs_a_line_and_the_status(
    advdetect, small_guard_folder, pictures, digits, save, tmp_path, name
):
    make, reason = BROKEN[name]
    make(tmp_path / name, digits["evaluation"].images[0], save)
    arguments = ["detect", small_guard_folder, pictures, tmp_path / name, pictures / "3.png"]
    result = advdetect(*arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert len(result.stdout.splitlines()) == 11
    first, last = result.stderr.splitlines()
    assert first.startswith(f"error: {tmp_path / name}"), first
    assert reason in first
    assert last == "1 input(s) could not be read"
    machine = advdetect(*arguments, "--json")
    assert machine.exit_code == 1
    found = lines(machine)
    assert [("error" in line) for line in found] == [False] * 10 + [True, False]
    assert reason in found[10]["error"]
    assert set(found[10]) == {"name", "error"}
    assert machine.stderr == "1 input(s) could not be read\n"


def test_grey_pictures_in_colour_lose_nothing(advdetect, small_guard_folder, save, clean, tmp_path):
    grey = save(tmp_path / "grey.png", clean[0])
    rgb = save(tmp_path / "rgb.png", clean[0].expand(3, -1, -1))
    first, second = lines(advdetect("detect", small_guard_folder, grey, rgb, "--json"))
    assert first["score"] == pytest.approx(second["score"], abs=1e-4)


def test_other_sizes_are_scaled_when_asked(advdetect, small_guard_folder, digits, save, tmp_path):
    large = digits["evaluation"].images[0].repeat_interleave(2, 1).repeat_interleave(2, 2)
    file = save(tmp_path / "large.png", large)
    assert advdetect("detect", small_guard_folder, file).exit_code == 1
    result = advdetect("detect", small_guard_folder, file, "--resize", "--json")
    assert result.exit_code == 0, result.output
    assert len(lines(result)) == 1


def test_arrays_are_judged_picture_by_picture(advdetect, small_guard_folder, digits, tmp_path):
    images = digits["evaluation"].images[:3].numpy()
    np.savez(tmp_path / "some.npz", images=images)
    np.save(tmp_path / "same.npy", images)
    result = advdetect(
        "detect", small_guard_folder, tmp_path / "some.npz", tmp_path / "same.npy", "--json"
    )
    assert result.exit_code == 0, result.output
    found = lines(result)
    names = [f"{tmp_path / file}[{i}]" for file in ("some.npz", "same.npy") for i in range(3)]
    assert [line["name"] for line in found] == names
    for first, second in zip(found[:3], found[3:], strict=True):
        assert first["score"] == pytest.approx(second["score"], abs=1e-4)


def test_a_list_on_standard_input(advdetect, small_guard_folder, pictures, tmp_path):
    text = f"{pictures}/1.png\n\n{tmp_path}/nothing.png\r\n{pictures}\n"
    result = advdetect("detect", small_guard_folder, "-", "--json", input=text)
    assert result.exit_code == 1
    found = lines(result)
    assert len(found) == 12
    assert found[1] == {"name": f"{tmp_path}/nothing.png", "error": "no such file or folder"}


def test_an_empty_list_is_nothing_to_judge(advdetect, small_guard_folder):
    result = advdetect("detect", small_guard_folder, "-", input="")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_a_shipped_models_guard_goes_by_the_models_name(advdetect, pictures, tmp_path):
    result = advdetect("detect", "fashion-resnet", pictures, "--resize", "--json")
    assert result.exit_code == 0, result.output
    assert {line["class_name"] for line in lines(result)} <= {
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker"),
        *("Bag", "Ankle boot"),
    }


def test_a_coloured_model_takes_grey_and_coloured_pictures(
    advdetect, own_models, digits, save, small_guard_folder
):
    options = ["--data", "digits", "--channels", "3", "--detector", "clean-only", "--out", "guard"]
    fitted = advdetect("fit", "my_models:coloured", *options)
    assert fitted.exit_code == 0, fitted.output
    image = digits["evaluation"].images[0]
    grey = save(own_models / "grey.png", image)
    colour = save(own_models / "colour.png", torch.cat([image, 1 - image, image]))
    result = advdetect("detect", "guard", grey, colour, "--json")
    assert result.exit_code == 0, result.output
    assert len(lines(result)) == 2
    shutil.rmtree("guard")


def test_names_that_are_no_text(small_guard_folder, pictures, tmp_path):
    folder = os.fsencode(tmp_path)
    for name in (b"fine.png", b"\xff\xfe.png"):
        shutil.copy(pictures / "0.png", os.path.join(folder, name))
    # As where the locale is strict of what is text.
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    command = [sys.executable, "-m", "advdetect", "detect", str(small_guard_folder)]
    listed = b"%s/\xff\xfe.png\n%s/fine.png\n" % (folder, folder)
    for paths, given in (([str(tmp_path)], b""), (["-"], listed)):
        for options in ([], ["--json"]):
            done = subprocess.run(
                [*command, *paths, *options],
                input=given,
                capture_output=True,
                env=environment,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, b"")
            assert done.stdout.count(b"\n") == 2
            assert b"\\udcff\\udcfe.png" in done.stdout
