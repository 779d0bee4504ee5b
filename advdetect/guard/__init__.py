"""A classifier, a detector on its layers, and the calibration of that detector."""

from advdetect.guard.guard import Guard, Verdicts

__all__ = ["Guard", "Verdicts"]
