"""A report into its folder."""

from pathlib import Path

from advdetect import storage
from advdetect.report.figures import Figures
from advdetect.report.report import Report


def write(report: Report, figures: Figures, folder: Path) -> list[Path]:
    """Write report.json, report.md, report.html and figures/*.png.

    Equal reports and figures give equal bytes, with one version of matplotlib.

    Args:
        report: What was found.
        figures: What is drawn beside it.
        folder: Made if it is missing; files of these names are replaced.

    Returns:
        The files written, ``report.json`` first.
    """
    # matplotlib takes a second to import, and report.json alone needs none.
    from advdetect.report.html import to_html
    from advdetect.report.markdown import to_markdown
    from advdetect.report.plots import draw
    from advdetect.report.story import tell

    plots = draw(report, figures)
    story = tell(report, figures, plots)
    contents = {
        "report.md": to_markdown(story).encode(),
        "report.html": to_html(story).encode(),
        **{f"figures/{plot.name}.png": plot.png for plot in plots},
    }
    storage.write_json(folder / "report.json", report.to_json())
    for name, content in contents.items():
        storage.write_bytes(folder / name, content)
    return [folder / name for name in ("report.json", *contents)]
