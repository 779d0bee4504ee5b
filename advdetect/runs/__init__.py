"""The run folder: what was asked, what is done, who does it, and the records of every example."""

from advdetect.runs.computing import run_shards
from advdetect.runs.executors import Executor, InProcess, choose_executor
from advdetect.runs.folder import RunFolder, versions
from advdetect.runs.records import write_records
from advdetect.runs.working import Shard

__all__ = [
    "Executor",
    "InProcess",
    "RunFolder",
    "Shard",
    "choose_executor",
    "run_shards",
    "versions",
    "write_records",
]
