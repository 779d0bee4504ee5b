"""Train members that solve the task in different ways."""

from advdetect.ensembles.adversaries import ADVERSARIES
from advdetect.ensembles.configuring import TrainingConfig, assign, read_toml
from advdetect.ensembles.penalties import PENALTIES
from advdetect.ensembles.training import Step, Trainer

__all__ = ["ADVERSARIES", "PENALTIES", "Step", "Trainer", "TrainingConfig", "assign", "read_toml"]
