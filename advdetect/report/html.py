"""A report as one page that needs nothing else: style and figures are inside."""

import re
from base64 import b64encode
from html import escape
from importlib.resources import files
from string import Template

import numpy as np
from numpy.typing import NDArray

from advdetect.report.blocks import (
    Block,
    Cell,
    Drawings,
    Folded,
    Gallery,
    Points,
    Section,
    Story,
    Table,
    Terms,
    Text,
    Tile,
)
from advdetect.report.figures import PictureRow
from advdetect.report.plots import Plot, encode_png, perturbation, verdict
from advdetect.report.words import attack_words

ALERTS = ("worst", "outside")

_PAGE = Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
$style</style>
</head>
<body>
<header>
<h1>$title</h1>
<p class="subtitle">$subtitle</p>
<p class="headline">$headline</p>
<dl class="tiles">
$tiles
</dl>
<nav aria-label="Parts of this report"><ul>
$contents
</ul></nav>
</header>
<main>
$sections
</main>
</body>
</html>
"""
)


def to_html(story: Story) -> str:
    """Write a story as a page: light or dark as the reader's system, from phone to desktop."""
    return _PAGE.substitute(
        title=_safe(story.title),
        subtitle=_safe(story.subtitle),
        headline=re.sub(r"([^ ]+&nbsp;%) \[", r"<strong>\1</strong> [", _safe(story.headline)),
        style=(files("advdetect.report") / "page.css").read_text("utf-8"),
        tiles="\n".join(map(_tile, story.tiles)),
        contents="\n".join(
            f'<li><a href="#{_anchor(s)}">{_safe(s.title)}</a></li>' for s in story.sections
        ),
        sections="\n".join(map(_section, story.sections)),
    )


def _tile(tile: Tile) -> str:
    return (
        f"<div><dt>{_safe(tile.label)}</dt>"
        f"<dd><strong>{_safe(tile.value)}</strong> {_safe(tile.below)}</dd></div>"
    )


def _section(section: Section) -> str:
    anchor = _anchor(section)
    inside = "\n".join(map(_block, section.blocks))
    return (
        f'<section aria-labelledby="{anchor}">\n'
        f'<h2 id="{anchor}">{_safe(section.title)}</h2>\n{inside}\n</section>'
    )


def _anchor(section: Section) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in section.title.lower()).split())


def _block(block: Block) -> str:
    match block:
        case Text(text):
            return f"<p>{_safe(text)}</p>"
        case Points(items, alert):
            kind = ' class="alerts"' if alert else ""
            return f"<ul{kind}>" + "".join(f"<li>{_safe(i)}</li>" for i in items) + "</ul>"
        case Terms(items):
            inside = "".join(
                f"<div><dt>{_safe(word)}</dt><dd>{_safe(means)}</dd></div>" for word, means in items
            )
            return f'<dl class="terms">{inside}</dl>'
        case Table():
            return _table(block)
        case Folded(title, tables):
            inside = "\n".join(map(_table, tables))
            return f"<details><summary>{_safe(title)}</summary>\n{inside}\n</details>"
        case Drawings(plots):
            return '<div class="drawings">\n' + "\n".join(map(_figure, plots)) + "\n</div>"
        case Gallery(rows, plot):
            inside = "\n".join(map(_picture, rows))
            return (
                f"<p>{_safe(plot.title)}. {_safe(plot.caption)}</p>\n"
                f'<div class="gallery">\n{inside}\n</div>'
            )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{_safe(text)}</th>' for text in table.header)
    rows = "\n".join(_row(row) for row in table.rows)
    caption = _safe(table.caption)
    # A region that scrolls must be reachable by keyboard, hence the tabindex.
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}">\n<table>\n'
        f"<caption><span>{caption}</span></caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody>\n</table>\n</div>"
    )


def _row(row: tuple[Cell, ...]) -> str:
    name, *others = row
    marked = ' class="marked"' if name.tag == "worst" else ""
    cells = "".join(f"<td>{_cell(cell)}</td>" for cell in others)
    return f'<tr{marked}><th scope="row">{_cell(name)}</th>{cells}</tr>'


def _cell(cell: Cell) -> str:
    below = f"<small>{_safe(cell.below)}</small>" if cell.below else ""
    kind = "tag alert" if cell.tag in ALERTS else "tag"
    tag = f' <span class="{kind}">{_safe(cell.tag)}</span>' if cell.tag else ""
    return f"{_safe(cell.text)}{tag}{below}"


def _figure(plot: Plot) -> str:
    return (
        f'<figure>\n<p class="title">{_safe(plot.title)}.</p>\n'
        f"{plot.svg}\n<figcaption>{_safe(plot.caption)}</figcaption>\n</figure>"
    )


def _picture(row: PictureRow) -> str:
    shown, factor = perturbation(row)
    change = f'<span class="verdict">change<br>\u00d7 {factor}</span>'
    parts = (
        _image(row.clean, f"clean picture, true class {row.true_label}")
        + _said(row.clean_label, row.clean_p_value, row.clean_flagged),
        _image(shown, "perturbation about mid-grey") + change,
        _image(row.attacked, "attacked picture")
        + _said(row.attacked_label, row.attacked_p_value, row.attacked_flagged),
    )
    inside = "".join(f"<div>{part}</div>" for part in parts)
    return (
        f"<figure><figcaption><strong>{_safe(attack_words(row.attack))}</strong> on "
        f"{_safe(row.true_label)}</figcaption>{inside}</figure>"
    )


def _image(picture: NDArray[np.float32], alt: str) -> str:
    content = b64encode(encode_png(picture)).decode()
    return f'<img src="data:image/png;base64,{content}" alt="{_safe(alt)}">'


def _said(label: str, p_value: float, flagged: bool) -> str:
    kind = "flagged" if flagged else "passed"
    said = _safe(verdict(p_value, flagged)).replace(", ", "<br>")
    return f'<span class="verdict">{_safe(label)}<br><span class="{kind}">{said}</span></span>'


def _safe(text: str) -> str:
    """Escape, and keep a number with its unit, a norm with its eps."""
    text = escape(text).replace(" %", "&nbsp;%")
    return re.sub(r"(L[0-9\u221e]) (?=[0-9])", r"\1&nbsp;", text)
