"""Bodies with random damage: a client's error each time, never the service's."""

import json
import random

import pytest

from tests.service.pictures import encode

TOKENS = (b"[", b"{", b'"', b"-1", b"1e999", b"null", b"\r\n--x", b"\xff\xff", b"\0\0\0")
BOUNDARY = "multipart/form-data; boundary=x"


def form(pictures):
    head = b'--x\r\nContent-Disposition: form-data; name="p"; filename="%d.png"\r\n\r\n%b\r\n'
    return b"".join(head % pair for pair in enumerate(pictures)) + b"--x--\r\n"


@pytest.fixture(scope="module")
def seeds(sent):
    """Good requests: path, content type, body."""
    image = sent.images[0]
    tensor = {"name": "images", "datatype": "FP32", "shape": [1, 1, 8, 8]}
    mixed = {"inputs": [sent.base64[0], {"name": "a", "pixels": image.tolist()}]}
    infer = {"id": "1", "inputs": [tensor | {"data": image.tolist()}], "outputs": []}
    pictures = [
        ("/v1/detect?resize=true", f"image/{kind}", encode(image, kind.upper()))
        for kind in ("png", "jpeg", "webp", "bmp")
    ]
    return [
        *pictures,
        ("/v1/detect", BOUNDARY, form(sent.pictures[:2])),
        ("/v1/detect", "application/json", json.dumps(mixed).encode()),
        ("/v2/models/small/infer", "application/json", json.dumps(infer).encode()),
    ]


def mutate(body, generator):
    """Change, drop, repeat or insert a few bytes; at times those that mean something."""
    changed = bytearray(body)
    for _ in range(generator.choice((1, 1, 2, 4, 16))):
        at = generator.randrange(len(changed) + 1)
        length = generator.choice((1, 1, 2, 4, 64))
        kind = generator.randrange(5)
        if kind == 0:
            changed[at : at + length] = generator.randbytes(length)
        elif kind == 1:
            del changed[at : at + length]
        elif kind == 2:
            changed[at:at] = changed[at : at + length]
        elif kind == 3:
            tokens = (
                b"[",
                b"{",
                b'"',
                b"-1",
                b"1e999",
                b"null",
                b"\r\n--x",
                b"\xff\xff",
                b"\0\0\0",
            )
            changed[at:at] = generator.choice(tokens)
        else:
            for i in range(at, min(at + length, len(changed))):
                changed[i] ^= 1 << generator.randrange(8)
    return bytes(changed)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as the server itself ignores them
def test_no_damage_is_the_services_fault(server, seeds):
    generator = random.Random(0)
    statuses = []
    for i in range(400):
        path, kind, body = seeds[i % len(seeds)]
        response = server.client.post(
            path, content=mutate(body, generator), headers={"Content-Type": kind}
        )
        statuses.append(response.status_code)
        assert response.status_code in (200, 400, 413, 422), (i, response.text)
        assert response.json()
    assert {200, 400, 422} <= set(statuses)
    assert server.service.bytes_held == 0
    path, kind, body = seeds[0]
    assert server.client.post(path, content=body, headers={"Content-Type": kind}).is_success
