"""How much of an input's graph of neighbours an attack leaves, layer by layer.

After Chen et al. 2021, arXiv:2111.11165, section 4.4, whose budgets are not known: ours are
in pixel units, and noise of the same size stands beside the attacks.
"""

from pathlib import Path

import numpy as np
import torch

from advdetect import data
from advdetect.attacks import Budget, attack_chunk
from advdetect.metrics import Estimate, mean
from advdetect.networks import load_model
from advdetect.report.plots.lines import line_plot
from advdetect.report.words import attack_words
from advdetect.similarity.graphs import cosine_graph, node_similarity
from advdetect.storage import load_tensors, save_tensors
from advdetect.workflows.representing import layer_outputs
from experiments.printing import keep, show, track

NETWORK = "fashion-resnet"
IMAGES = 500
BUDGETS = (
    Budget("linf_fgsm", 8 / 255),
    Budget("linf_bim", 8 / 255),
    Budget("linf_pgd", 8 / 255),
    Budget("l2_carlini_wagner", None),
    Budget("linf_uniform_noise", 8 / 255),
)


def graph_under_attack(out: Path, _data_root: Path | None) -> None:
    """GBS at k = 5 between clean and attacked inputs, over those that the attack turned."""
    module = load_model(NETWORK).module
    images = data.load("fashion-mnist", split="evaluation", limit=IMAGES)
    clean, logits = layer_outputs(module, images.images)
    right = logits.argmax(1) == images.labels
    series: dict[str, list[Estimate]] = {}
    for budget in track(BUDGETS, "attacking"):
        adversarial = attacked(module, images, budget, out)
        seen, after = layer_outputs(module, adversarial)
        turned = right & (after.argmax(1) != images.labels)
        rows = right if "noise" in budget.attack else turned
        series[f"{attack_words(budget.attack, budget.eps)}, n = {int(rows.sum())}"] = [
            mean(node_similarity(cosine_graph(x[rows]), cosine_graph(seen[layer][rows])).numpy())
            for layer, x in clean.items()
        ]
    layers = list(clean)
    show(
        f"GBS (k = 5) of clean and attacked images by layer, {NETWORK}: {IMAGES} evaluation "
        "images, those right before and wrong after (noise: right before); mean [95 %]",
        ("layer", *series),
        [(layer, *(short(s[i]) for s in series.values())) for i, layer in enumerate(layers)],
        out / "graph-under-attack.md",
    )
    keep(
        line_plot(
            "graph-under-attack",
            series,
            layers,
            y_title="GBS, clean against attacked",
            title="Attacks take away an input's neighbours, most in the last layers",
            caption="Mean share of neighbours kept; n: how many images; bands: 95 %.",
        ),
        out,
    )


def attacked(
    module: torch.nn.Module, images: data.ImageSet, budget: Budget, out: Path
) -> torch.Tensor:
    """Adversarial images, kept in ``out`` so that an interrupted run goes on."""
    file = out / f"{budget}.safetensors".replace(" ", "-").replace("/", "_")
    if file.is_file():
        return load_tensors(file)["adversarial"]
    parts = [
        attack_chunk(module, images.images[rows], images.labels[rows], budget, seed=0).adversarial
        for rows in np.array_split(np.arange(len(images)), len(images) // 100)
    ]
    adversarial = torch.cat(parts)
    save_tensors(file, {"adversarial": adversarial})
    return adversarial


def short(estimate: Estimate) -> str:
    """Two digits and the interval."""
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
