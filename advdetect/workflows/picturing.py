"""What the figures of a report show: chosen from an evaluation, drawn elsewhere."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from advdetect.attacks import ATTACKS, AttackResult, Budget
from advdetect.attacks.knowing import KnowingResult
from advdetect.data import ImageSet
from advdetect.detectors.transductive import embed
from advdetect.guard import Guard
from advdetect.metrics import robust_accuracy_curve
from advdetect.report.figures import Embedding, Figures, PictureRow
from advdetect.report.words import attack_words
from advdetect.runs.records import Block
from advdetect.workflows.evaluating import Evaluation
from advdetect.workflows.judging import Judged
from advdetect.workflows.observing import Observed
from advdetect.workflows.recording import ATTACK, CLEAN, CONTROL, distance, of_kind, right

PICTURES = 6
EVADING = 3  # pictures that got past the guard
EMBEDDED = 150  # inputs of each kind in the Fiedler embedding


def figures_of(
    judged: Judged, pictures: tuple[PictureRow, ...], embedding: Embedding | None
) -> Figures:
    """Scores and curves from the records, beside pictures and an embedding."""
    (clean,) = of_kind(judged.records, CLEAN)
    attacks = of_kind(judged.records, ATTACK, CONTROL)
    return Figures(
        clean["score"],
        {_budget(block): block["score"][_counted(block)] for block in attacks},
        frozenset(_budget(block) for block in of_kind(attacks, CONTROL)),
        judged.about["threshold"],
        _curves(of_kind(attacks, ATTACK)),
        pictures,
        embedding,
    )


def _budget(block: Block) -> str:
    eps = block.keys["eps"]
    return str(Budget(str(block.keys["attack"]), None if eps is None else float(eps)))


def _counted(block: Block) -> NDArray[np.bool_]:
    control = block.keys["kind"] == CONTROL
    return right(block) & (~block["success"] if control else block["success"])


def _curves(
    attacks: Sequence[Block],
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64], str]]:
    """Robust accuracy against eps, drawn whole by attacks that seek the smallest perturbation."""
    curves: dict[str, tuple[NDArray[np.float64], NDArray[np.float64], str]] = {}
    for block in attacks:
        name = str(block.keys["attack"])
        if block.keys["eps"] is not None or not ATTACKS[name].minimum_norm:
            continue
        sizes = np.where(block["success"], distance(block), np.inf)
        finite = sizes[np.isfinite(sizes)]
        if len(finite):
            eps = np.linspace(0, 1.02 * float(finite.max()), 200)
            curves[name] = (eps, robust_accuracy_curve(sizes, eps), str(block.keys["norm"]))
    return curves


def pictures_of(images: ImageSet, evaluation: Evaluation) -> tuple[PictureRow, ...]:
    """Show a success of each of several attacks, each of another image, first come first."""
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
                    _named(images, int(result.labels[row])),
                    _named(images, int(evaluation.clean.predicted[at])),
                    _named(images, int(seen.predicted[row])),
                    float(evaluation.clean.p_value[at]),
                    float(seen.p_value[row]),
                    bool(evaluation.clean.flagged[at]),
                    bool(seen.flagged[row]),
                )
            )
            break
    return tuple(shown)


def _named(images: ImageSet, c: int) -> str:
    """A class by its name, or by its number: a model may tell apart more than the data name."""
    return images.classes[c] if c < len(images.classes) else str(c)


def evading_pictures(
    guard: Guard, images: ImageSet, results: Sequence[KnowingResult]
) -> tuple[PictureRow, ...]:
    """Show what got past the guard, one image for each of the first budgets that let any past."""
    shown: list[PictureRow] = []
    used: set[int] = set()
    for k, eps in enumerate(results[0].budgets if results else ()):
        for result in results:
            past = result.evaded(guard.false_alarm_rate)[:, k].nonzero().squeeze(1).tolist()
            fresh = [row for row in past if row not in used]
            if fresh and len(shown) < EVADING:
                row = fresh[0]
                used.add(row)
                before = guard(images.images[row : row + 1])
                shown.append(
                    PictureRow(
                        images.images[row].numpy(),
                        result.adversarial[row, k].numpy(),
                        str(Budget(result.attack, eps)),
                        _named(images, int(result.labels[row])),
                        _named(images, int(result.clean_prediction[row])),
                        _named(images, int(result.prediction[row, k])),
                        float(before.p_value),
                        float(result.p_value[row, k]),
                        bool(before.flagged),
                        False,
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


def embedding_of(guard: Guard, images: ImageSet, evaluation: Evaluation) -> Embedding | None:
    """Embed clean and attacked inputs of the predicted class and the attack that have most."""
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
    name = _named(images, c)
    kind = np.repeat([0, 1], [len(clean), len(hit)])
    return Embedding(
        coordinates, kind, f"predicted {name}: clean and {attack_words(str(result.budget))}"
    )
