"""A row per example and attack, as Parquet."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from advdetect import storage


def write_records(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write a table; equal columns give equal bytes.

    Args:
        path: The Parquet file.
        columns: Values by column, all of one length.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = BytesIO()
    pq.write_table(pa.table(dict(columns)), buffer, compression="zstd")
    storage.write_bytes(path, buffer.getvalue())


def read_records(path: Path) -> dict[str, list[Any]]:
    """Read a table that ``write_records`` wrote.

    Raises:
        FileError: the file is missing.
    """
    import pyarrow.parquet as pq

    return pq.read_table(BytesIO(storage.read_bytes(path))).to_pydict()
