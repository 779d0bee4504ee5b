"""The figures of a report; a figure without its data is left out."""

from advdetect.report.figures import Figures
from advdetect.report.plots.canvas import Plot, encode_png
from advdetect.report.plots.cuts import class_cuts, fiedler_embedding
from advdetect.report.plots.detection import by_layer, detection_by_attack
from advdetect.report.plots.knowing import evasion
from advdetect.report.plots.members import members
from advdetect.report.plots.pictures import perturbation, pictures, verdict
from advdetect.report.plots.robustness import robust_accuracy
from advdetect.report.plots.scores import roc_curves, score_histograms
from advdetect.report.report import Report

__all__ = ["Plot", "draw", "encode_png", "perturbation", "verdict"]


def draw(report: Report, figures: Figures) -> tuple[Plot, ...]:
    """Draw every figure there is data for, in the order of a page."""
    drawn = (
        detection_by_attack(report),
        roc_curves(report, figures),
        score_histograms(report, figures),
        *evasion(report),
        *robust_accuracy(report, figures),
        members(report),
        *by_layer(report),
        class_cuts(report),
        fiedler_embedding(figures.embedding),
        pictures(figures.pictures, figures.controls),
    )
    return tuple(plot for plot in drawn if plot is not None)
