"""What a model's layers say about an input: recording, and feature rows by family."""

from advdetect.features.extractor import Column, FeatureExtractor
from advdetect.features.recording import record
from advdetect.features.tables import FEATURES

__all__ = ["FEATURES", "Column", "FeatureExtractor", "record"]
