"""Evaluate a guard into a run folder: attacks, records, report and figures."""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from advdetect import report as reports
from advdetect import storage
from advdetect.checks import check_images
from advdetect.data import ImageSet
from advdetect.errors import FileError
from advdetect.guard import Guard
from advdetect.networks import Ensemble, LoadedModel
from advdetect.report.figures import Figures, PictureRow
from advdetect.report.report import Report
from advdetect.runs import RunFolder, choose_executor
from advdetect.runs.records import Block
from advdetect.workflows.attacking import attack_data
from advdetect.workflows.attacking_worker import device_of
from advdetect.workflows.baselines import KNOWING, baseline_guards, judge_baselines
from advdetect.workflows.evading import evade, in_folder
from advdetect.workflows.evaluating import evaluate_attacks
from advdetect.workflows.evaluating_members import evaluate_members, member_similarity
from advdetect.workflows.keeping import keep, kept
from advdetect.workflows.picturing import (
    embedding_of,
    evading_pictures,
    figures_of,
    pictures_of,
)
from advdetect.workflows.progress import Track, untracked
from advdetect.workflows.reporting import report_of


@dataclass(frozen=True)
class EvaluatedRun:
    """A finished evaluation and where its files lie."""

    report: Report
    figures: Figures
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Fitting:
    """Clean images to fit detectors on, and others to calibrate them.

    Attributes:
        reference: To fit on.
        calibration: For the p-values.
        attacked: A run on reference images, for detectors that learn from attacks; ``None``
            attacks some.
    """

    reference: ImageSet
    calibration: ImageSet
    attacked: Path | None = None

    @property
    def fingerprint(self) -> str:
        """Sha256 of what the detectors come from."""
        run = None if self.attacked is None else RunFolder.open(self.attacked).configuration
        parts = [self.reference.fingerprint, self.calibration.fingerprint, run]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def evaluate_into(
    guard: Guard,
    images: ImageSet,
    folder: Path,
    *,
    name: str,
    suite: str = "standard",
    seed: int = 0,
    limit: int | None = None,
    adaptive: int = 0,
    baselines: Fitting | None = None,
    surrogate: LoadedModel | None = None,
    workers: int | None = None,
    ray: str | None = None,
    track: Track = untracked,
) -> EvaluatedRun:
    """Attack a guard's model, judge every input, and write the report; resumes what was begun.

    What is finished is not judged again: its report is made from its records.

    Args:
        guard: The guard.
        images: Evaluation images; all of them are judged clean.
        folder: The run's folder.
        name: How the guard was named.
        suite: Name in ``SUITES``.
        seed: Seeds the attacks.
        limit: Attack the first so many images alone.
        adaptive: Attack the guard itself, knowingly, on the first so many images.
        baselines: Images to fit published detectors on, to compare the guard with.
        surrogate: Another model, for transfer attacks; to an ensemble the network from outside.
        workers: Processes that attack, see ``attack_data``.
        ray: A Ray cluster's address; its hosts attack instead.
        track: Shows progress.

    Raises:
        FileError: the folder holds another run.
        InputError: images that do not fit the guard, or that it was made from.
    """
    model = LoadedModel(
        str(guard.about.get("model", "model")), guard.model, guard.architecture or {}
    )
    # Before the attacks, which take long.
    check_images(images.images, shape=guard.input_shape)
    guard.check_unseen(images.images)
    attacked = images if limit is None else images.subset(range(min(limit, len(images))))
    extra = {
        "guard": name,
        "guard_sha256": _guard_fingerprint(guard),
        "judged": images.fingerprint,
        "adaptive": adaptive,
        "baselines": None if baselines is None else baselines.fingerprint,
    }
    run, results = attack_data(
        model,
        attacked,
        folder,
        suite=suite,
        seed=seed,
        surrogate=surrogate,
        workers=workers,
        ray=ray,
        command="evaluate",
        extra=extra,
        track=track,
    )
    with suppress(FileError):  # not finished yet, or damaged since
        return evaluate_again(run.path)
    guards: dict[str, Guard] = {}
    if baselines is not None:
        guards = baseline_guards(
            guard,
            model,
            baselines.reference,
            baselines.calibration,
            run.path / "baselines",
            attacked=baselines.attacked,
            seed=seed,
            workers=workers,
            ray=ray,
            track=track,
        )
    knowing: list[Block] = []
    shown: tuple[PictureRow, ...] = ()
    if adaptive:
        some = images.subset(range(min(adaptive, len(images))))
        executor = choose_executor(workers, ray, gpu=device_of(guard.model).type == "cuda")
        evaded = evade(guard, some, in_folder(guard, some, run, seed, executor, track))
        knowing += evaded.blocks
        shown = evading_pictures(guard, images, evaded.results)
        for other in guards.values():
            compute = in_folder(other, some, run, seed, executor, track)
            knowing += evade(other, some, compute, attacks=KNOWING, check=False).blocks
    others = judge_baselines(guards, images, results, track)
    evaluation = evaluate_attacks(
        guard, images, results, model=model.name, knowing=knowing, others=others, track=track
    )
    judged = evaluation.judged
    if isinstance(guard.model, Ensemble):
        judged = replace(
            judged,
            about={**judged.about, "similarity": member_similarity(guard.model, images.images)},
            members=evaluate_members(
                guard.model,
                attacked,
                run.path / "members",
                outside=surrogate,
                seed=seed,
                workers=workers,
                ray=ray,
                track=track,
            ),
        )
    keep(
        run.path,
        judged,
        (*pictures_of(images, evaluation), *shown),
        embedding_of(guard, images, evaluation),
    )
    return evaluate_again(run.path)


def evaluate_again(folder: Path) -> EvaluatedRun:
    """Work out every figure of a finished evaluation again from its records, without a model.

    Raises:
        FileError: there is no finished evaluation in the folder.
    """
    run = RunFolder.open(folder)
    if run.manifest["command"] != "evaluate":
        raise FileError(f"{folder} is a run of {run.manifest['command']}, not of evaluate")
    judged, pictures, embedding = kept(folder)
    report, figures = report_of(judged), figures_of(judged, pictures, embedding)
    return EvaluatedRun(report, figures, tuple(reports.write(report, figures, folder)))


def _guard_fingerprint(guard: Guard) -> str:
    """Sha256 of all that a report depends on: verdicts, and the rows that rivals are fitted on."""
    _, arrays = guard.detector.state()
    learnt = {f"detector/{name}": torch.from_numpy(array) for name, array in arrays.items()}
    learnt["calibration"] = torch.from_numpy(guard.calibration.scores)
    if guard.calibration.predicted is not None:
        learnt["calibration/predicted"] = torch.from_numpy(guard.calibration.predicted)
    learnt["false_alarm_rate"] = torch.tensor(guard.false_alarm_rate, dtype=torch.float64)
    learnt["fitting"], learnt["held_out"] = guard.fitting.rows, guard.held_out.rows
    if guard.fitting.roles is not None:
        learnt["counted"] = torch.from_numpy(guard.fitting.roles.counted)
        learnt["rising"] = torch.from_numpy(guard.fitting.roles.rising)
    model = {f"model/{name}": tensor for name, tensor in guard.model.state_dict().items()}
    return storage.fingerprint(guard.extractor.tensors() | learnt | model)
