"""What the figures of a report show: chosen from an evaluation, drawn elsewhere."""

import numpy as np
from numpy.typing import NDArray

from advdetect.attacks import ATTACKS, AttackResult
from advdetect.data import ImageSet
from advdetect.detectors.transductive import embed
from advdetect.guard import Guard
from advdetect.metrics import robust_accuracy_curve
from advdetect.report.figures import Embedding, Figures, PictureRow
from advdetect.report.words import attack_words
from advdetect.workflows.evaluating import Evaluation
from advdetect.workflows.observing import Observed

PICTURES = 6
EMBEDDED = 150  # inputs of each kind in the Fiedler embedding


def figures_of(guard: Guard, images: ImageSet, evaluation: Evaluation) -> Figures:
    """Choose scores, curves, pictures and an embedding."""
    counted = {
        str(result.budget): seen.score[result.counted.numpy()]
        for result, seen in evaluation.attacked
    }
    return Figures(
        evaluation.clean.score,
        counted,
        frozenset(str(r.budget) for r, _ in evaluation.attacked if r.control),
        _threshold(guard),
        _curves([result for result, _ in evaluation.attacked]),
        _pictures(images, evaluation),
        _embedding(guard, images, evaluation),
    )


def _threshold(guard: Guard) -> float | None:
    """The score beyond which inputs are flagged, where it is one for all classes."""
    if guard.calibration.predicted is not None:
        return None
    known = np.sort(guard.calibration.scores)
    return float(known[-int(guard.false_alarm_rate * (len(known) + 1) + 1e-9)])


def _curves(
    results: list[AttackResult],
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64], str]]:
    """Robust accuracy against eps, drawn whole by attacks that seek the smallest perturbation."""
    curves: dict[str, tuple[NDArray[np.float64], NDArray[np.float64], str]] = {}
    for result in results:
        if not ATTACKS[result.attack].minimum_norm or result.eps is not None:
            continue
        sizes = np.where(result.success.numpy(), result.distances.numpy(), np.inf)
        finite = sizes[np.isfinite(sizes)]
        if len(finite):
            eps = np.linspace(0, 1.02 * float(finite.max()), 200)
            curves[result.attack] = (eps, robust_accuracy_curve(sizes, eps), result.norm)
    return curves


def _pictures(images: ImageSet, evaluation: Evaluation) -> tuple[PictureRow, ...]:
    """One success of each of several attacks, each of another image, first come first shown."""
    names = images.classes or tuple(str(c) for c in range(1 + int(images.labels.max())))
    position = {int(index): i for i, index in enumerate(images.index)}
    shown: list[PictureRow] = []
    used: set[int] = set()
    for result, seen in _spread(evaluation.attacked):
        for row in result.counted.nonzero().squeeze(1).tolist():
            at = position.get(int(result.index[row]))
            if at is None or at in used:
                continue
            used.add(at)
            shown.append(
                PictureRow(
                    images.images[at].numpy(),
                    result.adversarial[row].cpu().numpy(),
                    str(result.budget),
                    names[int(result.labels[row])],
                    names[int(evaluation.clean.predicted[at])],
                    names[int(seen.predicted[row])],
                    float(evaluation.clean.p_value[at]),
                    float(seen.p_value[row]),
                    bool(evaluation.clean.flagged[at]),
                    bool(seen.flagged[row]),
                )
            )
            break
    return tuple(shown)


def _spread(
    attacked: tuple[tuple[AttackResult, Observed], ...],
) -> list[tuple[AttackResult, Observed]]:
    """Attacks of every family first, controls last but one, no more than ``PICTURES``."""
    families: dict[str, tuple[AttackResult, Observed]] = {}
    for result, seen in attacked:
        families[ATTACKS[result.attack].family] = (result, seen)
    return list(families.values())[:PICTURES]


def _embedding(guard: Guard, images: ImageSet, evaluation: Evaluation) -> Embedding | None:
    """Clean and attacked inputs of the predicted class and the attack that have most."""
    best: tuple[int, AttackResult, Observed, int] | None = None
    for result, seen in evaluation.attacked:
        if result.control:
            continue
        classes = seen.predicted[result.counted.numpy()]
        if len(classes):
            c = int(np.bincount(classes).argmax())
            count = int((classes == c).sum())
            if best is None or count > best[0]:
                best = (count, result, seen, c)
    if best is None:
        return None
    _, result, seen, c = best
    hit = seen.rows[result.counted.numpy() & (seen.predicted == c)][:EMBEDDED]
    clean = evaluation.clean.rows[evaluation.clean.predicted == c][:EMBEDDED]
    rows = np.concatenate([clean, hit])
    if len(clean) < 10 or len(hit) < 10:
        return None
    coordinates = embed(
        rows, np.full(len(rows), c), guard.held_out.rows.numpy(), guard.held_out.predicted.numpy()
    )
    name = images.classes[c] if c < len(images.classes) else str(c)
    kind = np.repeat([0, 1], [len(clean), len(hit)])
    return Embedding(
        coordinates, kind, f"predicted {name}: clean and {attack_words(str(result.budget))}"
    )
