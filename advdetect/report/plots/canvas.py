"""Drawings to PNG and to SVG that a page can recolour; the only importer of matplotlib.

Figures are made through matplotlib's objects: pyplot and its list of open figures stay out.
"""

import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

__all__ = ["COLORS", "Axes", "Figure", "WIDTH", "Plot", "encode_png", "percent_axis", "render"]

# Told apart by the colour-blind (after Okabe and Ito). On a page each becomes a variable of
# the style sheet, so that a dark page has its own shades.
COLORS = {
    "ink": "#1c2331",
    "muted": "#5d6774",
    "rule": "#d9dee5",
    "clean": "#0072b3",
    "attacked": "#d55e01",
    "third": "#009e74",
    "fourth": "#a6559d",
    "noise": "#8a919c",
}
DPI = 160
WIDTH = 4.8  # inches: nine points stay legible on a phone, two figures fit a desktop
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": COLORS["muted"],
    "axes.grid": True,
    "axes.labelcolor": COLORS["ink"],
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": COLORS["rule"],
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "text.parse_math": False,  # names may hold a dollar
    "text.color": COLORS["ink"],
    "xtick.color": COLORS["muted"],
    "ytick.color": COLORS["muted"],
    "xtick.labelcolor": COLORS["ink"],
    "ytick.labelcolor": COLORS["ink"],
}


@dataclass(frozen=True)
class Plot:
    """A finished figure.

    Attributes:
        name: Of its file.
        title: What is seen, in a sentence; drawn in the PNG, beside the SVG.
        caption: What was counted, and how many.
        alt: For readers who do not see it.
        png: With a white ground.
        svg: An ``<svg>`` element without a ground; colours are ``var(--ink)`` and so on.
    """

    name: str
    title: str
    caption: str
    alt: str
    png: bytes
    svg: str


def render(
    name: str,
    size: tuple[float, float],
    draw: Callable[[Figure], None],
    *,
    title: str,
    caption: str,
    alt: str,
) -> Plot:
    """Draw once, and save twice; equal drawings give equal bytes.

    Args:
        name: Of its file, without an ending.
        size: Width and height in inches.
        draw: Fills an empty figure.
        title: See ``Plot``.
        caption: See ``Plot``.
        alt: See ``Plot``.
    """
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        svg, png = BytesIO(), BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        lines = textwrap.wrap(title.replace(" %", "\u00a0%"), int(size[0] * 12.5))
        figure.suptitle("\n".join(lines), x=0.02, ha="left", fontsize=10, fontweight="bold")
        figure.set_size_inches(size[0], size[1] + 0.2 * len(lines))
        figure.savefig(
            png, format="png", dpi=DPI, facecolor="white", metadata={"Software": "advdetect"}
        )
    return Plot(name, title, caption, alt, png.getvalue(), _for_page(svg.getvalue().decode(), alt))


def encode_png(picture: NDArray[np.float32]) -> bytes:
    """A ``(c, h, w)`` picture of one or three channels in [0, 1] as a PNG of the same size."""
    pixels = np.moveaxis(np.clip(picture, 0, 1), 0, -1)
    if pixels.shape[-1] == 1:
        pixels = np.repeat(pixels, 3, -1)
    content = BytesIO()
    imsave(
        content,
        np.ascontiguousarray(np.round(255 * pixels).astype(np.uint8)),
        format="png",
        metadata={"Software": "advdetect"},
    )
    return content.getvalue()


def percent_axis(axis: Axis) -> None:
    """Write an axis' shares in percent."""
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:.4g} %"))


def _for_page(svg: str, alt: str) -> str:
    """Leave the element alone, without fixed size or colours, and without idle ids."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", svg)
    for color, value in COLORS.items():
        svg = svg.replace(value, f"var(--{color})")
    head, rest = svg.split(">", 1)
    box = re.search(r'viewBox="[^"]+"', head)
    kept = box[0] if box else ""
    return (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" {kept} role="img" '
        f'aria-label="{escape(alt)}">{rest}'
    )
