"""Files: JSON, Markdown, and a page that needs nothing else."""

import json
import re
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from advdetect.report import Report, write
from advdetect.report.blocks import Cell, Section, Story, Table, Terms, Text, Tile
from advdetect.report.html import to_html
from advdetect.report.markdown import to_markdown

VOID = {"meta", "img", "br", "path", "use", "rect", "line", "image"}


class Outline(HTMLParser):
    """Collects what a page holds, and fails where tags do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []
        self.text: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag: str) -> list[dict]:
        return [attrs for found, attrs in self.seen if found == tag]


@pytest.fixture(scope="module")
def page(story) -> str:
    return to_html(story)


def told(text: str) -> Story:
    table = Table(text, (text, text), ((Cell(text, text, text), Cell(text)),))
    blocks = (Text(text), Terms(((text, text),)), table)
    return Story(text, text, text, (Tile(text, text, text),), (Section(text, blocks),))


def test_a_page_needs_nothing_from_outside(page):
    outline = Outline(page)
    for tag in ("script", "link", "iframe"):
        assert not outline.all(tag)
    sources = [attrs["src"] for attrs in outline.all("img")]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert all(attrs["href"].startswith("#") for attrs in outline.all("a"))
    assert "url(http" not in page
    assert "@import" not in page


def test_a_page_is_told_to_readers_of_every_kind(page):
    outline = Outline(page)
    tags = [tag for tag, _ in outline.seen]
    assert tags.count("h1") == tags.count("main") == 1
    assert all(attrs.get("alt") for attrs in outline.all("img"))
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in outline.all("svg"))
    assert len(outline.all("caption")) == len(outline.all("table"))
    assert all(attrs.get("scope") for attrs in outline.all("th"))
    assert {"lang": "en"} in outline.all("html")
    assert "prefers-color-scheme: dark" in page
    assert "width=device-width" in page


def test_links_lead_somewhere_and_ids_are_used_once(page):
    outline = Outline(page)
    ids = [attrs["id"] for _, attrs in outline.seen if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["href"][1:] for attrs in outline.all("a")} <= set(ids)


def test_a_headline_stresses_its_figures(page, report):
    worst = report.detected(report.worst())
    assert f"<strong>{100 * worst.value:.1f}&nbsp;%</strong> [" in page


def test_pictures_are_in_the_page_pixel_by_pixel(page):
    first = Outline(page).all("img")[0]["src"]
    content = b64decode(first.removeprefix("data:image/png;base64,"))
    assert content.startswith(b"\x89PNG")
    assert content[16:24] == (12).to_bytes(4, "big") * 2


def test_names_become_no_markup():
    name = '<script>alert("x")</script> & linf_pgd | **b** $title'
    page = to_html(told(name))
    outline = Outline(page)
    assert not outline.all("script")
    assert name in "".join(outline.text)
    markdown = to_markdown(told(name))
    assert "<script>" not in markdown
    assert "linf\\_pgd \\| \\*\\*b\\*\\*" in markdown.splitlines()[-1]


def test_markdown_tables_are_whole(story):
    text = to_markdown(story)
    blocks = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(blocks) >= 6
    for block in blocks:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1
    assert re.search(r"^\| \S+ L\S+ \S+ \*\*worst\*\* \|", text, flags=re.MULTILINE)
    assert text.startswith("# What the guard of fashion-resnet is worth\n")


def test_markdown_shows_the_figures_of_its_folder(story, plots):
    text = to_markdown(story, figures="elsewhere")
    shown = re.findall(r"!\[.+\]\(elsewhere/(.+)\.png\)", text)
    assert sorted(shown) == sorted(plot.name for plot in plots)


def test_a_folder_holds_everything_and_twice_the_same(report, figures, plots, tmp_path):
    small = replace(figures, pictures=(), embedding=None, curves={})
    fewer = replace(report, layers=(), class_cuts=(), robustness=())
    paths = write(fewer, small, tmp_path / "a")
    assert [path.relative_to(tmp_path / "a").as_posix() for path in paths] == [
        "report.json",
        "report.md",
        "report.html",
        "figures/detection_by_attack.png",
        "figures/roc.png",
        "figures/score_histograms.png",
    ]
    again = write(fewer, small, tmp_path / "b")
    for one, two in zip(paths, again, strict=True):
        assert one.read_bytes() == two.read_bytes()
    assert Report.load(paths[0]).to_json() == json.loads(paths[0].read_text())


def test_the_barest_report_is_written(bare, tmp_path):
    paths = write(*bare, tmp_path)
    assert [path.name for path in paths] == ["report.json", "report.md", "report.html"]
    assert "No attack fooled" in paths[2].read_text()
