"""Predictors: how much each patch token is wanted, as keep/drop logits.

Axes: batch b, patch tokens now m, dim c.
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.arguments import DType
from tokenjax.models import layers
from tokenjax.models.layers import ModuleMaker


class LinearPredictor(nn.Module):
    """Keep/drop logits by one linear score; dropping has logit 0.

    Source: starkplus/CIFAR-ViT, DynamicViT.
    """

    linear: ModuleMaker

    @nn.compact
    def __call__(self, patches: jax.Array, keep: jax.Array | None) -> jax.Array:
        """Score: (b, m, c) -> (b, m, 2)."""
        del keep
        score = self.linear(1, exact=True, name="score")(patches)
        return jnp.concatenate([score, jnp.zeros_like(score)], axis=-1)


# Kind, PyTorch's name in raoyongming/DynamicViT, and name of its layers.
LOCAL_GLOBAL_LAYERS: tuple[tuple[Literal["norm", "linear"], str, str], ...] = (
    ("norm", "in_conv.0", "norm"),
    ("linear", "in_conv.1", "fc1"),
    ("linear", "out_conv.0", "fc2"),
    ("linear", "out_conv.2", "fc3"),
    ("linear", "out_conv.4", "fc4"),
)


class LocalGlobalPredictor(nn.Module):
    """Keep/drop logits from each token and the mean of those that are left.

        z = GELU(W LayerNorm(x));  z' = [first half of z; mean over kept of its second]
        logits = MLP(z'), widths c -> c/2 -> c/4 -> 2

    Source: Rao et al. 2021 (arXiv 2106.02034), equations 2 to 5.
    """

    linear: ModuleMaker
    dtype: DType

    @nn.compact
    def __call__(self, patches: jax.Array, keep: jax.Array | None) -> jax.Array:
        """Score: (b, m, c) -> (b, m, 2)."""
        dim = patches.shape[-1]
        hidden = layers.LayerNorm(dtype=self.dtype, name="norm")(patches)
        hidden = layers.gelu(self.linear(dim, name="fc1")(hidden))
        local, pooled = jnp.split(hidden, [dim // 2], axis=-1)
        if keep is None:
            everywhere = pooled.mean(axis=1, keepdims=True)  # (b, 1, c - c // 2)
        else:
            weights = keep[..., None]  # float32, in which whole numbers are exact
            count = jnp.maximum(weights.sum(axis=1, keepdims=True), 1e-6)
            everywhere = (pooled * weights).sum(axis=1, keepdims=True) / count
        everywhere = jnp.broadcast_to(everywhere, pooled.shape).astype(pooled.dtype)
        hidden = jnp.concatenate([local, everywhere], axis=-1)
        hidden = layers.gelu(self.linear(dim // 2, name="fc2")(hidden))
        hidden = layers.gelu(self.linear(dim // 4, name="fc3")(hidden))
        return self.linear(2, exact=True, name="fc4")(hidden)
