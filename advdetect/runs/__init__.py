"""The run folder: what was asked, what is done, and the records of every example."""

from advdetect.runs.folder import RunFolder
from advdetect.runs.records import write_records

__all__ = ["RunFolder", "write_records"]
