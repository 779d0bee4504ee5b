"""A row per example, as Parquet: blocks of rows that share what they are about."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advdetect import storage
from advdetect.errors import FileError

Key = str | int | float | bool | None


@dataclass(frozen=True, eq=False)
class Block:
    """Rows that share what they are about.

    Attributes:
        keys: What all rows share: text, a number, true or false; ``None`` for none.
        columns: Arrays of one length, a value a row.
    """

    keys: Mapping[str, Key]
    columns: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, column: str) -> NDArray[Any]:
        return self.columns[column]


def write_records(path: Path, blocks: Sequence[Block]) -> None:
    """Write blocks as one table, keys first; equal blocks give equal bytes.

    Args:
        path: The Parquet file.
        blocks: All with the same keys and columns; a block without rows leaves no trace.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    counts = [len(block) for block in blocks]
    columns: dict[str, Any] = {}
    for name in blocks[0].keys:
        values = pa.array([block.keys[name] for block in blocks])
        columns[name] = values.take(pa.array(np.repeat(np.arange(len(blocks)), counts)))
    for name in blocks[0].columns:
        columns[name] = pa.array(np.concatenate([block[name] for block in blocks]))
    buffer = BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    storage.write_bytes(path, buffer.getvalue())


def read_records(path: Path, keys: Sequence[str]) -> list[Block]:
    """Read what ``write_records`` wrote, cut where any of ``keys`` changes.

    Raises:
        FileError: the file is missing, no Parquet, or lacks a key.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = storage.read_bytes(path)
    try:
        table = pq.read_table(BytesIO(content)).combine_chunks()
        shared = {name: table.column(name) for name in keys}
    except (pa.ArrowException, KeyError) as error:
        raise FileError(f"{path} is no readable Parquet file: {error}") from None
    columns = {
        name: table.column(name).to_numpy() for name in table.column_names if name not in shared
    }
    return [
        Block(
            {name: values[start].as_py() for name, values in shared.items()},
            {name: values[start:end] for name, values in columns.items()},
        )
        for start, end in _runs(shared.values(), table.num_rows)
    ]


def _runs(shared: Any, n: int) -> Iterator[tuple[int, int]]:
    """First row, and the row after the last, of stretches in which nothing changes."""
    changes = np.zeros(max(n - 1, 0), bool)
    for values in shared:
        codes = values.combine_chunks().dictionary_encode(null_encoding="encode").indices
        changes |= np.diff(codes.to_numpy()) != 0
    starts = np.flatnonzero(np.append(True, changes))[:n]
    yield from zip(starts.tolist(), np.append(starts[1:], n)[: len(starts)].tolist(), strict=True)
