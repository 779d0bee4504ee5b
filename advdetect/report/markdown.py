"""A report as Markdown, for terminals, repositories and pull requests."""

from advdetect.report.blocks import (
    Block,
    Cell,
    Drawings,
    Folded,
    Gallery,
    Points,
    Story,
    Table,
    Terms,
    Text,
)
from advdetect.report.plots import Plot


def to_markdown(story: Story, *, figures: str = "figures") -> str:
    """Write a story as Markdown.

    Args:
        story: What is told.
        figures: The folder of the figures, seen from the file.
    """
    parts = [f"# {_text(story.title)}", _text(story.subtitle), f"**{_text(story.headline)}**"]
    parts.append(
        "\n".join(
            f"- {_text(t.label)}: **{_text(t.value)}** ({_text(t.below)})" for t in story.tiles
        )
    )
    for section in story.sections:
        parts.append(f"## {_text(section.title)}")
        parts += [_block(block, figures) for block in section.blocks]
    return "\n\n".join(part for part in parts if part) + "\n"


def _block(block: Block, figures: str) -> str:
    match block:
        case Text(text):
            return _text(text)
        case Points(items, alert):
            mark = "**!** " if alert else ""
            return "\n".join(f"- {mark}{_text(item)}" for item in items)
        case Terms(items):
            return "\n".join(f"- **{_text(word)}**: {_text(means)}" for word, means in items)
        case Table():
            return _table(block)
        case Folded(title, tables):
            inside = "\n\n".join(map(_table, tables))
            return f"<details><summary>{_text(title)}</summary>\n\n{inside}\n\n</details>"
        case Drawings(plots):
            return "\n\n".join(_figure(plot, figures) for plot in plots)
        case Gallery(_, plot):
            return _figure(plot, figures)


def _table(table: Table) -> str:
    header = [_cell(Cell(text)) for text in table.header]
    rule = ["---"] + ["---:"] * (len(header) - 1)
    rows = [header, rule, *([_cell(cell) for cell in row] for row in table.rows)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([f"{_text(table.caption)}:", "", *lines])


def _cell(cell: Cell) -> str:
    below = f" ({cell.below})" if cell.below else ""
    tag = f" **{_text(cell.tag)}**" if cell.tag else ""
    return (_text(cell.text + below) + tag).replace("|", "\\|")


def _figure(plot: Plot, figures: str) -> str:
    return (
        f"![{_text(plot.alt)}]({figures}/{plot.name}.png)\n\n"
        f"**{_text(plot.title)}.** {_text(plot.caption)}"
    )


def _text(text: str) -> str:
    """Keep names such as linf_pgd or <lambda> from becoming markup."""
    for mark in "\\*_<>[]":
        text = text.replace(mark, "\\" + mark)
    return text
