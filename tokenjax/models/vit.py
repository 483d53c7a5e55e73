"""The plain vision transformer: softmax attention over all tokens.

    attention(x) = proj(softmax(q k^T / sqrt(D)) v)

Source: starkplus/CIFAR-ViT, VisionTransformer. See `tokenjax.models.transformer` for
the rest of the network, and for `aux`.
"""

from tokenjax.models import contract, reduction
from tokenjax.models.argument_types import AttentionDropout
from tokenjax.models.layers import ModuleMaker
from tokenjax.models.reduction import MayLearnToPrune
from tokenjax.models.reduction.reducer import Method
from tokenjax.models.transformer import Transformer


class VisionTransformer(Transformer, MayLearnToPrune):
    """Classifier: images (b, img_size, img_size, in_channels) -> (logits, aux).

    `patch_dropout` does not act where a reduction learns which patches to leave out.
    """

    attn_dropout: AttentionDropout = 0.1

    def parameter_groups(self) -> contract.Groups:
        """Return the groups of its parameters, as `contract.Model` says."""
        own = reduction.predictor_group(self.written_reduction(), self.facts())
        return {**super().parameter_groups(), **own}

    def kept_shares(self) -> dict[str, float]:
        """Return what its reduction keeps; see `contract.KeepsShares`."""
        return reduction.kept_shares(self.written_reduction(), self.facts())

    def attention(self) -> ModuleMaker:
        """Return softmax attention with a dropout rate of its own."""
        return self.softmax_attention(self.attn_dropout)

    def method(self) -> Method | None:
        """Return how tokens are reduced, if they are."""
        return self.written_reduction()

    def patches_left_out(self) -> float:
        """Return `patch_dropout` where no patch is dropped by what is learned."""
        return 0.0 if self.learns_to_prune() else self.patch_dropout
