"""Keys of SDTPS's state_dict (DeMo2, modeling/sdtps_complete.py)."""

from tokenjax.convert.mapping import Entry, Path, Table, linear, norm
from tokenjax.models.demo.sdtps import MultiModalSDTPS, TokenAggregation, TokenSparse


def token_sparse_table(model: TokenSparse) -> Table:
    """Return the table of the recorded state_dict's keys."""
    del model
    return Table(tuple(_sparse("", ("params",))))


def token_aggregation_table(model: TokenAggregation) -> Table:
    """Return the table of the recorded state_dict's keys."""
    del model
    return Table(tuple(_aggregation("", ("params",))))


def sdtps_table(model: MultiModalSDTPS) -> Table:
    """Return the table of the recorded keys, for whatever modalities there are."""
    entries = []
    for name in model.modalities:
        sparse, aggregation = f"{name}_sparse", f"{name}_aggr"
        entries += _sparse(f"{sparse}.", ("params", sparse))
        entries += _aggregation(f"{aggregation}.", ("params", aggregation))
    return Table(tuple(entries))


def _sparse(prefix: str, path: Path) -> list[Entry]:
    entries = linear(f"{prefix}score_predictor.0", (*path, "fc1"))
    return entries + linear(f"{prefix}score_predictor.2", (*path, "fc2"))


def _aggregation(prefix: str, path: Path) -> list[Entry]:
    entries = [Entry(f"{prefix}scale", (*path, "scale"))]
    entries += norm(f"{prefix}weight.0", (*path, "norm"))
    entries += linear(f"{prefix}weight.1", (*path, "fc1"))
    return entries + linear(f"{prefix}weight.3", (*path, "fc2"))
