"""The tokens of timm's VisionTransformer, without its classifier.

    tokens = [class; distillation; registers; patches] + positions
    output = norm(blocks(tokens))

Positions are for all tokens, or with `no_embed_class` for the patches alone. There is
no `norm` where what is pooled has one.

Axes: batch b, tokens n, patches p, dim c.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.models import layers
from tokenjax.models.baselines.vit_arguments import ViTArguments
from tokenjax.models.encoder import encode, normal_init, patch_init, vision_blocks
from tokenjax.models.layers import Aux
from tokenjax.models.reduction import TokenSet
from tokenjax.models.reduction.token_set import leave_out


class ViTEncoder(ViTArguments):
    """Images (b, *img_size, in_chans) -> (what the last block left, normed, aux).

    The tokens are float32; `aux`: "losses" and "reduction", what the reduction says.
    """

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> tuple[TokenSet, Aux]:
        """Compute; see the class."""
        layers.check_images(images, (*self.image_size, self.in_chans))
        dtype = jnp.dtype(self.dtype)
        token_set = TokenSet.start(self._embed(images), protected=self.leading)
        method = self.written_reduction()
        learns = method is not None and method.learns  # which patches to leave out
        if train and self.patch_drop_rate and not learns:
            key = self.make_rng("dropout")
            token_set = leave_out(token_set, key, self.patch_drop_rate)
        encoded = encode(
            token_set,
            train,
            vision_blocks(
                self.depth,
                num_heads=self.num_heads,
                hidden_dim=int(self.embed_dim * self.mlp_ratio),
                activation=layers.ACTIVATIONS[self.activation],
                epsilon=self.norm_eps,
                in_proj_bias=self.qkv_bias,
                head_norm=self.qk_norm,
                layer_scale=self.init_values,
                attention_dropout=self.attn_drop_rate,
                drop_path=self.drop_path_rate,
                dtype=dtype,
            ),
            self.remat,
            method,
            self.facts(),
        )
        tokens = encoded.token_set.tokens
        if not self.norms_pooled:
            norm = nn.LayerNorm(epsilon=self.norm_eps, dtype=dtype, name="norm")
            tokens = norm(tokens)
        aux = {"losses": encoded.losses(), "reduction": encoded.account()}
        return encoded.token_set.replace(tokens=tokens.astype(jnp.float32)), aux

    def _embed(self, images: jax.Array) -> jax.Array:
        """Turn images into tokens with their positions: (b, n, c)."""
        dtype = jnp.dtype(self.dtype)
        patches = layers.PatchEmbedding(
            self.patch_size,
            self.embed_dim,
            dtype=dtype,
            kernel_init=patch_init,
            name="patch_embed",
        )(images).astype(layers.STREAM)  # (b, p, c)
        front = self._learn("cls_token", int(self.class_token))
        (position,) = self._learn("pos_embed", self.positions().length)
        position = position.astype(layers.STREAM)
        front += self._learn("dist_token", int(self.distilled))
        front += self._learn("reg_token", self.reg_tokens)
        if self.no_embed_class:
            return layers.put_in_front(front, patches + position)
        return layers.put_in_front(front, patches) + position

    def _learn(self, name: str, count: int) -> list[jax.Array]:
        """Return so many learned tokens, (1, count, c), if there are any."""
        if not count:
            return []
        return [self.param(name, normal_init, (1, count, self.embed_dim))]
