"""Records come back as they were written, in equal bytes."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from advdetect.errors import FileError
from advdetect.runs import write_records
from advdetect.runs.records import Block, read_records

KEYS = ("attack", "eps")


def blocks():
    return [
        Block(
            {"attack": attack, "eps": eps},
            {
                "index": np.array([7000, 2**40 + i]),
                "success": np.array([True, False]),
                "score": np.array([0.1 + 0.2, 1e-300 * (i + 1)]),
            },
        )
        for i, (attack, eps) in enumerate(
            [("linf_pgd", 8 / 255), ("linf_pgd", 0.1), ("l2_deepfool", None), ("linf_pgd", 0.1)]
        )
    ]


def test_blocks_come_back_with_every_digit(tmp_path):
    write_records(tmp_path / "records.parquet", blocks())
    found = read_records(tmp_path / "records.parquet", KEYS)
    assert [block.keys for block in found] == [block.keys for block in blocks()]
    for block, expected in zip(found, blocks(), strict=True):
        assert list(block.columns) == list(expected.columns)
        for name, column in expected.columns.items():
            assert block[name].dtype == column.dtype
            np.testing.assert_array_equal(block[name], column)


def test_anyone_can_read_the_table(tmp_path):
    write_records(tmp_path / "records.parquet", blocks())
    rows = pq.read_table(tmp_path / "records.parquet").to_pylist()
    assert rows[0] == {
        "attack": "linf_pgd",
        "eps": 8 / 255,
        "index": 7000,
        "success": True,
        "score": 0.1 + 0.2,
    }
    assert [row["eps"] for row in rows[3:6]] == [0.1, None, None]


def test_equal_blocks_give_equal_bytes(tmp_path):
    for name in ("one", "two"):
        write_records(tmp_path / name, blocks())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_block_without_rows_leaves_no_trace(tmp_path):
    first, second, *_ = blocks()
    empty = Block(second.keys, {name: column[:0] for name, column in second.columns.items()})
    write_records(tmp_path / "records.parquet", [first, empty])
    (found,) = read_records(tmp_path / "records.parquet", KEYS)
    assert found.keys == first.keys
    write_records(tmp_path / "records.parquet", [empty])
    assert read_records(tmp_path / "records.parquet", KEYS) == []


def test_says_what_is_wrong_with_a_file(tmp_path):
    with pytest.raises(FileError, match="no file .*missing"):
        read_records(tmp_path / "missing", KEYS)
    file = tmp_path / "records.parquet"
    file.write_text("attack,eps\n")
    with pytest.raises(FileError, match="records.parquet is no readable Parquet file: "):
        read_records(file, KEYS)
    write_records(file, blocks())
    with pytest.raises(FileError, match="records.parquet is no readable Parquet file: .*norm"):
        read_records(file, ("attack", "norm"))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(FileError, match="records.parquet is no readable Parquet file: "):
        read_records(file, KEYS)
