"""A guard as a folder of safetensors and JSON."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from advdetect import storage
from advdetect.checks import pick
from advdetect.detectors import DETECTORS
from advdetect.detectors.base import ColumnRoles
from advdetect.detectors.conformal import ConformalCalibration
from advdetect.errors import FileError, ModelError
from advdetect.features import FeatureExtractor
from advdetect.guard.rows import KeptRows
from advdetect.networks import build, load_model
from advdetect.networks.loading import set_weights

if TYPE_CHECKING:
    from advdetect.guard.guard import Guard

SCHEMA = 1
DESCRIPTION = "guard.json"
TENSORS = tuple(
    f"{name}.safetensors"
    for name in ("model", "features", "detector", "calibration", "fitting", "held_out", "seen")
)


def write_guard(guard: "Guard", folder: Path) -> None:
    """Write a guard; ``guard.json`` comes last and holds the sha256 of all, its own content too."""
    parameters, arrays = guard.detector.state()
    calibration = {"scores": torch.from_numpy(guard.calibration.scores)}
    if guard.calibration.predicted is not None:
        calibration["predicted"] = torch.from_numpy(guard.calibration.predicted)
    weights = guard.model.state_dict()
    own = not _beside(folder, weights)
    files: dict[str, Mapping[str, Tensor]] = {
        **({"model.safetensors": weights} if own else {}),
        "features.safetensors": guard.extractor.tensors(),
        "detector.safetensors": {
            name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()
        },
        "calibration.safetensors": calibration,
        # Half precision: these rows are many, and rounded to it already.
        "fitting.safetensors": _tensors(guard.fitting, torch.float16),
        "held_out.safetensors": _tensors(guard.held_out, torch.float32),
        "seen.safetensors": {"fingerprints": guard.seen},
    }
    sha256 = {name: storage.save_tensors(folder / name, t) for name, t in files.items()}
    about = {
        "schema": SCHEMA,
        "architecture": guard.architecture,
        "model": storage.fingerprint(weights),
        "input_shape": list(guard.input_shape),
        "false_alarm_rate": guard.false_alarm_rate,
        "detector": {"name": guard.detector_name, "parameters": parameters},
        "features": guard.extractor.config(),
        "budgets": list(guard.fitting.budgets),
        "about": guard.about,
        "sha256": sha256,
    }
    sha256[DESCRIPTION] = seal(about)
    storage.write_json(folder / DESCRIPTION, about)


def _beside(folder: Path, weights: Mapping[str, Tensor]) -> bool:
    """Whether the folder above is the model's own, so that its weights need no second copy."""
    if not (folder.parent / "card.json").is_file():
        return False
    found = load_model(str(folder.parent)).module.state_dict()
    return storage.fingerprint(found) == storage.fingerprint(weights)


def read_guard(folder: Path, model: nn.Module | None) -> dict[str, Any]:
    """Read the parts of a guard, by the names of its fields.

    Raises:
        FileError: a file is missing, changed, or of a newer schema.
        ModelError: the model has other weights, or none was given and none can be built.
    """
    description = folder / DESCRIPTION
    if not description.is_file():
        raise FileError(f"no guard in {folder}: expected a folder with {DESCRIPTION}")
    about = storage.read_json(description, schema=SCHEMA)
    try:
        _check_seal(description, about)
        return _parts(folder, about, model)
    except (KeyError, TypeError) as error:
        raise FileError(f"{description} is incomplete: {error}") from None


def seal(about: Mapping[str, Any]) -> str:
    """Sha256 of what ``guard.json`` says, the seal itself apart."""
    others = {name: sha256 for name, sha256 in about["sha256"].items() if name != DESCRIPTION}
    text = json.dumps({**about, "sha256": others}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _check_seal(description: Path, about: Mapping[str, Any]) -> None:
    if not isinstance(about["sha256"], dict):
        raise TypeError("expected the sha256 of each file")
    sealed = about["sha256"][DESCRIPTION] == seal(about)
    if not sealed or about["sha256"].keys() - {*TENSORS, DESCRIPTION}:
        raise FileError(
            f"{description} is damaged or was changed: its sha256 is not the recorded one"
        )


def _parts(folder: Path, about: Mapping[str, Any], model: nn.Module | None) -> dict[str, Any]:
    def read(name: str) -> dict[str, Tensor]:
        return storage.load_tensors(folder / name, sha256=about["sha256"][name])

    if model is None:
        if about["architecture"] is None:
            raise ModelError(f"{folder} does not know how to build its model: pass model=...")
        if "model.safetensors" in about["sha256"]:
            model = build(about["architecture"])
            set_weights(model, read("model.safetensors"), str(folder))
        elif (folder.parent / "card.json").is_file():
            model = load_model(str(folder.parent)).module
        else:
            raise FileError(
                f"{folder} holds no weights: it was written into its model's folder, put it back "
                "there or pass model=..."
            )
    if storage.fingerprint(model.state_dict()) != about["model"]:
        raise ModelError(f"{folder} was fitted on another model: the weights differ from its own")
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    arrays = {name: tensor.numpy() for name, tensor in read("detector.safetensors").items()}
    detector = about["detector"]
    calibration = {name: t.numpy() for name, t in read("calibration.safetensors").items()}
    extractor = FeatureExtractor.load(about["features"], read("features.safetensors"))
    held_out = _rows(read("held_out.safetensors"), ())
    if held_out.rows.shape[1] != len(extractor.columns):
        raise FileError(
            f"{folder} was fitted by another version of advdetect, on {held_out.rows.shape[1]} "
            f"columns where this one has {len(extractor.columns)}: fit it anew"
        )
    return {
        "model": model.eval(),
        "extractor": extractor.to(device),
        "detector_name": detector["name"],
        "detector": pick(DETECTORS, detector["name"], "detector").from_state(
            detector["parameters"], arrays
        ),
        "calibration": ConformalCalibration(calibration["scores"], calibration.get("predicted")),
        "false_alarm_rate": about["false_alarm_rate"],
        "input_shape": tuple(about["input_shape"]),
        "fitting": _rows(read("fitting.safetensors"), tuple(about["budgets"])),
        "held_out": held_out,
        "about": about["about"],
        "architecture": about["architecture"],
        "seen": read("seen.safetensors")["fingerprints"],
    }


def _tensors(rows: KeptRows, dtype: torch.dtype) -> dict[str, Tensor]:
    kept = {"rows": rows.rows.to(dtype), "predicted": rows.predicted, "origin": rows.origin}
    if rows.source is not None:
        kept["source"] = rows.source
    if rows.roles is not None:
        kept |= {
            "counted": torch.from_numpy(rows.roles.counted),
            "rising": torch.from_numpy(rows.roles.rising),
        }
    return kept


def _rows(tensors: Mapping[str, Tensor], budgets: tuple[str, ...]) -> KeptRows:
    return KeptRows(
        tensors["rows"].float(),
        tensors["predicted"],
        tensors["origin"],
        budgets,
        tensors.get("source"),
        # Guards of older versions have none: what is fitted on their rows counts all columns.
        ColumnRoles(tensors["counted"].numpy(), tensors["rising"].numpy())
        if "counted" in tensors
        else None,
    )
