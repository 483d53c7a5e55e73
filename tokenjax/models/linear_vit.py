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
from tokenjax.models.attention import Attended, Inside, Seen, Wanted
from tokenjax.models.layers import Initializer, ModuleMaker
from tokenjax.models.transformer import Transformer
from tokenjax.ops import linear_attention
from tokenjax.ops.attention import MaskedSoftmax


class LinearAttention(nn.Module):
    """(b, n, c) -> (b, n, c), and to be seen the implied weights (b, h, n, n).

    Its attributes are those that `Block` gives every attention.
    """

    num_heads: int
    linear: ModuleMaker
    wants: tuple[Wanted, ...] = ()
    masked_softmax: MaskedSoftmax | None = None

    @nn.compact
    def __call__(
        self,
        tokens: jax.Array,
        train: bool,
        keep: jax.Array | None = None,
        bias: jax.Array | None = None,
        inside: Inside | None = None,
    ) -> Attended:
        """Attend; `keep` (b, n): 1 for tokens to be attended to, None: all."""
        del train, bias, inside  # there is no attention matrix to change or drop from
        dim = tokens.shape[-1]
        qkv = self.linear(3 * dim, name="qkv")(tokens)
        query, key, value = layers.split_heads(qkv, self.num_heads)  # (b, h, n, d)
        if keep is not None:
            key *= keep[:, None, :, None].astype(key.dtype)
        mixed, normaliser = linear_attention.linear_attention(query, key, value)
        weights = linear_attention.implied_weights(query, key, normaliser)
        mixed = self.linear(dim, name="proj")(layers.merge_heads(mixed))
        return Attended(mixed, Seen(attention=weights))


class LinearVisionTransformer(Transformer):
    """Classifier: images (b, img_size, img_size, in_channels) -> (logits, aux)."""

    embed_dim: Width = 384
    num_heads: Heads = 6
    mlp_ratio: MlpRatio = 3.0

    def attention(self) -> ModuleMaker:
        """Return ReLU linear attention."""
        return functools.partial(
            LinearAttention, num_heads=self.num_heads, linear=self.linear()
        )

    def recorded_init(self) -> tuple[Initializer, Initializer | None]:
        """Return PyTorch's defaults."""
        return layers.torch_kernel_init, None
