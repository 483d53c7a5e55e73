"""int8 weights by Qwix: symmetric, a scale for each output channel.

The arithmetic stays float32: what shrinks is the memory that weights take and their way
from it. Qwix is an optional dependency (`pip install qwix`).
"""

import importlib.util
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.errors import UserError


def check_installed() -> None:
    """Raises: UserError without Qwix."""
    if importlib.util.find_spec("qwix") is None:
        raise UserError(
            "--dtype int8 quantises with Qwix, which is not installed: pip install qwix"
        )


def with_int8_weights(
    module: nn.Module, variables: Any, examples: Sequence[tuple[Any, ...]]
) -> tuple[nn.Module, Any]:
    """The module and its variables, weights of products and convolutions in int8."""
    import qwix

    rule = qwix.QuantizationRule(module_path=".*", weight_qtype=jnp.int8)
    quantized = qwix.quantize_model(module, qwix.PtqProvider([rule]))
    shapes = jax.eval_shape(quantized.init, jax.random.key(0), *examples[0])
    params = qwix.quantize_params(variables["params"], shapes["params"])
    return quantized, {**variables, "params": params}
