"""A report of an evaluation: what it holds, where it doubts itself, and how it is told."""

from advdetect.report.figures import Embedding, Figures, PictureRow
from advdetect.report.report import Report
from advdetect.report.warnings import find_warnings
from advdetect.report.writing import write

__all__ = ["Embedding", "Figures", "PictureRow", "Report", "find_warnings", "write"]
