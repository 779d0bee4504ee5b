"""Records come back as they were written, in equal bytes."""

import pytest

from advdetect.errors import FileError
from advdetect.runs import write_records
from advdetect.runs.records import read_records

COLUMNS = {
    "attack": ["linf_pgd", "l2_deepfool"],
    "eps": [8 / 255, None],
    "index": [7000, 2**40],
    "success": [True, False],
    "distance": [0.1 + 0.2, 1e-300],
}


def test_columns_come_back_with_every_digit(tmp_path):
    write_records(tmp_path / "records.parquet", COLUMNS)
    found = read_records(tmp_path / "records.parquet")
    assert found == COLUMNS
    assert list(found) == list(COLUMNS)


def test_equal_columns_give_equal_bytes(tmp_path):
    for name in ("one", "two"):
        write_records(tmp_path / name, {key: list(column) for key, column in COLUMNS.items()})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_no_rows(tmp_path):
    write_records(tmp_path / "records.parquet", {"attack": [], "eps": []})
    assert read_records(tmp_path / "records.parquet") == {"attack": [], "eps": []}


def test_says_what_is_wrong_with_a_file(tmp_path):
    with pytest.raises(FileError, match="no file .*missing"):
        read_records(tmp_path / "missing")
    file = tmp_path / "records.parquet"
    file.write_text("attack,eps\n")
    with pytest.raises(FileError, match="records.parquet is no readable Parquet file: "):
        read_records(file)
    write_records(file, COLUMNS)
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(FileError, match="records.parquet is no readable Parquet file: "):
        read_records(file)
