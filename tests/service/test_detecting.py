"""Pictures in over HTTP, verdicts out; what is broken costs only itself."""

import base64
import json
import struct
import zlib

import numpy as np
import pytest
import torch

from advdetect.guard import Guard
from advdetect.workflows.guards import load_guard_once
from tests.service.pictures import encode

FIELDS = {
    *("name", "label", "class_name", "confidence", "score", "p_value", "flagged", "evidence"),
    *("false_alarm_rate", "guard", "milliseconds"),
}


def agrees(result, sent, i):
    assert result["label"] == sent.labels[i]
    assert result["score"] == pytest.approx(sent.scores[i], abs=1e-3)
    assert result["p_value"] == pytest.approx(sent.p_values[i], abs=0.02)
    assert result["flagged"] == (result["p_value"] <= 0.05)


def test_several_pictures_in_one_form(server, sent, small_guard, small_guard_folder):
    files = [("picture", (f"{i}.png", picture)) for i, picture in enumerate(sent.pictures[:8])]
    response = server.client.post("/v1/detect", files=files)
    assert response.status_code == 200, response.text
    results = response.json()["results"]
    assert [result["name"] for result in results] == [f"{i}.png" for i in range(8)]
    for i, result in enumerate(results):
        assert set(result) == FIELDS
        agrees(result, sent, i)
        assert result["class_name"] == str(result["label"])
        assert result["false_alarm_rate"] == 0.05
        assert result["guard"] == load_guard_once(str(small_guard_folder))[1]
        assert set(result["milliseconds"]) == {"decode", "wait", "forward", "detect", "total"}
    evidence = small_guard(sent.images[:1]).evidence
    assert results[0]["evidence"].keys() == evidence.keys()
    for layer, part in evidence.items():
        assert results[0]["evidence"][layer] == pytest.approx(part.item(), abs=1e-3)


def test_a_guard_that_takes_passes_back_is_served(start, small, digits, sent, tmp_path):
    images = digits["reference"].images[:300]
    guard = Guard.fit(
        small.module, images, detector="clean-only", passes=3, gradient=True, units=64
    )
    guard.architecture = small.architecture
    guard.save(tmp_path / "guard")
    with start(tmp_path / "guard") as running:
        response = running.client.post(
            "/v1/detect", content=sent.pictures[0], headers={"Content-Type": "image/png"}
        )
    assert response.status_code == 200, response.text
    (result,) = response.json()["results"]
    assert result["score"] == pytest.approx(guard(sent.images[:1]).score.item(), abs=1e-3)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "bmp"])
def test_a_raw_picture_of_each_format(server, sent, kind):
    content = encode(sent.images[0], kind.upper())
    response = server.client.post(
        "/v1/detect", content=content, headers={"Content-Type": f"image/{kind}"}
    )
    assert response.status_code == 200, response.text
    (result,) = response.json()["results"]
    assert result["name"] == "input[0]"
    if kind != "jpeg":  # which changes pixels
        agrees(result, sent, 0)


def test_json_with_base64_arrays_and_names(server, sent):
    pixels = sent.images[3].tolist()
    inputs = [
        sent.base64[0],
        {"name": "one", "picture": sent.base64[1]},
        {"pixels": sent.images[2, 0].tolist()},
        pixels,
        np.moveaxis(sent.images[4].numpy(), 0, 2).tolist(),
    ]
    response = server.client.post("/v1/detect", json={"inputs": inputs})
    assert response.status_code == 200, response.text
    results = response.json()["results"]
    assert [r["name"] for r in results] == ["input[0]", "one", "input[2]", "input[3]", "input[4]"]
    for i, result in enumerate(results):
        agrees(result, sent, i)


def test_other_sizes_are_scaled_when_asked(server, sent):
    large = encode(sent.images[0].repeat_interleave(2, 1).repeat_interleave(2, 2))
    headers = {"Content-Type": "image/png"}
    refused = server.client.post("/v1/detect", content=large, headers=headers)
    assert refused.status_code == 422
    (result,) = refused.json()["results"]
    assert result["error"] == {
        "reason": "size",
        "message": "expected 8 x 8 pixels (height x width), got 16 x 16: "
        "ask for ?resize=true to scale it",
    }
    scaled = server.client.post("/v1/detect?resize=true", content=large, headers=headers)
    assert scaled.status_code == 200, scaled.text


def chunk(kind, content):
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def bomb(width, height):
    """A PNG of many pixels and few bytes."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * min(height, 2000)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def gif(image):
    return encode(image, "GIF")


# Each: the input in JSON, made from a good picture's pixels; reason; start of the message.
BROKEN = {
    "no base64": (lambda x: "...", "input", "the picture is no base64"),
    "empty": (lambda x: "", "format", "no picture of the format expected (PNG, JPEG, WEBP, BMP)"),
    "text": (lambda x: text(b"text"), "format", "no picture of the format expected"),
    "gif": (lambda x: text(gif(x)), "format", "no picture of the format expected"),
    "cut off": (lambda x: text(encode(x)[:80]), "damaged", "the picture is damaged or cut off"),
    "small": (lambda x: text(encode(x[:, :7])), "size", "expected 8 x 8 pixels (height x width)"),
    "coloured": (
        lambda x: text(encode(torch.cat([x, 1 - x, x]))),
        "pixels",
        "expected a grey picture, got a coloured one",
    ),
    "bomb": (
        lambda x: text(bomb(2000, 2000)),
        "too-many-pixels",
        "a picture may have 10000 pixels at most",
    ),
    "great bomb": (
        lambda x: text(bomb(60000, 60000)),
        "too-many-pixels",
        "a picture may have 10000 pixels at most",
    ),
    "number": (lambda x: 3, "input", "expected base64 of a picture, or nested numbers"),
    "null": (lambda x: None, "input", "expected base64 of a picture, or nested numbers"),
    "both": (
        lambda x: {"picture": "", "pixels": []},
        "input",
        'expected either "picture" or "pixels"',
    ),
    "neither": (lambda x: {"name": "x"}, "input", 'expected either "picture" or "pixels"'),
    "unknown": (lambda x: {"pixels": [], "colour": 1}, "input", 'expected either "picture"'),
    "ragged": (lambda x: [[0], [0, 1]], "pixels", "expected nested lists of numbers"),
    "words": (lambda x: [["0.5"]], "pixels", "expected nested lists of numbers"),
    "huge number": (lambda x: [[10**400]], "pixels", "expected nested lists of numbers"),
    "infinite": (
        lambda x: [[1e300] * 8] * 8,
        "pixels",
        "pixels must be finite, got NaN or infinity",
    ),
    "grey levels": (lambda x: (255 * x).tolist(), "pixels", "pixels must lie in [0, 1], got [0, 2"),
    "empty list": (lambda x: [], "pixels", "expected pictures as"),
    "several": (lambda x: [x.tolist()] * 2, "pixels", "expected one picture, got 2"),
    "two axes too many": (lambda x: [[x.tolist()]], "pixels", "expected pictures as"),
}


def text(content):
    return base64.b64encode(content).decode()


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_input_among_others_costs_itself(server, sent, name):
    make, reason, message = BROKEN[name]
    before = server.metrics().get(f'advdetect_rejected_inputs_total{{reason="{reason}"}}', 0)
    inputs = [sent.base64[0], make(sent.images[5]), sent.base64[1]]
    response = server.client.post(
        "/v1/detect", content=json.dumps({"inputs": inputs}), headers=JSON
    )
    assert response.status_code == 200, response.text
    first, broken, last = response.json()["results"]
    agrees(first, sent, 0)
    agrees(last, sent, 1)
    assert set(broken) == {"name", "error"}
    assert broken["error"]["reason"] == reason
    assert broken["error"]["message"].startswith(message), broken
    after = server.metrics()[f'advdetect_rejected_inputs_total{{reason="{reason}"}}']
    assert after == before + 1
    alone = server.client.post(
        "/v1/detect", content=json.dumps({"inputs": inputs[1:2]}), headers=JSON
    )
    assert alone.status_code == 422
    assert alone.json()["results"][0]["error"] == broken["error"]


JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=x"}

# Each: headers, body, status, reason, start of the message.
REFUSED = {
    "no content type": ({}, b"x", 415, "content-type", "expected multipart/form-data, application"),
    "text": ({"Content-Type": "text/plain"}, b"x", 415, "content-type", "expected multipart"),
    "form": (
        {"Content-Type": "application/x-www-form-urlencoded"},
        b"x=1",
        415,
        "content-type",
        "expected multipart/form-data",
    ),
    "gif": ({"Content-Type": "image/gif"}, b"GIF89a", 415, "content-type", "expected multipart"),
    "svg": ({"Content-Type": "image/svg+xml"}, b"<svg/>", 415, "content-type", "expected multi"),
    "no json": (JSON, b"{", 400, "body", "the body is no JSON"),
    "no text": (JSON, b"\xff\xfe", 400, "body", "the body is no JSON"),
    "nan": (JSON, b'{"inputs": [[NaN]]}', 400, "body", "the body is no JSON"),
    "many digits": (JSON, b"[" + b"1" * 5000 + b"]", 400, "body", "the body is no JSON"),
    "deep": (JSON, b"[" * 50 + b"]" * 50, 400, "depth", "JSON may nest 16 levels"),
    "very deep": (JSON, b"[" * 100_000, 400, "depth", "JSON may nest 16 levels"),
    "list": (JSON, b"[]", 400, "body", 'expected {"inputs": [...]}'),
    "no inputs": (JSON, b"{}", 400, "body", 'expected {"inputs": [...]}'),
    "empty": (JSON, b'{"inputs": []}', 400, "empty", "expected at least one input, got none"),
    "many": (JSON, b'{"inputs": [0,0,0,0,0,0,0,0,0]}', 413, "inputs", "at most 8 inputs a request"),
    "no boundary": (
        {"Content-Type": "multipart/form-data"},
        b"x",
        400,
        "body",
        "the content type names no boundary",
    ),
    "no parts": (FORM, b"hello", 400, "body", "the multipart body is damaged or cut off"),
    "cut off": (
        FORM,
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nhel',
        400,
        "body",
        "the multipart body is damaged or cut off",
    ),
    "many parts": (
        FORM,
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nh\r\n' * 9 + b"--x--\r\n",
        413,
        "inputs",
        "at most 8 inputs a request",
    ),
    "compressed": (
        JSON | {"Content-Encoding": "gzip"},
        b"x",
        415,
        "content-encoding",
        "expected a body that is not compressed",
    ),
    "large": (JSON, b" " * 200_001, 413, "bytes", "a request may have 200000 bytes at most"),
    "twice as large": (JSON, b" " * 500_000, 413, "bytes", "a request may have 200000 bytes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_request(server, name):
    headers, body, status, reason, message = REFUSED[name]
    response = server.client.post("/v1/detect", content=body, headers=headers)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error"}
    assert response.json()["error"]["reason"] == reason
    assert response.json()["error"]["message"].startswith(message), response.text


def test_a_body_of_unknown_length_has_limits_too(server):
    response = server.client.post(
        "/v1/detect", content=(b" " * 10_000 for _ in range(30)), headers=JSON
    )
    assert response.status_code == 413
    assert response.json()["error"]["reason"] == "bytes"
    assert server.service.bytes_held == 0


def test_parts_say_what_they_are(server, sent):
    files = [
        ("picture", ("good.png", sent.pictures[0], "image/png")),
        ("picture", ("page.svg", b"<svg/>", "image/svg+xml")),
        ("picture", ("lie.jpg", sent.pictures[1], "image/jpeg")),
        ("picture", ("../../etc/name", sent.pictures[2])),
    ]
    results = server.client.post("/v1/detect", files=files).json()["results"]
    agrees(results[0], sent, 0)
    assert results[1]["error"]["reason"] == "content-type"
    message = "no picture of the format expected (JPEG)"
    assert results[2]["error"] == {"reason": "format", "message": message}
    agrees(results[3], sent, 2)


def test_a_parameter_that_is_none(server, sent):
    response = server.client.post(
        "/v1/detect?resize=perhaps",
        content=sent.pictures[0],
        headers={"Content-Type": "image/png"},
    )
    assert response.status_code == 400
    assert response.json() == {"error": {"reason": "parameter", "message": "not valid: resize"}}


def test_a_name_of_half_characters(server, sent):
    body = b'{"inputs": [{"name": "\\ud800", "picture": "%b"}]}' % sent.base64[0].encode()
    response = server.client.post("/v1/detect", content=body, headers=JSON)
    assert response.status_code == 200
    assert response.json()["results"][0]["name"] == "?"


@pytest.mark.parametrize("parameter", [b"name*=nonsense''%ff", b"name=\xff\xfe", b"nam\xe9=x", b""])
def test_a_part_without_a_readable_name(server, sent, parameter):
    head = b"--x\r\nContent-Disposition: form-data; %b\r\n\r\n" % parameter
    body = head + sent.pictures[0] + b"\r\n--x--\r\n"
    response = server.client.post("/v1/detect", content=body, headers=FORM)
    assert response.status_code == 200, response.text
    agrees(response.json()["results"][0], sent, 0)
