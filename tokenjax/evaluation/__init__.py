"""Metrics as plain functions on arrays: nothing here knows a model or a data set."""

from tokenjax.evaluation.chance import chance_by_rank, chance_of_retrieval
from tokenjax.evaluation.classification import TOP, finite, summarize, top_accuracies
from tokenjax.evaluation.reranking import rerank_distances
from tokenjax.evaluation.retrieval import (
    Retrieval,
    count_matches,
    evaluate_distances,
    evaluate_retrieval,
    rank_lists,
)
from tokenjax.evaluation.routing import summarize_routing, target_patches
from tokenjax.evaluation.shots import accuracy_by_shots
from tokenjax.evaluation.text_report import write_report

__all__ = [
    "TOP",
    "Retrieval",
    "accuracy_by_shots",
    "chance_by_rank",
    "chance_of_retrieval",
    "count_matches",
    "evaluate_distances",
    "evaluate_retrieval",
    "finite",
    "rank_lists",
    "rerank_distances",
    "summarize",
    "summarize_routing",
    "target_patches",
    "top_accuracies",
    "write_report",
]
