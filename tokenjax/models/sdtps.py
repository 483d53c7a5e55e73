"""SDTPS by its public name; the code lives in `tokenjax.models.demo.sdtps`."""

from tokenjax.models.demo.sdtps import (
    MODALITIES,
    MultiModalSDTPS,
    TokenAggregation,
    TokenSparse,
)

__all__ = ["MODALITIES", "MultiModalSDTPS", "TokenAggregation", "TokenSparse"]
