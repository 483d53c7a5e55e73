"""Multi-head softmax attention, as every transformer here has it.

    x -> out(attend(q, k, v)),   (q | k | v) = in(x)

What others want to see of it (`Seen`) is computed when asked for; nothing else is.

Axes: batch b, heads h, tokens n, dim c, head_dim d.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import flax.linen as nn
import jax

from tokenjax.models import layers
from tokenjax.models.layers import ModuleMaker
from tokenjax.ops import attention
from tokenjax.ops.masked_attention import masked_softmax

Wanted = Literal["keys", "values", "class_attention", "attention"]


class Seen(NamedTuple):
    """What there is to see of an attention; None where nobody asked."""

    keys: jax.Array | None = None  # (b, h, n, d)
    values: jax.Array | None = None  # (b, h, n, d)
    class_attention: jax.Array | None = None  # (b, h, n), the first token's to all
    # (b, h, n, n), in training after dropout, so not normalised.
    attention: jax.Array | None = None

    def ask(self, name: Wanted) -> jax.Array:
        """Return what was wanted under a name."""
        found: jax.Array | None = self._asdict()[name]
        assert found is not None, f"nobody wanted {name}"
        return found


class Mixing(NamedTuple):
    """Weights (b, h, q, k) and values (b, h, k, d) to go on with, q tokens being left.

    `left` is whatever its maker wants handed on.
    """

    weights: jax.Array
    values: jax.Array
    left: Any


# Of what it sees, and what makes queries, keys and values of normalised tokens.
Project: TypeAlias = Callable[[jax.Array], tuple[jax.Array, ...]]
Inside: TypeAlias = Callable[[Seen, Project], Mixing]


class Attended(NamedTuple):
    """The output (b, q, c), what was seen, and what `Inside` handed on."""

    mixed: jax.Array
    seen: Any
    left: Any = None


class SelfAttention(nn.Module):
    """Softmax attention: tokens (b, n, c) -> `Attended`.

    Attributes:
      num_heads: h.
      in_proj, out_proj: what makes the linear layers, of (features, name=).
      scale: of the logits; None: d ** -0.5.
      dropout: of the weights, in training.
      names: of the linear layers.
      head_norm: what normalises each head's queries and keys, of (name=).
      wants: what the caller wants to see.
      masked_softmax: what a mask is computed by.
    """

    num_heads: int
    in_proj: ModuleMaker
    out_proj: ModuleMaker
    scale: float | None = None
    dropout: float = 0.0
    names: tuple[str, str] = ("qkv", "proj")
    head_norm: ModuleMaker | None = None
    wants: tuple[Wanted, ...] = ()
    masked_softmax: attention.MaskedSoftmax = masked_softmax

    @nn.compact
    def __call__(
        self,
        tokens: jax.Array,
        train: bool,
        keep: jax.Array | None = None,
        bias: jax.Array | None = None,
        inside: Inside | None = None,
    ) -> Attended:
        """Attend.

        Args:
          tokens: (b, n, c), normalised.
          train: whether weights are dropped.
          keep: (b, n), 1 for tokens to be attended to; None: all.
          bias: (b, n), added to every logit of a key.
          inside: what takes weights and values and decides what is mixed.
        """
        dim = tokens.shape[-1]
        in_proj = self.in_proj(3 * dim, name=self.names[0])
        norms: tuple[nn.Module, ...] = ()
        if self.head_norm is not None:
            norms = self.head_norm(name="q_norm"), self.head_norm(name="k_norm")

        def project(inputs: jax.Array) -> tuple[jax.Array, ...]:
            query, key, value = layers.split_heads(in_proj(inputs), self.num_heads)
            if norms:
                query, key = norms[0](query), norms[1](key)
            return query, key, value  # (b, h, n, d)

        query, key, value = project(tokens)
        scale = self.scale or query.shape[-1] ** -0.5
        settings = (scale, bias, keep, self.masked_softmax)
        dropped = train and self.dropout > 0
        weights = None
        if dropped or keep is not None or inside or "attention" in self.wants:
            weights = attention.attention_weights(query, key, *settings)
            drop = layers.Dropout(self.dropout, deterministic=not train)
            weights = drop(weights)
        row = None
        if "class_attention" in self.wants:
            row = attention.attention_weights(query[:, :, :1], key, *settings)[:, :, 0]
        seen = Seen(
            keys=key if "keys" in self.wants else None,
            values=value if "values" in self.wants else None,
            class_attention=row,
            attention=weights if "attention" in self.wants else None,
        )
        left = None
        if inside is not None:
            weights, value, left = inside(seen, project)
        if dropped or keep is not None or inside:
            assert weights is not None
            mixed = weights.astype(value.dtype) @ value
        else:
            mixed = attention.attend(query, key, value, scale, bias)
        mixed = self.out_proj(dim, name=self.names[1])(layers.merge_heads(mixed))
        return Attended(mixed, seen, left)
