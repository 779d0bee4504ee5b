"""A report of an evaluation: what it holds, and how it is told."""
