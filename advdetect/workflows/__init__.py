"""What a user asks for: one verb and one frozen result per file."""

from advdetect.workflows.evaluating import evaluate

__all__ = ["evaluate"]
