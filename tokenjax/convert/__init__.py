"""PyTorch weights in and out, exactly.

    variables = from_torch(model, state_dict)
    state_dict = to_torch(model, variables)      # the exact inverse

and as a command, `python -m tokenjax.convert --model vdpa --checkpoint weights.pth
--output DIR`, which writes what `--config.init_from=DIR` reads.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import numpy as np

from tokenjax.convert.mapping import apply_table, as_arrays, invert_table
from tokenjax.convert.tables import table_for
from tokenjax.convert.unwrapping import under_table_keys
from tokenjax.errors import ConversionError

__all__ = ["ConversionError", "from_torch", "to_torch"]


def from_torch(model: nn.Module, state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a PyTorch state_dict to Flax variables {"params": ..., ...} in float32.

    Wrappers' prefixes are stripped, and other published names of the same weights are
    known (`tokenjax.convert.layouts`). Buffers that Flax does not keep are checked and
    left out.

    Args:
      model: a module of `tokenjax.models`.
      state_dict: key -> numpy array or torch tensor.

    Raises: ConversionError that lists all missing, unexpected and misshapen keys.
    """
    arrays = under_table_keys(model, as_arrays(state_dict))
    return apply_table(table_for(model), model, arrays)


def to_torch(model: nn.Module, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Convert Flax variables to a PyTorch state_dict, buffers included.

    A gradient tree of the same structure turns into gradients by PyTorch key.

    Args:
      model: a module of `tokenjax.models`.
      variables: {"params": ..., ...}, or the parameters alone.

    Raises: ConversionError that lists all missing and unexpected paths.
    """
    return invert_table(table_for(model), variables)
