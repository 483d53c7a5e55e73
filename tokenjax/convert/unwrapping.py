"""Arrays of a file under the keys of a model's table, whatever names and wraps them.

Wrappers' names are known by what is left without them (`key_prefixes`), and that may be
another library's name (`layouts`): so the one is taken off in sight of the other.
"""

import functools
from collections.abc import Collection

import flax.linen as nn
import numpy as np

from tokenjax import models
from tokenjax.convert import key_prefixes, layouts
from tokenjax.convert.mapping import unwrap
from tokenjax.convert.tables import table_for
from tokenjax.models.registry import MODELS

Arrays = dict[str, np.ndarray]


def under_table_keys(
    model: nn.Module, arrays: Arrays, optional: Collection[str] = ()
) -> Arrays:
    """Return arrays under the keys of the model's table, as far as they are known.

    Args:
      optional: keys that the file need not have.

    Raises: ConversionError for weights that are there twice.
    """
    rename = functools.partial(layouts.rename, type(model))
    optional = {*optional, *layouts.layout_of(model).optional}
    return rename(unwrap(table_for(model), arrays, rename, optional))


def without_likely_prefix(name: str, arrays: Arrays) -> Arrays:
    """Return arrays by the file's own keys, for a model whose size they are to tell.

    Args:
      name: of the model.
    """
    rename = functools.partial(layouts.rename, MODELS[name].module_class)
    table = table_for(models.create(name))
    keys = [entry.torch_key for entry in table.entries]
    return key_prefixes.below_likely_prefix(arrays, keys, rename)
