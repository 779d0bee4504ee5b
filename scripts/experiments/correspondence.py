"""Does a measure find a layer's namesake in a network trained from another seed?

Protocol of Kornblith et al. 2019, Table 2: ten networks, every ordered pair of them, every layer
but the logits; right where the most similar layer of the other network is the same one.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from torch import nn

from advdetect.data import ImageSet
from advdetect.metrics import Estimate
from advdetect.networks import models_folder
from advdetect.report.plots.lines import line_plot
from advdetect.report.plots.similarity import heat_map
from advdetect.similarity import MEASURES, Measure
from advdetect.similarity.cka import gaussian_kernel, rbf_cka
from advdetect.similarity.gram import double_centred
from advdetect.similarity.graphs import cosine_graph, graph_similarity, unit_rows
from advdetect.similarity.patterns import PATTERNS, Pattern
from advdetect.workflows.comparing import Comparison, compare_by
from advdetect.workflows.representing import View
from experiments.cifar import cifar_images, trained
from experiments.printing import console, keep, show, track

IMAGES = 1000
SIZES = (100, 250, 500, 1000)
FEW = ("linear_cka", "unbiased_linear_cka", "GBS, k = 5", "GBS, full graph")

Table = dict[str, tuple[Measure, Pattern | None]]


def correspondence(out: Path, data_root: Path | None) -> None:
    """All measures side by side, flattened and pooled; then four of them against n."""
    networks = trained("tiny-10", models_folder(), data_root)
    images = cifar_images(data_root, limit=IMAGES)
    flat = compared(networks, images, cosines(), pooled=False)
    pooled = compared(networks, images, cosines() | directions(), pooled=True)
    names = [*cosines(), *directions()]
    show(
        f"Layers found in a network of another seed, %: 10 networks Tiny-10, CIFAR-10 (JPEG) test "
        f"images, n = {IMAGES}; 95 % jackknife interval over networks",
        ("measure", "flattened", "pooled"),
        [(name, percent(flat.get(name)), percent(pooled.get(name))) for name in names],
        out / "correspondence.md",
    )
    console.print("flattened: not taken where n rows of more columns make the measure 1 for all")
    by_size: dict[str, list[Estimate]] = {name: [] for name in FEW}
    for n in SIZES:
        few = {name: cosines()[name] for name in FEW}
        part = images.subset(range(n))
        found = compared(networks, part, few, pooled=False)
        for name in FEW:
            by_size[name].append(found_share(found[name]))
    show(
        "Layers found by number of images, %, flattened",
        ("measure", *map(str, SIZES)),
        [(name, *(in_percent(e) for e in by_size[name])) for name in FEW],
        out / "correspondence-by-size.md",
    )
    keep(
        line_plot(
            "correspondence-by-size",
            by_size,
            [str(n) for n in SIZES],
            x_title="images",
            y_title="share of layers found",
            title="Which layer is this? Found in a network of another seed",
            caption="Ten Tiny-10 networks, 45 pairs, 8 layers each, both ways; bands: 95 %.",
        ),
        out,
    )
    for name in ("unbiased_linear_cka", "GBS, k = 5"):
        comparisons = flat[name]
        first = comparisons[0]
        keep(
            heat_map(
                f"correspondence-{'cka' if 'cka' in name else 'gbs'}",
                np.mean([c.similarity for c in comparisons], axis=0),
                rows=[f"{i + 1}" for i in range(len(first.rows))],
                columns=[f"{i + 1}" for i in range(len(first.columns))],
                row_title="layer, one seed",
                column_title="layer, another seed",
                title=f"{name}: mean over pairs of networks",
                images=IMAGES,
            ),
            out,
        )


def compared(
    networks: dict[str, nn.Module], images: ImageSet, table: Table, *, pooled: bool
) -> dict[str, list[Comparison]]:
    """Comparisons of every pair of networks, by measure; all images are one batch."""
    view = View(pooled=pooled, batch=len(images))
    found: dict[str, list[Comparison]] = {name: [] for name in table}
    for comparison in compare_by(networks, images, table, view=view, track=track):
        found[comparison.measure].append(comparison)
    return found


def cosines() -> Table:
    """Measures that take features of any width."""
    table: Table = {name: (MEASURES[name], pattern) for name, pattern in PATTERNS.items()}
    table["GBS, k = 5"] = table.pop("graph_similarity")
    table["GBS, full graph"] = (
        partial(graph_similarity, k=None),
        Pattern(lambda x: unit_rows(cosine_graph(x, None)) / len(x) ** 0.5, whole=True),
    )
    table["rbf_cka, bandwidth 1"] = table.pop("rbf_cka")
    for bandwidth in (0.2, 0.4, 0.8):
        table[f"rbf_cka, bandwidth {bandwidth}"] = (
            partial(rbf_cka, bandwidth=bandwidth),
            Pattern(_kernel(bandwidth)),
        )
    return table


def _kernel(bandwidth: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: double_centred(gaussian_kernel(x, bandwidth))


def directions() -> Table:
    """Measures that need more rows than columns."""
    return {name: (measure, None) for name, measure in MEASURES.items() if name not in PATTERNS}


def found_share(comparisons: Sequence[Comparison]) -> Estimate:
    """Share of layers found over all pairs of networks, with a jackknife interval over networks."""
    shares = {(c.first, c.second): c.found[0] / c.found[1] for c in comparisons if c.found}
    networks = sorted({name for pair in shares for name in pair})
    whole = float(np.mean([*shares.values()]))
    k = len(networks)
    without = [np.mean([v for pair, v in shares.items() if out not in pair]) for out in networks]
    pseudo = [k * whole - (k - 1) * float(part) for part in without]
    half = float(stats.t.ppf(0.975, k - 1) * np.std(pseudo, ddof=1) / k**0.5)
    return Estimate(whole, max(0.0, whole - half), min(1.0, whole + half), len(shares))


def percent(comparisons: Sequence[Comparison] | None) -> str:
    """The share found in percent, with its interval; - where it was not taken."""
    return "-" if comparisons is None else in_percent(found_share(comparisons))


def in_percent(estimate: Estimate) -> str:
    """An estimate in percent."""
    scaled = (estimate.value, estimate.low, estimate.high)
    value, low, high = (100 * (v or 0) for v in scaled)
    return f"{value:.1f} [{low:.0f}, {high:.0f}]"
