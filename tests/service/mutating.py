"""Good requests, and random damage to them."""

import base64
import json
import struct
import zlib

from tests.service.pictures import encode

TOKENS = (b"[", b"{", b'"', b"-1", b"1e999", b"null", b"\r\n--x", b"\xff\xff", b"\0\0\0")
BOUNDARY = "multipart/form-data; boundary=x"
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def form(pictures):
    """A multipart body."""
    head = b'--x\r\nContent-Disposition: form-data; name="p"; filename="%d.png"\r\n\r\n%b\r\n'
    return b"".join(head % pair for pair in enumerate(pictures)) + b"--x--\r\n"


def good_requests(images, model):
    """Path, content type and body, of every kind: ``images`` are ``(1, h, w)`` each."""
    image = images[0]
    pictures = [encode(one) for one in images[:2]]
    tensor = {"name": "images", "datatype": "FP32", "shape": [1, *image.shape]}
    coded = base64.b64encode(pictures[0]).decode()
    mixed = {"inputs": [coded, {"name": "a", "pixels": image.tolist()}]}
    infer = {"id": "1", "inputs": [tensor | {"data": image.tolist()}], "outputs": []}
    alone = [
        ("/v1/detect?resize=true", f"image/{kind}", encode(image, kind.upper()))
        for kind in ("png", "jpeg", "webp", "bmp")
    ]
    return [
        *alone,
        ("/v1/detect", BOUNDARY, form(pictures)),
        ("/v1/detect", "application/json", json.dumps(mixed).encode()),
        (f"/v2/models/{model}/infer", "application/json", json.dumps(infer).encode()),
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
            changed[at:at] = generator.choice(TOKENS)
        else:
            for i in range(at, min(at + length, len(changed))):
                changed[i] ^= 1 << generator.randrange(8)
    if body.startswith(SIGNATURE) and generator.random() < 0.5:
        return with_checksums(bytes(changed))
    return bytes(changed)


def with_checksums(png):
    """A damaged PNG whose chunks have good checksums, so that damage goes deeper."""
    at, chunks = len(SIGNATURE), [png[: len(SIGNATURE)]]
    while at + 12 <= len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        content = png[at + 4 : at + 8 + length]
        if at + 12 + length > len(png):
            break
        chunks += [png[at : at + 4], content, struct.pack(">I", zlib.crc32(content))]
        at += 12 + length
    return b"".join([*chunks, png[at:]])
