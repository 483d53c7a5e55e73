"""HDM and ATMoE: one feature per combination of modalities, weighed by experts.

Of modalities R, N, T with sequences S_m = [global; patches] there are seven parts j:
r, n, t, rn, rt, nt, rnt. S_j joins the sequences of the part's modalities.

    HDM     f_j = MultiheadAttention(query token_j, keys and values S_j)        (b, c)
    gate    query = BN(QuickGELU(W [f_r; ...; f_rnt]))                          (b, c)
            g     = softmax over j of (W_q query) (W_k f_j)^T d^-0.5, by head (b, h, j)
    expert  e_hj  = BN(QuickGELU(W_hj f_j[chunk h] + b_hj))                     (b, d)
    ATMoE   fused = [g_hj e_hj for all j, for all h]                            (b, j c)

HDM alone: fused = [f_r; ...; f_rnt]. Attention heads have 64 channels, gates d = c / h.

The query of a part is the same for every image and there is but one, so the projections
of keys and values move out of the sum over tokens,

    q (S W_k)^T = (q W_k^T) S^T,    weights (S W_v) = (weights S) W_v,

the same numbers for a 64th of the multiplications; a key bias cancels in the softmax.

Source: DeMo (Wang et al., AAAI 2025), DeMo2 at 6334359, modeling/moe/AttnMOE.py.

Axes: batch b, tokens n, attention heads a, gate heads h, parts j, dim c, head_dim d.
"""

import itertools
from collections.abc import Mapping
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.arguments import SIZE, DType
from tokenjax.models import layers
from tokenjax.models.argument_types import AttentionDropout, Width
from tokenjax.models.checked_module import CheckedModule
from tokenjax.models.layers import Aux

ATTENTION_HEAD_DIM = 64


def modality_parts(modalities: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return every combination by name, singles first: {"r": ("rgb",), ...}."""
    sizes = range(1, len(modalities) + 1)
    parts = itertools.chain(*(itertools.combinations(modalities, n) for n in sizes))
    return {"".join(name[0] for name in part): part for part in parts}


class Projection(nn.Module):
    """The packed weights of queries, keys and values: (c, 3 c) and (3 c,)."""

    dim: int

    @nn.compact
    def __call__(self) -> tuple[jax.Array, jax.Array]:
        shape = (self.dim, 3 * self.dim)
        kernel = self.param("kernel", nn.initializers.xavier_uniform(), shape)
        return kernel, self.param("bias", nn.initializers.zeros, shape[1:])


class TokenAttention(nn.Module):
    """torch.nn.MultiheadAttention of one learnable query (1, 1, c) to (b, n, c).

    Returns: (b, c), and the weights (b, a, n), after dropout.
    """

    num_heads: int
    dropout: float
    dtype: DType

    @nn.compact
    def __call__(
        self, query: jax.Array, tokens: jax.Array, train: bool
    ) -> tuple[jax.Array, jax.Array]:
        dim, heads = tokens.shape[-1], self.num_heads
        kernel, bias = Projection(dim, name="in_proj")()
        kernel = kernel.reshape(dim, 3, heads, -1)  # (c, q|k|v, a, d)
        bias = bias.reshape(3, heads, -1)
        query = jnp.einsum("c,cad->ad", query[0, 0], kernel[:, 0]) + bias[0]
        query *= query.shape[-1] ** -0.5
        weight_of_token = jnp.einsum("ad,cad->ac", query, kernel[:, 1])  # float32
        tokens = tokens.astype(self.dtype)
        logits = jnp.einsum(
            "ac,bnc->ban",
            weight_of_token.astype(self.dtype),
            tokens,
            preferred_element_type=jnp.float32,
        )
        weights = jax.nn.softmax(logits, axis=-1)
        weights = layers.Dropout(self.dropout, deterministic=not train)(weights)
        mixed = weights.astype(self.dtype) @ tokens  # (b, a, c)
        kernel, bias = kernel.astype(self.dtype), bias.astype(self.dtype)
        values = jnp.einsum("bac,cad->bad", mixed, kernel[:, 2])
        # Dropout's weights do not sum to 1: nor do the biases that they carry.
        values += weights.sum(-1, keepdims=True).astype(self.dtype) * bias[2]
        output = layers.Linear(
            dim, bias_init=nn.initializers.zeros, dtype=self.dtype, name="out_proj"
        )(values.reshape(len(tokens), dim))
        return output, weights


class Gate(nn.Module):
    """Features (b, j, c) to their weights (b, h, j), which sum to 1 over j."""

    num_heads: int
    dtype: DType

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> jax.Array:
        batch, parts, dim = features.shape
        query = layers.Linear(dim, dtype=self.dtype, name="reduce")(
            features.reshape(batch, parts * dim)
        )
        query = layers.quick_gelu(query)
        query = layers.BatchNorm(dtype=self.dtype, name="norm")(query, train)
        query, key = (
            nn.Dense(
                dim,
                use_bias=False,
                kernel_init=layers.torch_kernel_init,
                dtype=self.dtype,
                name=name,
            )(inputs)
            for name, inputs in (("query", query), ("key", features))
        )
        query = query.reshape(batch, self.num_heads, -1)  # (b, h, d)
        key = key.reshape(batch, parts, self.num_heads, -1)  # (b, j, h, d)
        logits = jnp.einsum(
            "bhd,bjhd->bhj", query, key, preferred_element_type=jnp.float32
        )
        return jax.nn.softmax(logits * query.shape[-1] ** -0.5, axis=-1)


class Experts(nn.Module):
    """One small network for every part and head: (b, j, c) -> (b, j, c).

    The original's h j separate modules, stacked in the order (j, h).
    """

    num_heads: int
    dtype: DType

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> jax.Array:
        batch, parts, dim = features.shape
        head_dim = dim // self.num_heads
        stack = (parts, self.num_heads, head_dim)
        init = layers.torch_bias_init(head_dim)
        kernel = self.param("kernel", init, (*stack, head_dim)).astype(self.dtype)
        bias = self.param("bias", init, stack)
        chunks = features.reshape(batch, *stack)
        hidden = jnp.einsum("bjhd,jhde->bjhe", chunks, kernel) + bias  # float32
        hidden = layers.quick_gelu(hidden).reshape(batch, parts * dim)
        norm = layers.BatchNorm(dtype=self.dtype, name="norm")
        return norm(hidden, train).reshape(batch, parts, dim)


class MixtureOfExperts(nn.Module):
    """ATMoE: (b, j, c) -> (b, j, c) weighed, and the gates (b, h, j)."""

    num_heads: int
    dtype: DType

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        gates = Gate(self.num_heads, self.dtype, name="gate")(features, train)
        experts = Experts(self.num_heads, self.dtype, name="experts")(features, train)
        batch, parts, dim = features.shape
        chunks = experts.reshape(batch, parts, self.num_heads, -1)
        weighed = chunks * gates.swapaxes(1, 2)[..., None].astype(self.dtype)
        return weighed.reshape(batch, parts, dim), gates


class GeneralFusion(CheckedModule):
    """Sequences by modality (b, n, c) to (fused (b, j c), aux).

    `aux` has "decoupled" (b, j, c), HDM's features; "attention", by part (b, a, n);
    "gates" (b, h, j), with `atm`; and "losses": {}. `head` is the number of gate heads.
    With `hdm` off there is nothing to fuse; the argument is the original's.

    Raises: UserError for arguments that do not fit together, ValueError for inputs.
    """

    feat_dim: Width = 512
    head: Annotated[int, SIZE, "gate heads"] = 4
    hdm: Annotated[bool, "must be on: there is nothing else to fuse"] = True
    atm: Annotated[bool, "weigh the features by experts"] = True
    modalities: Annotated[tuple[str, ...], "names of the modalities, in order"] = (
        "rgb",
        "nir",
        "tir",
    )
    dropout: AttentionDropout = 0.1
    dtype: DType = "float32"

    def problems(self) -> list[tuple[bool, str]]:
        """Return what the arguments are not to each other, as (wrong, sentence)."""
        names = self.modalities
        initials = {name[:1] for name in names}
        heads = self.feat_dim // ATTENTION_HEAD_DIM
        return [
            (not self.hdm, "hdm must be on; atm works on its features"),
            (
                heads < 1 or bool(self.feat_dim % heads),
                f"feat_dim must be at least {ATTENTION_HEAD_DIM} and divide by its "
                f"feat_dim // {ATTENTION_HEAD_DIM} heads, got {self.feat_dim}",
            ),
            (
                self.atm and bool(self.feat_dim % self.head),
                f"feat_dim {self.feat_dim} must divide by head {self.head}",
            ),
            (
                not names or "" in initials or len(initials) < len(names),
                f"modalities must start with different letters, got {names}",
            ),
        ]

    def example_inputs(self, batch_size: int) -> tuple[dict[str, jax.Array]]:
        """Return zeros of shapes that the module takes."""
        sequence = jnp.zeros((batch_size, 2, self.feat_dim), jnp.float32)
        return (dict.fromkeys(self.modalities, sequence),)

    @nn.compact
    def __call__(
        self, sequences: Mapping[str, jax.Array], train: bool = False
    ) -> tuple[jax.Array, Aux]:
        """Compute; see the class."""
        if set(sequences) != set(self.modalities):
            raise ValueError(
                f"sequences must be a dict by modality {self.modalities}, "
                f"got {tuple(sorted(sequences))}"
            )
        dtype = jnp.dtype(self.dtype)
        num_heads = self.feat_dim // ATTENTION_HEAD_DIM
        init = nn.initializers.normal(self.feat_dim**-0.5)
        features, attention = [], {}
        for part, members in modality_parts(self.modalities).items():
            query = self.param(f"{part}_token", init, (1, 1, self.feat_dim))
            joined = jnp.concatenate([sequences[name] for name in members], axis=1)
            attend = TokenAttention(num_heads, self.dropout, dtype, name=part)
            feature, attention[part] = attend(query, joined, train)
            features.append(feature)
        decoupled = jnp.stack(features, axis=1)  # (b, j, c)
        aux = {"decoupled": decoupled, "attention": attention, "losses": {}}
        fused = decoupled
        if self.atm:
            mixture = MixtureOfExperts(self.head, dtype, name="moe")
            fused, aux["gates"] = mixture(decoupled, train)
        return fused.reshape(len(fused), -1), aux
