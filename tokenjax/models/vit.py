"""The plain vision transformer: softmax attention over all tokens.

    attention(x) = proj(softmax(q k^T / sqrt(D)) v)

Source: starkplus/CIFAR-ViT, VisionTransformer. See `tokenjax.models.transformer` for
the rest of the network, and for `aux`.
"""

import flax.linen as nn

from tokenjax.models import contract, reduction
from tokenjax.models.argument_types import AttentionDropout
from tokenjax.models.layers import ModuleMaker
from tokenjax.models.reduction import ReductionName
from tokenjax.models.reduction.found import find_arguments
from tokenjax.models.reduction.reducer import Method
from tokenjax.models.transformer import Transformer


class VisionTransformer(Transformer):
    """Classifier: images (b, img_size, img_size, in_channels) -> (logits, aux)."""

    attn_dropout: AttentionDropout = 0.1
    reduction: ReductionName = None

    def __post_init__(self) -> None:
        super().__post_init__()
        reduction.check(reduction.build(self.reduction), self.facts())

    def attention(self) -> ModuleMaker:
        """Return softmax attention with a dropout rate of its own."""
        return self.softmax_attention(self.attn_dropout)

    def method(self) -> Method | None:
        """Return how tokens are reduced, if they are."""
        return reduction.build(self.reduction)

    @nn.nowrap
    def found_arguments(self, variables: contract.Tree) -> dict[str, object]:
        """Return what its reduction found, as `contract.FindsArguments` says."""
        return find_arguments(self.reduction, self.facts(), variables)
