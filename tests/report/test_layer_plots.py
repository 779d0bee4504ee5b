"""Figures of layers: what must be written in them."""

import io

import numpy as np
import pytest
from PIL import Image

from advdetect.metrics import NONE, Estimate
from advdetect.report.plots.lines import line_plot
from advdetect.report.plots.paths import network_paths
from advdetect.report.plots.similarity import heat_map, short


def is_picture(plot):
    with Image.open(io.BytesIO(plot.png)) as picture:
        return picture.format == "PNG" and min(picture.size) > 200


@pytest.mark.parametrize("shape", [(3, 2), (40, 60)])
def test_a_heat_map_names_both_networks_and_frames_the_best(shape):
    similarity = np.random.default_rng(0).random(shape)
    rows, columns = (
        [f"{side}.{i}.relu" for i in range(n)] for side, n in zip("ab", shape, strict=True)
    )
    plot = heat_map(
        "map",
        similarity,
        rows=rows,
        columns=columns,
        row_title="one network",
        column_title="another",
        title="Layers",
        images=500,
    )
    assert is_picture(plot)
    for text in ("one network", "another", "a.0.relu", "b.0.relu"):
        assert text in plot.svg
    assert "500 images" in plot.caption
    numbers = sum(f">.{round(100 * v):02d}<" in plot.svg for v in similarity.flatten())
    assert (numbers == similarity.size) == (max(shape) <= 12)


def test_long_names_lose_their_front():
    assert short("layers.0") == "layers.0"
    assert short("a.very.long.path.to.some.layer.relu") == "…th.to.some.layer.relu"
    assert len(short("x" * 50)) == 22


def test_lines_have_a_legend_where_there_are_several():
    points = [Estimate(0.2, 0.1, 0.3, 9), Estimate(0.5, 0.4, 0.6, 9)]
    words = {"y_title": "share", "title": "Shares", "caption": "of 9"}
    two = line_plot("two", {"first": points, "second": points}, ["1", "2"], **words)
    one = line_plot("one", {"alone": points}, ["1", "2"], **words)
    assert is_picture(two)
    assert "second" in two.svg
    assert "alone" not in one.svg


def test_a_missing_figure_is_a_gap():
    plot = line_plot(
        "gap",
        {"a": [Estimate(0.2, 0.1, 0.3, 9), NONE]},
        ["1", "2"],
        y_title="share",
        title="Shares",
        caption="",
    )
    assert is_picture(plot)


def test_paths_share_a_colour_by_group():
    places = {f"net-{i}": np.random.default_rng(i).random((4, 2)) for i in range(3)}
    groups = {"net-0": "plain", "net-1": "plain", "net-2": "wide"}
    plot = network_paths(
        places, np.ones(2), groups=groups, images=100, space="angular-cka", stress=0.123
    )
    assert is_picture(plot)
    assert plot.svg.count(">plain<") == plot.svg.count(">wide<") == 1
    assert "pixels" in plot.svg
    assert "labels" in plot.svg
    assert "12 %" in plot.caption
