"""advdetect serve without its page; with it, the other tests of the service have it."""

import httpx

from tests.cli.test_serve import Started


def test_the_page_can_be_left_out(small_guard_folder):
    with Started(small_guard_folder, "--no-page") as started:
        for path in ("/", "/page/main.js", "/v1/samples", "/v1/landmarks", "/v1/traffic"):
            assert httpx.get(started.url + path, timeout=20).status_code == 404, path
        assert started.end() == 0
