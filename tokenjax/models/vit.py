"""The plain vision transformer: softmax attention over all tokens.

    attention(x) = proj(softmax(q k^T / sqrt(D)) v)

Source: starkplus/CIFAR-ViT, VisionTransformer. See `tokenjax.models.transformer` for
the rest of the network, and for `aux`.
"""

from tokenjax.models.argument_types import AttentionDropout
from tokenjax.models.layers import ModuleMaker
from tokenjax.models.reduction import TakesReduction
from tokenjax.models.reduction.reducer import Method
from tokenjax.models.transformer import Transformer


class VisionTransformer(Transformer, TakesReduction):
    """Classifier: images (b, img_size, img_size, in_channels) -> (logits, aux)."""

    attn_dropout: AttentionDropout = 0.1

    def attention(self) -> ModuleMaker:
        """Return softmax attention with a dropout rate of its own."""
        return self.softmax_attention(self.attn_dropout)

    def method(self) -> Method | None:
        """Return how tokens are reduced, if they are."""
        return self.written_reduction()
