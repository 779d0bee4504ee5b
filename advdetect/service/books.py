"""Books that several processes keep together, and that outlive any of them."""

import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import values
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from advdetect.errors import FileError

KINDS = ("counter", "histogram", "gauge_livesum", "gauge_livemin", "gauge_livemax")
# Twenty times what the metrics take.
SIZE = 1 << 20
SUPERVISOR = 0


class SharedBooks(Collector):
    """A folder with files of each process's numbers, which Prometheus's own client writes.

    What a process has entered is in its files at once, whatever becomes of it: they are mapped
    into its memory. Worker 2's successor goes on in the files of worker 2.

    Args:
        folder: Where they are, the same for all processes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def join(self, number: int) -> None:
        """Have all metrics that this process makes from now on kept here.

        Args:
            number: The process's own, that no other has at the same time.

        Raises:
            FileError: no room on the disk.
        """
        try:
            for kind in KINDS:
                # A mapped file without its blocks on the disk kills the process that writes to
                # it once the disk is full.
                with (self.folder / f"{kind}_{number}.db").open("ab") as file:
                    file.write(bytes(SIZE - file.tell()))
        except OSError as error:
            raise FileError(f"{self.folder}: {error.strerror}") from None
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(self.folder)
        values.ValueClass = values.MultiProcessValue(lambda: number)

    def leave(self, number: int) -> None:
        """Drop what held while a process lived: its queue, its connections, its guard."""
        mark_process_dead(number, str(self.folder))

    def collect(self) -> Iterable[Metric]:
        """Sum the numbers of all processes, dead ones too."""
        return self._merge(sorted(self.folder.glob("*.db")))

    def requests(self, number: int) -> tuple[int, int, int]:
        """Count a worker's requests: accepted, answered, and lost by its own account."""
        file = self.folder / f"counter_{number}.db"
        found = list(self._merge([file])) if file.exists() else []  # it may have died before
        accepted, answered, lost = (
            self._sum(name, found)
            for name in (
                "advdetect_requests_accepted_total",
                "advdetect_requests_total",
                "advdetect_requests_lost_total",
            )
        )
        return accepted, answered, lost

    def total(self, sample: str) -> int:
        """Sum of one counter over all labels and processes."""
        return self._sum(sample, self.collect())

    def _merge(self, files: list[Path]) -> Iterable[Metric]:
        return MultiProcessCollector.merge([str(file) for file in files], accumulate=True)

    def _sum(self, sample: str, found: Iterable[Metric]) -> int:
        samples = (one for metric in found for one in metric.samples)
        return int(sum(one.value for one in samples if one.name == sample))
