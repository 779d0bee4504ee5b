"""Names as the tables have them."""

import pytest

from advdetect.attacks import ATTACKS, SUITES
from advdetect.attacks.knowing import KNOWING
from advdetect.data import DATASETS
from advdetect.detectors import DETECTORS
from advdetect.errors import InputError
from advdetect.features import FEATURES
from advdetect.networks.loading import shipped_models
from advdetect.similarity import MEASURES
from advdetect.workflows.listing import KINDS, list_table

TABLES = {
    "models": shipped_models(),
    "attacks": [*ATTACKS, *KNOWING],
    "suites": [*SUITES, "adaptive"],
    "detectors": DETECTORS,
    "features": FEATURES,
    "measures": MEASURES,
    "datasets": [*DATASETS, "FOLDER", "FILE.npz"],
}


@pytest.mark.parametrize("kind", TABLES)
def test_every_name_is_listed_with_something_said_of_it(kind):
    table = list_table(kind)
    assert [row[0] for row in table.rows] == list(TABLES[kind])
    for row in table.rows:
        assert len(row) == len(table.header)
        assert all(row)


def test_every_kind_is_known():
    assert set(KINDS) >= set(TABLES)


def test_noise_and_smallest_perturbations_are_told_apart():
    rows = {row[0]: row for row in list_table("attacks").rows}
    assert rows["linf_uniform_noise"][3] == "noise"
    assert rows["l2_deepfool"][3] == "smallest"
    assert rows["linf_pgd"][1:] == ("linf", "pgd", "within eps")
    suites = dict(list_table("suites").rows)
    assert suites["quick"].startswith("linf_fgsm 8/255, linf_pgd 8/255, ")


def test_an_unknown_kind_lists_what_there_is():
    with pytest.raises(InputError, match="no kind of names named 'birds', choose from: models, "):
        list_table("birds")
