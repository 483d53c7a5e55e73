"""Weights of one use for another: other classes, another image size, other channels.

    variables, sentences = adapt(own, given, model, classes, origin)

What a model's contract tells decides: which arrays count classes (`HEAD`), lie on a
grid (`KnowsPlaces`) or read an image's channels (`INPUT`), never a shape alone. What is
the same is taken bit for bit, all else is said.
"""

from tokenjax.training.adaptation.adapt import Origin, adapt
from tokenjax.training.adaptation.classes import reorder_head

__all__ = ["Origin", "adapt", "reorder_head"]
