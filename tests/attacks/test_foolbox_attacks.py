"""Foolbox is imported late and without a word."""

import os
import subprocess
import sys

import pytest

from advdetect.attacks import ATTACKS
from advdetect.attacks.foolbox_attacks import foolbox

BUILD_ALL = """
from advdetect.attacks import ATTACKS
for spec in ATTACKS.values():
    spec.build()
print("built", len(ATTACKS))
"""


@pytest.mark.parametrize("path", ["with git", "without git"])
def test_a_fresh_process_builds_every_attack_without_a_word(path, tmp_path):
    environment = dict(os.environ)
    if path == "without git":
        environment["PATH"] = str(tmp_path)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", BUILD_ALL],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert (result.stdout, result.stderr) == (f"built {len(ATTACKS)}\n", "")


@pytest.mark.parametrize("name", [name for name in ATTACKS if not ATTACKS[name].sizeless])
def test_the_kind_of_attack_is_what_the_table_says(name):
    kinds = foolbox().attacks.base
    kind = kinds.MinimizationAttack if ATTACKS[name].minimum_norm else kinds.FixedEpsilonAttack
    assert isinstance(ATTACKS[name].build(), kind)
