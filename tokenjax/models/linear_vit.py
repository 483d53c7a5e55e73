"""A vision transformer with ReLU linear attention: cost linear in the tokens.

Source: starkplus/CIFAR-ViT, LightweightViT (linear layers keep PyTorch's default
initialisation there). See `tokenjax.models.transformer` for the rest of the network.
`aux["attention"]` holds the weights that the linear attention amounts to.
"""

import functools

import flax.linen as nn
import jax

from tokenjax.models import layers
from tokenjax.models.argument_types import Heads, MlpRatio, Width
from tokenjax.models.layers import Initializer, ModuleMaker
from tokenjax.models.transformer import Transformer
from tokenjax.ops import linear_attention


class LinearAttention(nn.Module):
    """(b, n, c) -> (b, n, c), and the implied weights (b, h, n, n)."""

    num_heads: int
    linear: ModuleMaker

    @nn.compact
    def __call__(
        self, tokens: jax.Array, train: bool, visible: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Attend; `visible` (b, n): 1 for tokens to be attended to, None: all."""
        del train  # there is no attention matrix to drop from
        dim = tokens.shape[-1]
        qkv = self.linear(3 * dim, name="qkv")(tokens)
        query, key, value = layers.split_heads(qkv, self.num_heads)  # (b, h, n, d)
        if visible is not None:
            key *= visible[:, None, :, None].astype(key.dtype)
        mixed, normaliser = linear_attention.linear_attention(query, key, value)
        weights = linear_attention.implied_weights(query, key, normaliser)
        return self.linear(dim, name="proj")(layers.merge_heads(mixed)), weights


class LinearVisionTransformer(Transformer):
    """Classifier: images (b, img_size, img_size, in_channels) -> (logits, aux)."""

    embed_dim: Width = 384
    num_heads: Heads = 6
    mlp_ratio: MlpRatio = 3.0

    def attention(self) -> ModuleMaker:
        """Return ReLU linear attention."""
        return functools.partial(LinearAttention, num_heads=self.num_heads)

    def recorded_init(self) -> tuple[Initializer, Initializer | None]:
        """Return PyTorch's defaults."""
        return layers.torch_kernel_init, None
