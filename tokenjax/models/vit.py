"""The plain vision transformer: softmax attention over all tokens.

    attention(x) = proj(softmax(q k^T / sqrt(D)) v)

Source: starkplus/CIFAR-ViT, VisionTransformer. See `tokenjax.models.transformer` for
the rest of the network, and for `aux`.
"""

import functools
from typing import Any

from tokenjax.models.transformer import Attention, Transformer


class VisionTransformer(Transformer):
    """Classifier: images (b, img_size, img_size, in_channels) -> (logits, aux)."""

    attn_dropout: float = 0.1

    def problems(self) -> list[tuple[bool, str]]:
        """See `Transformer`."""
        wrong = not 0 <= self.attn_dropout < 1
        return [*super().problems(), (wrong, "attn_dropout must be within [0, 1)")]

    def attention(self) -> Any:
        """Softmax attention with a dropout rate of its own."""
        return functools.partial(
            Attention, num_heads=self.num_heads, dropout=self.attn_dropout
        )
