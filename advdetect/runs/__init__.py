"""The run folder: what was asked, what is done, and the records of every example."""

from advdetect.runs.folder import RunFolder, versions
from advdetect.runs.records import write_records

__all__ = ["RunFolder", "versions", "write_records"]
