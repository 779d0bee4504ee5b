"""Benchmarks of advdetect beside its rivals, a file each; ``scripts/benchmark.py`` runs them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.attacks import attack_costs
from benchmarks.bits import all_pairs_and_neighbours
from benchmarks.comparing import Row, Scope
from benchmarks.overhead import guard_overhead, over_plain
from benchmarks.recording import recorded_passes
from benchmarks.scaling import cost_against_size
from benchmarks.serving import served_requests, throughput
from benchmarks.similarity import measures
from benchmarks.spectral import fiedler_cuts
from benchmarks.training import training_costs


@dataclass(frozen=True)
class Benchmark:
    """Rows as they come, and what there is to say of them all at the end."""

    rows: Callable[[Scope], Iterator[Row]]
    note: Callable[[Sequence[Row]], str] | None = None


BENCHMARKS: Mapping[str, Benchmark] = {
    "record": Benchmark(recorded_passes),
    "overhead": Benchmark(guard_overhead, over_plain),
    "similarity": Benchmark(measures),
    "attacks": Benchmark(attack_costs),
    "training": Benchmark(training_costs),
    "bits": Benchmark(all_pairs_and_neighbours),
    "spectral": Benchmark(fiedler_cuts),
    "serving": Benchmark(served_requests, throughput),
    "scaling": Benchmark(cost_against_size),
}
