"""A report as one page that needs nothing else: style and figures are inside."""

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
        title=escape(story.title),
        subtitle=escape(story.subtitle),
        headline=escape(story.headline),
        style=(files("advdetect.report") / "page.css").read_text("utf-8"),
        tiles="\n".join(map(_tile, story.tiles)),
        contents="\n".join(
            f'<li><a href="#{_anchor(s)}">{escape(s.title)}</a></li>' for s in story.sections
        ),
        sections="\n".join(map(_section, story.sections)),
    )


def _tile(tile: Tile) -> str:
    return (
        f"<div><dt>{escape(tile.label)}</dt>"
        f"<dd><strong>{escape(tile.value)}</strong> {escape(tile.below)}</dd></div>"
    )


def _section(section: Section) -> str:
    anchor = _anchor(section)
    inside = "\n".join(map(_block, section.blocks))
    return (
        f'<section aria-labelledby="{anchor}">\n'
        f'<h2 id="{anchor}">{escape(section.title)}</h2>\n{inside}\n</section>'
    )


def _anchor(section: Section) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in section.title.lower()).split())


def _block(block: Block) -> str:
    match block:
        case Text(text):
            return f"<p>{escape(text)}</p>"
        case Points(items, alert):
            kind = ' class="alerts"' if alert else ""
            return f"<ul{kind}>" + "".join(f"<li>{escape(i)}</li>" for i in items) + "</ul>"
        case Terms(items):
            inside = "".join(
                f"<div><dt>{escape(word)}</dt><dd>{escape(means)}</dd></div>"
                for word, means in items
            )
            return f'<dl class="terms">{inside}</dl>'
        case Table():
            return _table(block)
        case Folded(title, tables):
            inside = "\n".join(map(_table, tables))
            return f"<details><summary>{escape(title)}</summary>\n{inside}\n</details>"
        case Drawings(plots):
            return '<div class="drawings">\n' + "\n".join(map(_figure, plots)) + "\n</div>"
        case Gallery(rows, plot):
            inside = "\n".join(map(_picture, rows))
            return (
                f"<p>{escape(plot.title)}. {escape(plot.caption)}</p>\n"
                f'<div class="gallery">\n{inside}\n</div>'
            )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in table.header)
    rows = "\n".join(_row(row) for row in table.rows)
    caption = escape(table.caption)
    # A region that scrolls must be reachable by keyboard, hence the tabindex.
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}">\n<table>\n'
        f"<caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody>\n</table>\n</div>"
    )


def _row(row: tuple[Cell, ...]) -> str:
    name, *others = row
    marked = ' class="marked"' if name.tag == "worst" else ""
    cells = "".join(f"<td>{_cell(cell)}</td>" for cell in others)
    return f'<tr{marked}><th scope="row">{_cell(name)}</th>{cells}</tr>'


def _cell(cell: Cell) -> str:
    below = f"<small>{escape(cell.below)}</small>" if cell.below else ""
    kind = "tag alert" if cell.tag in ALERTS else "tag"
    tag = f' <span class="{kind}">{escape(cell.tag)}</span>' if cell.tag else ""
    return f"{escape(cell.text)}{tag}{below}"


def _figure(plot: Plot) -> str:
    return (
        f"<figure>\n<figcaption><strong>{escape(plot.title)}.</strong></figcaption>\n"
        f"{plot.svg}\n<figcaption>{escape(plot.caption)}</figcaption>\n</figure>"
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
        f"<figure><figcaption><strong>{escape(attack_words(row.attack))}</strong> on "
        f"{escape(row.true_label)}</figcaption>{inside}</figure>"
    )


def _image(picture: NDArray[np.float32], alt: str) -> str:
    content = b64encode(encode_png(picture)).decode()
    return f'<img src="data:image/png;base64,{content}" alt="{escape(alt)}">'


def _said(label: str, p_value: float, flagged: bool) -> str:
    kind = "flagged" if flagged else "passed"
    said = escape(verdict(p_value, flagged)).replace(", ", "<br>")
    return f'<span class="verdict">{escape(label)}<br><span class="{kind}">{said}</span></span>'
