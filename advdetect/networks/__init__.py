"""Networks that advdetect trains itself, and how any model is found by name."""

from advdetect.networks.ensemble import Ensemble
from advdetect.networks.loading import LoadedModel, build, load_model, models_folder
from advdetect.networks.tables import NETWORKS

__all__ = ["NETWORKS", "Ensemble", "LoadedModel", "build", "load_model", "models_folder"]
