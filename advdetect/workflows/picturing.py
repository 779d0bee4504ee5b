"""What the figures of a report show: chosen from an evaluation, drawn elsewhere."""

import numpy as np
from numpy.typing import NDArray

from advdetect.attacks import ATTACKS, AttackResult
from advdetect.data import ImageSet
from advdetect.detectors.transductive import embed
from advdetect.guard import Guard
from advdetect.report.report import Embedding, Figures, PictureRow
from advdetect.workflows.evaluating import Evaluation, Observed

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
        _curves([result for result, _ in evaluation.attacked]),
        _pictures(images, evaluation),
        _embedding(guard, images, evaluation),
    )


def _curves(
    results: list[AttackResult],
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64], str]]:
    """Robust accuracy against eps: whole curves of minimum-norm attacks, points of others."""
    curves: dict[str, tuple[NDArray[np.float64], NDArray[np.float64], str]] = {}
    for name in dict.fromkeys(result.attack for result in results if not result.control):
        own = [result for result in results if result.attack == name]
        if ATTACKS[name].minimum_norm and own[0].eps is None:
            sizes = np.where(own[0].success.numpy(), own[0].distances.numpy(), np.inf)
            finite = sizes[np.isfinite(sizes)]
            if len(finite):
                eps = np.linspace(0, float(finite.max()) * 1.02, 200)
                curves[name] = (eps, (sizes > eps[:, None]).mean(1), own[0].norm)
            continue
        right = float((own[0].clean_prediction == own[0].labels).float().mean())
        points = sorted((r.eps or 0.0, float((~r.success).float().mean())) for r in own)
        eps_points, robust = zip((0.0, right), *points, strict=True)
        curves[name] = (np.array(eps_points), np.array(robust), own[0].norm)
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
    return Embedding(coordinates, kind, f"predicted {name}: clean and {result.budget}")
