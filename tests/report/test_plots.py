"""Figures: what is drawn, what is said of it, and that a page can recolour it."""

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from advdetect.report import Embedding, Figures
from advdetect.report.plots import draw, encode_png, perturbation, verdict
from advdetect.report.plots.canvas import COLORS, render
from advdetect.report.plots.cuts import fiedler_embedding
from advdetect.report.plots.detection import by_layer, detection_by_attack
from advdetect.report.plots.pictures import pictures
from advdetect.report.plots.scores import roc_curves, score_histograms
from advdetect.report.words import percent

NAMES = [
    "detection_by_attack",
    "roc",
    "score_histograms",
    "robust_accuracy_linf",
    "robust_accuracy_l2",
    "by_layer",
    "class_cuts",
    "fiedler_embedding",
    "pictures",
]


def plain(name: str, title: str = "A title", alt: str = "A line"):
    def drawing(figure) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=COLORS["clean"])
        axes.set_xlabel("$x_1$")

    return render(name, (3, 2), drawing, title=title, caption="n = 2", alt=alt)


def test_every_figure_is_drawn_in_the_order_of_a_page(plots):
    assert [plot.name for plot in plots] == NAMES


def test_figures_say_what_is_seen_and_how_many(plots):
    said = {plot.name: plot for plot in plots}
    assert "is found least" in said["detection_by_attack"].title
    assert "300 successes per attack" in said["detection_by_attack"].caption
    assert "900 clean images and 300 successes per attack" in said["roc"].caption
    assert said["by_layer"].title == (
        "The best single layer: neighbours at block3.relu, 87.5 % found at 5 % false alarms"
    )
    assert "n = 5,000" in said["by_layer"].caption
    assert "100 clean and 100 attacked" in said["fiedler_embedding"].caption
    assert said["pictures"].title == "Flagged: 3 of 4 attacked pictures"
    assert said["robust_accuracy_l2"].title == "3.0 % stays right under PGD L2 1.5"
    assert all(plot.alt and plot.caption.endswith(".") for plot in plots)


def test_the_title_names_both_shares_of_the_attack_found_least(report, figures):
    """Also where leaving an attack out of fitting finds more of it."""
    turned = replace(
        report,
        detection=tuple(
            replace(row, fitted_on_it=not row.fitted_on_it)
            if row.detector == report.detector and not row.control
            else row
            for row in report.detection
        ),
    )
    pairs = {seen.budget: (seen, unseen) for seen, unseen in turned.pairs()}
    seen, unseen = min(pairs.values(), key=lambda pair: turned.detected(pair[0]).value)
    said = {plot.name: plot for plot in draw(turned, figures)}["detection_by_attack"].title
    shares = [percent(turned.detected(row).value) for row in (seen, unseen)]
    assert turned.detected(seen).value < turned.detected(unseen).value
    assert said.endswith(f"is found least: {shares[0]}, left out {shares[1]}")


def test_without_data_there_is_no_figure(bare):
    assert draw(*bare) == ()


def test_the_title_of_the_roc_is_the_reports_own_figure(report, figures):
    rows = {row.budget: row.detection_rate["0.01"].value for row in report.rows()}
    least = min(rows.values())
    assert f"{100 * least:.1f} %" in roc_curves(report, figures).title


def test_scores_that_the_report_does_not_know_are_drawn_as_they_are(bare):
    report, _ = bare
    scores = Figures(np.arange(100.0), {"linf_pgd 0.1": np.arange(50.0, 150.0)})
    # The one clean image at or above 99 is the alarm: 51 of 100 attacks lie there.
    assert roc_curves(report, scores).title == (
        "At 1 % false alarms 51.0 % of PGD L\u221e 0.1 is still found"
    )
    assert score_histograms(report, scores) is not None


def test_scores_that_are_all_alike_are_drawn(bare):
    assert score_histograms(bare[0], Figures(np.ones(5), {"linf_pgd": np.ones(5)})) is not None


def test_a_detector_that_was_fitted_on_no_attack_is_drawn(report):
    rows = tuple(replace(row, fitted_on_it=False) for row in report.rows())
    plot = detection_by_attack(replace(report, detection=rows))
    assert "fitted on" not in plot.svg


def test_groups_of_attacks_get_a_heat_map_each(report):
    more = tuple(replace(row, attacks="L\u221e 4/255") for row in report.layers)
    found = by_layer(replace(report, layers=report.layers + more))
    assert [plot.name for plot in found] == ["by_layer", "by_layer_2"]
    assert "L\u221e 4/255" in found[1].caption


def test_the_side_of_an_embedding_does_not_matter():
    coordinates = np.array([[1.0, 0], [2, 0], [-1, 0], [1, 1]])
    for sign in (1, -1):
        plot = fiedler_embedding(Embedding(sign * coordinates, np.array([0, 0, 1, 1]), "Some"))
        assert (
            plot.title == "Without a label, the softest cut puts 75.0 % on the side of their kind"
        )


def test_equal_drawings_give_equal_bytes(plots, report, figures):
    again = draw(report, figures)
    assert [(p.png, p.svg) for p in again] == [(p.png, p.svg) for p in plots]


def test_a_page_can_recolour_a_figure():
    plot = plain("one", alt='A "line" <b>')
    root = ElementTree.fromstring(plot.svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'A "line" <b>'
    assert root.get("viewBox")
    assert root.get("width") is None
    assert "var(--clean)" in plot.svg
    assert not any(color in plot.svg for color in COLORS.values())
    assert "#ffffff" not in plot.svg  # no ground
    assert ">$x_1$<" in plot.svg  # text stays text, and no formula


def test_figures_of_one_page_share_no_id():
    ids = [
        {e.get("id") for e in ElementTree.fromstring(plain(name).svg).iter()} - {None}
        for name in ("one", "two")
    ]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_a_long_title_is_broken_into_lines(tmp_path):
    heights = []
    for title in ("Short", "long " * 40):
        (tmp_path / "plot.png").write_bytes(plain("one", title).png)
        heights.append(imread(tmp_path / "plot.png").shape[0])
    assert heights[1] > heights[0] + 60


def test_pictures_keep_their_pixels(tmp_path):
    picture = np.array([[[0.0, 1.0, 0.5]]], np.float32)
    (tmp_path / "grey.png").write_bytes(encode_png(picture))
    found = imread(tmp_path / "grey.png")[..., :3]
    assert found.shape == (1, 3, 3)
    np.testing.assert_allclose(found[0, :, 0], [0, 1, 128 / 255])
    colored = np.zeros((3, 2, 2), np.float32)
    colored[1] = 1
    (tmp_path / "green.png").write_bytes(encode_png(colored))
    np.testing.assert_array_equal(imread(tmp_path / "green.png")[0, 0, :3], [0, 1, 0])


@pytest.mark.parametrize(("size", "factor"), [(8 / 255, 15), (0.6, 1), (0.0, 1)])
def test_a_perturbation_is_amplified_as_far_as_it_stays_visible(figures, size, factor):
    clean = np.full((1, 2, 2), 0.25, np.float32)
    attacked = clean.copy()
    attacked[0, 0, 0] += size
    shown, found = perturbation(replace(figures.pictures[0], clean=clean, attacked=attacked))
    assert found == factor
    assert shown[0, 0, 0] == pytest.approx(0.5 + factor * size)
    assert shown[0, 1, 1] == 0.5


def test_verdicts():
    assert verdict(0.00049975, True) == "flagged, p = 0.0005"
    assert verdict(0.6123, False) == "passed, p = 0.61"


def test_a_picture_with_noise_is_no_attack(figures):
    row = replace(figures.pictures[0], attack="linf_uniform_noise 0.1")
    title = pictures((*figures.pictures, row), figures.controls).title
    assert title == "Flagged: 3 of 4 attacked pictures, and 1 of 1 with noise"
