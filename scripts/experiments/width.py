"""Are wider networks more alike, and early layers sooner?

After Kornblith et al. 2019, section 6.2: the same network at three widths, three seeds each.
"""

from pathlib import Path

import numpy as np

from advdetect.metrics import Estimate, mean
from advdetect.report.plots.lines import line_plot
from advdetect.workflows.comparing import compare_networks
from advdetect.workflows.representing import View
from experiments.cifar import cifar_images, trained
from experiments.printing import keep, show

IMAGES = 1000


def width(out: Path, data_root: Path | None) -> None:
    """Unbiased linear CKA of a layer with its namesake of another seed, by layer and width."""
    networks = trained("width", out / "models", data_root)
    images = cifar_images(data_root, limit=IMAGES)
    widths = sorted({int(name.split("/")[1].split("-")[0]) for name in networks})
    series: dict[str, list[Estimate]] = {}
    found: list[str] = []
    for channels in widths:
        same = {n: m for n, m in networks.items() if n.startswith(f"width/{channels}-")}
        comparisons = compare_networks(same, images, view=View(batch=IMAGES))
        counts = np.array([c.found for c in comparisons]).sum(0)
        found.append(f"{counts[0]} of {counts[1]}")
        alike = np.stack([np.diag(c.similarity) for c in comparisons])
        series[f"width {channels}"] = [mean(values) for values in alike.T]
    layers = [str(i + 1) for i in range(len(next(iter(series.values()))))]
    show(
        f"Unbiased linear CKA between seeds by layer and width (Tiny-10, 5 epochs on CIFAR-10 "
        f"(JPEG), {IMAGES} test images): mean of 3 pairs",
        ("layer", *series),
        [(layer, *(f"{s[i].value:.3f}" for s in series.values())) for i, layer in enumerate(layers)]
        + [("layers found", *found)],
        out / "width.md",
    )
    keep(
        line_plot(
            "width",
            series,
            layers,
            x_title="layer",
            y_title="CKA between seeds",
            title="Wider networks are more alike from seed to seed",
            caption="Mean over 3 pairs of seeds; bands: 95 % of the mean.",
        ),
        out,
    )
