"""Metrics as plain functions on arrays: nothing here knows a model or a data set."""

from tokenjax.evaluation.classification import summarize

__all__ = ["summarize"]
