"""Bodies with random damage: a client's error each time, never the service's."""

import random
import struct
import zlib

import pytest

from tests.service.mutating import good_requests, mutate, with_checksums
from tests.service.pictures import encode


def test_a_repaired_checksum_fits_its_damaged_chunk(sent):
    png = bytearray(encode(sent.images[0]))
    png[20] ^= 1  # in the width
    repaired = with_checksums(bytes(png))
    assert repaired != bytes(png)
    assert struct.unpack(">I", repaired[29:33]) == (zlib.crc32(repaired[12:29]),)
    assert with_checksums(encode(sent.images[0])) == encode(sent.images[0])


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as the server itself ignores them
def test_no_damage_is_the_services_fault(server, sent):
    generator = random.Random(0)
    requests = good_requests(sent.images, "small")
    statuses = []
    for i in range(400):
        path, kind, body = requests[i % len(requests)]
        response = server.client.post(
            path, content=mutate(body, generator), headers={"Content-Type": kind}
        )
        statuses.append(response.status_code)
        assert response.status_code in (200, 400, 413, 422), (i, response.text)
        assert response.json()
    assert {200, 400, 422} <= set(statuses)
    assert server.service.bytes_held == 0
    path, kind, body = requests[0]
    assert server.client.post(path, content=body, headers={"Content-Type": kind}).is_success
