"""A server of the small guard, in a thread, asked over real connections."""

import asyncio
import base64
import threading
import time
from types import SimpleNamespace

import httpx
import pytest

from advdetect.service.running import bind, run
from advdetect.service.served import Served
from advdetect.service.settings import Settings
from tests.service.pictures import encode


class Running:
    """A server in a thread: ``url``, ``service``, and a client for it."""

    def __init__(self, name, headers=None, **settings):
        self.settings = Settings(port=0, **settings)
        self.listening = bind(self.settings)
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.client = httpx.Client(base_url=self.url, headers=headers, timeout=30)
        self._name = str(name)
        self._served = Served.load(self._name)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self):
        await run(self._served, self.settings, self._name, self.listening, self._started)

    def _started(self, server):
        self.server, self.service = server, server.service

    def __enter__(self):
        self._thread.start()
        for _ in range(1000):
            try:
                if self.client.get("/readyz").status_code == 200:
                    return self
            except httpx.TransportError:
                pass
            time.sleep(0.02)
        raise AssertionError("the server did not become ready")

    def stop(self):
        self.server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()

    def __exit__(self, *_):
        self.client.close()
        self.stop()
        self.listening.close()

    def metrics(self):
        """The books: ``{sample: value}``."""
        lines = self.client.get("/metrics").text.splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


@pytest.fixture(scope="session")
def start(small_guard_folder):
    """``with start(**settings) as server``: another server of the small guard."""
    return lambda name=small_guard_folder, **options: Running(name, **options)


@pytest.fixture(scope="module")
def server(start):
    """One server for the tests of a file that leave it as it is."""
    with start(max_bytes=200_000, max_inputs=8, max_queue=64, max_pixels=10_000) as running:
        yield running


@pytest.fixture(scope="session")
def sent(digits, small_guard):
    """Ten digits: their bytes as PNG, pixels of 8 bits, and what the guard says of each alone."""
    images = (digits["evaluation"].images[:10] * 255).round() / 255
    verdicts = [small_guard(image[None]) for image in images]
    pictures = [encode(image) for image in images]
    return SimpleNamespace(
        images=images,
        pictures=pictures,
        base64=[base64.b64encode(picture).decode() for picture in pictures],
        scores=[v.score.item() for v in verdicts],
        labels=[v.label.item() for v in verdicts],
        p_values=[v.p_value.item() for v in verdicts],
    )
