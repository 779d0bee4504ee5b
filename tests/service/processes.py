"""advdetect serve as a process, and its books."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx


def wait_until(holds):
    for _ in range(3000):
        if found := holds():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come to be")


class Started:
    """A server process: ``url`` once it says so, and all that it said."""

    def __init__(self, *arguments, stderr=subprocess.PIPE, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "advdetect", "serve", "--port", "0", *map(str, arguments)],
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )
        self.lines = []
        said = self.process.stderr or ()
        self.reading = threading.Thread(target=self.lines.extend, args=(said,))
        self.reading.start()

    def wait_for(self, pattern):
        for _ in range(1200):
            for line in self.lines:
                if found := re.search(pattern, line):
                    return found
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"no {pattern!r} in {self.lines}")

    def __enter__(self):
        self.url = self.wait_for("on (http://.*)")[1]
        self.wait_for("ready: ")
        return self

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        status = self.process.wait(30)
        self.reading.join(5)
        self.process.stderr.close()
        return status

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        if self.process.stderr is not None and not self.process.stderr.closed:
            self.end()

    def metrics(self, **headers):
        """The books: ``{sample: value}``."""
        lines = httpx.get(f"{self.url}/metrics", headers=headers, timeout=30).text.splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def workers(self):
        """Process ids of workers."""
        own = self.process.pid
        children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        found = {}
        for child in children:
            command = Path(f"/proc/{child}/cmdline").read_text()
            if "spawn_main" in command:
                found[int(child)] = command
        return list(found)
