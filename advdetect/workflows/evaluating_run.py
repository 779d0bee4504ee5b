"""Evaluate a guard into a run folder: attacks, records, report and figures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from advdetect import data as datasets
from advdetect import report as reports
from advdetect import storage
from advdetect.checks import check_images
from advdetect.data import ImageSet
from advdetect.errors import FileError
from advdetect.guard import Guard
from advdetect.networks import LoadedModel
from advdetect.report.figures import Figures
from advdetect.report.report import Report
from advdetect.runs import RunFolder, write_records
from advdetect.workflows.attacking import attack_data, read_attacks, record_columns
from advdetect.workflows.evaluating import Evaluation, evaluate_attacks
from advdetect.workflows.guards import load_guard
from advdetect.workflows.picturing import figures_of
from advdetect.workflows.progress import Track, untracked


@dataclass(frozen=True)
class EvaluatedRun:
    """A finished evaluation and where its files lie."""

    report: Report
    figures: Figures
    files: tuple[Path, ...]


def evaluate_into(
    guard: Guard,
    images: ImageSet,
    folder: Path,
    *,
    name: str,
    suite: str = "standard",
    seed: int = 0,
    limit: int | None = None,
    settings: dict[str, Any] | None = None,
    track: Track = untracked,
) -> EvaluatedRun:
    """Attack a guard's model, judge every input, and write the report; resumes what was begun.

    Args:
        guard: The guard.
        images: Evaluation images; all of them are judged clean.
        folder: The run's folder.
        name: How the guard was named, so that the run can find it again.
        suite: Name in ``SUITES``.
        seed: Seeds the attacks.
        limit: Attack the first so many images alone.
        settings: How the images were loaded, so that the run can find them again.
        track: Shows progress.

    Raises:
        FileError: the folder holds another run.
        InputError: images that do not fit the guard.
    """
    model = LoadedModel(
        str(guard.about.get("model", "model")), guard.model, guard.architecture or {}
    )
    # Before the attacks, which take long.
    check_images(images.images, shape=guard.input_shape)
    attacked = images if limit is None else images.subset(range(min(limit, len(images))))
    extra = {
        "guard": name,
        "guard_sha256": _guard_fingerprint(guard),
        "settings": settings or {},
        "judged": images.fingerprint,
    }
    run, results = attack_data(
        model,
        attacked,
        folder,
        suite=suite,
        seed=seed,
        command="evaluate",
        extra=extra,
        track=track,
    )
    evaluation = evaluate_attacks(guard, images, results, model=model.name, track=track)
    return _write(run, guard, images, evaluation)


def evaluate_again(folder: Path, *, track: Track = untracked) -> EvaluatedRun:
    """Make the report of a finished run again from what it kept, without attacking.

    Raises:
        FileError: there is no finished evaluation in the folder, or its guard has changed.
    """
    run = RunFolder.open(folder)
    about = run.configuration
    if run.manifest["command"] != "evaluate":
        raise FileError(f"{folder} is a run of {run.manifest['command']}, not of evaluate")
    guard = load_guard(about["guard"])
    if _guard_fingerprint(guard) != about["guard_sha256"]:
        raise FileError(f"the guard {about['guard']} has changed since {folder} was made")
    settings: dict[str, Any] = about["settings"]
    size, root = settings.get("resize"), settings.get("data_root")
    images = datasets.load(
        about["data"],
        split=about["split"],
        resize=None if size is None else (size[0], size[1]),
        data_root=None if root is None else Path(root),
        channels=settings.get("channels"),
    )
    if images.fingerprint != about["judged"]:
        raise FileError(f"the data {about['data']} have changed since {folder} was made")
    evaluation = evaluate_attacks(
        guard, images, read_attacks(run), model=about["model"], track=track
    )
    return _write(run, guard, images, evaluation)


def _write(run: RunFolder, guard: Guard, images: ImageSet, evaluation: Evaluation) -> EvaluatedRun:
    columns = record_columns([result for result, _ in evaluation.attacked])
    for name in ("score", "p_value", "flagged"):
        columns[name] = [v for _, seen in evaluation.attacked for v in getattr(seen, name).tolist()]
    write_records(run.path / "records.parquet", columns)
    figures = figures_of(guard, images, evaluation)
    files = reports.write(evaluation.report, figures, run.path)
    return EvaluatedRun(evaluation.report, figures, tuple(files))


def _guard_fingerprint(guard: Guard) -> str:
    """Sha256 of all that a report depends on: verdicts, and the rows that rivals are fitted on."""
    _, arrays = guard.detector.state()
    learnt = {f"detector/{name}": torch.from_numpy(array) for name, array in arrays.items()}
    learnt["calibration"] = torch.from_numpy(guard.calibration.scores)
    if guard.calibration.predicted is not None:
        learnt["calibration/predicted"] = torch.from_numpy(guard.calibration.predicted)
    learnt["false_alarm_rate"] = torch.tensor(guard.false_alarm_rate, dtype=torch.float64)
    learnt["fitting"], learnt["held_out"] = guard.fitting.rows, guard.held_out.rows
    model = {f"model/{name}": tensor for name, tensor in guard.model.state_dict().items()}
    return storage.fingerprint(guard.extractor.tensors() | learnt | model)
