"""Make inputs adversarial: tables of attacks and suites, and one way to run them."""

from advdetect.attacks.base import Attack, Budget
from advdetect.attacks.chunks import attack_chunk
from advdetect.attacks.running import AttackResult, AttackRun, attack, choose_budgets
from advdetect.attacks.tables import ATTACKS, SUITES

__all__ = [
    "ATTACKS",
    "SUITES",
    "Attack",
    "AttackResult",
    "AttackRun",
    "Budget",
    "attack",
    "attack_chunk",
    "choose_budgets",
]
