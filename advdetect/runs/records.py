"""A row per example and attack, as Parquet."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from advdetect import storage
from advdetect.errors import FileError


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
        FileError: the file is missing or no Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = storage.read_bytes(path)
    try:
        return pq.read_table(BytesIO(content)).to_pydict()
    except pa.ArrowException as error:
        raise FileError(f"{path} is no readable Parquet file: {error}") from None
