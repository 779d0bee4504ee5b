"""Fiedler's cut of two classes by layer, without a label."""

from pathlib import Path

from advdetect import data
from advdetect.networks import load_model
from advdetect.report.plots.lines import line_plot
from advdetect.workflows import partitioning
from experiments.cifar import cifar_images
from experiments.printing import keep, short, show

NETWORKS = ("fashion-resnet", "tiny-10/seed-0")


def class_partition(out: Path, data_root: Path | None) -> None:
    """All pairs of classes, 100 images each, on a Fashion-MNIST and a CIFAR-10 network."""
    for name in NETWORKS:
        if name.startswith("fashion"):
            images = data.load("fashion-mnist", split="evaluation")
        else:
            images = cifar_images(data_root, limit=3000)
        cuts = partitioning.class_partition(load_model(name).module, images)
        pairs = cuts[0].accuracy.n
        file = f"class-partition-{name.replace('/', '-')}"
        show(
            f"Fiedler cut of two classes, {name}: mean over {pairs} pairs, 100 images a class",
            ("layer", "mean accuracy [95 % interval]"),
            [(cut.layer, short(cut.accuracy)) for cut in cuts],
            out / f"{file}.md",
        )
        plot = line_plot(
            file,
            {name: [cut.accuracy for cut in cuts]},
            [cut.layer for cut in cuts],
            y_title="mean accuracy of the cut",
            title=f"Two classes come apart with depth: {name}",
            caption=f"Mean over {pairs} pairs of classes, 100 images a class.",
        )
        keep(plot, out)
