"""The plain vision transformer: softmax attention over all tokens.

    attention(x) = proj(softmax(q k^T / sqrt(D)) v)

Source: starkplus/CIFAR-ViT, VisionTransformer. See `tokenjax.models.transformer` for
the rest of the network, and for `aux`.
"""

import functools

from tokenjax.models.argument_types import AttentionDropout
from tokenjax.models.layers import ModuleMaker
from tokenjax.models.transformer import Attention, Transformer


class VisionTransformer(Transformer):
    """Classifier: images (b, img_size, img_size, in_channels) -> (logits, aux)."""

    attn_dropout: AttentionDropout = 0.1

    def attention(self) -> ModuleMaker:
        """Return softmax attention with a dropout rate of its own."""
        return functools.partial(
            Attention, num_heads=self.num_heads, dropout=self.attn_dropout
        )
