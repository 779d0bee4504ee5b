"""Cost against the number of inputs and of features, as a figure with logarithmic axes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from advdetect.similarity import unbiased_linear_cka
from advdetect.similarity.bits import hamming_similarity
from advdetect.similarity.distance_correlation import unbiased_squared_distance_correlation
from benchmarks.bits import counted_all_pairs, pdist_all_pairs
from benchmarks.comparing import Rival, Row, Scope, Work, compare
from benchmarks.inputs import grouped_codes, representations
from benchmarks.similarity import dcor_unbiased, pytorch_cka, torch_cka
from benchmarks.spectral import embedding_sides, sides

PATIENCE_S = 5.0  # a rival slower than this gets no larger input of the same row
OURS = "advdetect"
# The colours that Okabe and Ito chose for eyes of all kinds; black and thick is ours.
COLOURS = {
    "dcor": "#D55E00",
    "pytorch-cka": "#E69F00",
    "torch-cka": "#CC79A7",
    "faiss.hammings": "#009E73",
    "SciPy pdist": "#0072B2",
    "scikit-learn": "#56B4E9",
}


@dataclass(frozen=True)
class Column:
    """A kind of work whose cost is drawn.

    Args:
        title: Above its two panels.
        works: From n and p to our work and its rivals.
        features: What p is.
        rows: The values of n, at the middle one of p.
        widths: The values of p, at the middle one of n.
    """

    title: str
    works: Callable[[int, int], tuple[Work, list[Rival]]]
    features: str
    rows: tuple[int, ...]
    widths: tuple[int, ...]


@dataclass(frozen=True)
class Panel:
    """One sweep: sizes, and what each contestant took."""

    title: str
    axis: str
    seconds: dict[str, list[tuple[int, float]]]


def cost_against_size(scope: Scope) -> Iterator[Row]:
    """Sweep n at a fixed p, then p at a fixed n; draw both, a column for each kind of work."""
    panels = []
    for sweep in ("n", "p"):
        for column in columns(scope.quick):
            middle = column.rows[len(column.rows) // 2]
            width = column.widths[len(column.widths) // 2]
            sizes = [(n, width) for n in column.rows]
            axis = f"inputs n, with {width:,} {column.features}"
            if sweep == "p":
                sizes = [(middle, p) for p in column.widths]
                axis = f"{column.features}, with n = {middle:,} inputs"
            panel = Panel(column.title, axis, {})
            yield from swept(scope, column, sizes, sweep, panel)
            panels.append(panel)
    draw(panels, scope.figure)


def columns(quick: bool) -> list[Column]:
    """What is drawn, at small sizes for a test."""
    rows, widths = (250, 500, 1000, 2000, 4000), (32, 128, 512, 2048, 8192)
    bits = (512, 2048, 8192, 32_768)
    if quick:
        rows, widths, bits = (50, 100, 200), (16, 32, 64), (512, 1024, 2048)
    return [
        Column("unbiased dCor", correlation, "features p", rows, widths),
        Column("unbiased linear CKA", alignment, "features p", rows, widths),
        Column("Hamming, all pairs", hamming, "bits p", rows, bits),
        Column("Fiedler cut", cut, "bits p", rows, bits),
    ]


def swept(
    scope: Scope, column: Column, sizes: list[tuple[int, int]], sweep: str, panel: Panel
) -> Iterator[Row]:
    """Time one panel, and note its points; who was too slow is left out of what comes after."""
    slow: set[str] = set()
    for n, p in sizes:
        case = f"{column.title}, n = {n:,}, p = {p:,}"
        ours, rivals = column.works(n, p)
        timed = [rival for rival in rivals if rival.name not in slow]
        rows = list(compare(scope, case, ours, timed, repetitions=1))
        size = n if sweep == "n" else p
        points = [(OURS, rows[0].ours_s)] if rows else []
        points += [(row.rival, row.rival_s) for row in rows]
        for name, seconds in points:
            if seconds is not None:
                panel.seconds.setdefault(name, []).append((size, seconds))
        slow |= {row.rival for row in rows if (row.rival_s or 0) > PATIENCE_S}
        yield from rows
        for rival in rivals:
            if rival not in timed:
                words = f"{rival.name}: left out, over {PATIENCE_S:.0f} s before"
                yield Row(case, None, words, None, None, None, None)


def correlation(n: int, p: int) -> tuple[Work, list[Rival]]:
    """Distance correlation."""
    x, y = representations(n, p, p)
    rivals = [Rival("dcor", partial(dcor_unbiased, x, y), "dcor")]
    return partial(unbiased_squared_distance_correlation, x, y), rivals


def alignment(n: int, p: int) -> tuple[Work, list[Rival]]:
    """Centred kernel alignment."""
    x, y = representations(n, p, p)
    rivals = [
        Rival("pytorch-cka", partial(pytorch_cka, x, y), "cka"),
        Rival("torch-cka", partial(torch_cka, x, y), "torch_cka"),
    ]
    return partial(unbiased_linear_cka, x, y), rivals


def hamming(n: int, bits: int) -> tuple[Work, list[Rival]]:
    """Hamming similarity of all pairs."""
    codes, _ = grouped_codes(n, bits)
    unpacked = codes.unpack()
    packed = np.packbits(unpacked.numpy(), axis=1)
    rivals = [
        Rival("faiss.hammings", partial(counted_all_pairs, packed, bits)),
        Rival("SciPy pdist", partial(pdist_all_pairs, unpacked)),
    ]
    return partial(hamming_similarity, codes, codes), rivals


def cut(n: int, bits: int) -> tuple[Work, list[Rival]]:
    """Fiedler cut of codes, for the rival with the matrix that it needs."""
    codes, _ = grouped_codes(n, bits)

    def rival() -> object:
        return embedding_sides(hamming_similarity(codes, codes))

    return partial(sides, codes), [Rival("scikit-learn", rival)]


def draw(panels: list[Panel], path: Path) -> None:
    """Put sweeps of n above sweeps of p."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6.4), layout="constrained")
    axes = figure.subplots(2, len(panels) // 2, sharey="row").flatten()
    for i, (axis, panel) in enumerate(zip(axes, panels, strict=True)):
        for name, points in panel.seconds.items():
            ours = name == OURS
            colour, width = ("black", 2.4) if ours else (COLOURS[name], 1.6)
            axis.plot(*zip(*points, strict=True), "o-", color=colour, lw=width, ms=4, label=name)
        axis.set(xscale="log", yscale="log", xlabel=panel.axis)
        sizes = [size for size, _ in panel.seconds[OURS]]
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axis.set_xticks([], minor=True)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        if i < len(panels) // 2:
            axis.set_title(panel.title)
            axis.legend(frameon=False)
        if i % (len(panels) // 2) == 0:
            axis.set_ylabel("seconds")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
