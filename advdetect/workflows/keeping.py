"""An evaluation's records and figures in its run folder, and read back without a model."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from advdetect import storage
from advdetect.errors import FileError
from advdetect.report.figures import Embedding, PictureRow
from advdetect.runs.records import read_records, write_records
from advdetect.workflows.evaluating_members import MEMBER_KEYS
from advdetect.workflows.judging import SCORE_KEYS, Judged
from advdetect.workflows.recording import KEYS

SCHEMA = 1
CUT_KEYS = ("attack", "eps", "predicted")
JUDGED_KEYS = {"about": dict, "pictures": list, "cuts": bool}
FILES = ("records.parquet", "scores.parquet", "cuts.parquet", "judged.json", "drawn.safetensors")


def keep(
    folder: Path, judged: Judged, pictures: tuple[PictureRow, ...], embedding: Embedding | None
) -> None:
    """Write what a report is made from."""
    write_records(folder / "records.parquet", judged.records)
    write_records(folder / "scores.parquet", judged.scores)
    if judged.cuts:
        write_records(folder / "cuts.parquet", judged.cuts)
    if judged.members:
        write_records(folder / "members.parquet", judged.members)
    tensors: dict[str, torch.Tensor] = {}
    described: list[dict[str, Any]] = []
    for i, row in enumerate(pictures):
        about = asdict(row)
        for name in ("clean", "attacked"):
            tensors[f"{name}.{i}"] = torch.from_numpy(np.ascontiguousarray(about.pop(name)))
        described.append(about)
    if embedding is not None:
        tensors["coordinates"] = torch.from_numpy(np.ascontiguousarray(embedding.coordinates))
        tensors["kind"] = torch.from_numpy(embedding.kind)
    if tensors:
        storage.save_tensors(folder / "drawn.safetensors", tensors)
    about = {
        "schema": SCHEMA,
        "about": dict(judged.about),
        "pictures": described,
        "embedding": None if embedding is None else embedding.title,
        "cuts": bool(judged.cuts),
        "members": bool(judged.members),
    }
    storage.write_json(folder / "judged.json", about)


def kept(folder: Path) -> tuple[Judged, tuple[PictureRow, ...], Embedding | None]:
    """Read what ``keep`` wrote.

    Raises:
        FileError: a file is missing or damaged: the evaluation has not come to its end.
    """
    if not (folder / "judged.json").is_file():
        raise FileError(
            f"{folder} holds no finished evaluation, judged.json is missing: repeat the command "
            "that began it"
        )
    about = storage.read_json(folder / "judged.json", schema=SCHEMA, keys=JUDGED_KEYS)
    cuts = read_records(folder / "cuts.parquet", CUT_KEYS) if about["cuts"] else []
    members = []
    if about.get("members"):
        members = read_records(folder / "members.parquet", MEMBER_KEYS)
    judged = Judged(
        about["about"],
        tuple(read_records(folder / "records.parquet", KEYS)),
        tuple(read_records(folder / "scores.parquet", SCORE_KEYS)),
        tuple(cuts),
        tuple(members),
    )
    try:
        return judged, *_drawn(folder, about)
    except (KeyError, TypeError) as error:
        raise FileError(
            f"{folder / 'judged.json'} and drawn.safetensors do not fit each other ({error}): "
            "repeat the command that began it"
        ) from None


def _drawn(
    folder: Path, about: Mapping[str, Any]
) -> tuple[tuple[PictureRow, ...], Embedding | None]:
    """Read the pictures and the plane that ``judged.json`` describes."""
    if not about["pictures"] and about["embedding"] is None:
        return (), None
    tensors = storage.load_tensors(folder / "drawn.safetensors")
    pictures = tuple(
        PictureRow(tensors[f"clean.{i}"].numpy(), tensors[f"attacked.{i}"].numpy(), **row)
        for i, row in enumerate(about["pictures"])
    )
    if about["embedding"] is None:
        return pictures, None
    coordinates, kind = tensors["coordinates"].numpy(), tensors["kind"].numpy()
    return pictures, Embedding(coordinates, kind, about["embedding"])
