"""One block and one encoder for every transformer here.

    x += ls1 attention(norm1(x));  [reduce x];  x += ls2 MLP(norm2(x))

In training dropout, and stochastic depth: a branch is left out for a sample with
probability `drop_path`, else divided by 1 - drop_path (Huang et al. 2016, arXiv
1603.09382). Rates of 0 draw nothing. LayerNorm and softmax are computed in float32. The
scales ls1, ls2 (Touvron et al. 2021, arXiv 2103.17239) are there with `layer_scale`.

A method of token reduction (`models.reduction`) acts before a block, between its
attention and its MLP, or in its attention.

Axes: batch b, tokens n, dim c.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from tokenjax.arguments import DType
from tokenjax.models import layers
from tokenjax.models.attention import (
    Attended,
    Inside,
    Mixing,
    Project,
    Seen,
    SelfAttention,
    Wanted,
)
from tokenjax.models.layers import Activation, Initializer, ModuleMaker
from tokenjax.models.reduction.account import Account, account_for
from tokenjax.models.reduction.reducer import EncoderFacts, Method, Place, Reducer
from tokenjax.models.reduction.token_set import Reduction, TokenSet
from tokenjax.ops.attention import MaskedSoftmax
from tokenjax.ops.masked_attention import masked_softmax
from tokenjax.ops.row_major import keep_row_major

normal_init = nn.initializers.normal(0.02)
patch_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")  # of patches


class Passed(NamedTuple):
    """What a block gives: its tokens (b, n, c) first."""

    tokens: jax.Array
    token_set: TokenSet  # with these tokens
    seen: Any  # of its attention
    reduction: Reduction | None  # what a reducer did in it


class Block(nn.Module):
    """One pre-norm transformer block: `TokenSet` -> `Passed`.

    Attributes:
      mlp: what makes the MLP, of (name=).
      norm: what makes a norm, of (name=).
      attention: what makes the attention, of (name=, wants=, masked_softmax=); see
        `SelfAttention`.
      dropout: of the attention's output, in training.
      drop_path: see the module.
      layer_scale: what the scales start at; None: there are none.
      wants: what is to be seen of the attention.
      biased: whether attention adds the logarithm of a key's size.
      masked_softmax: what a mask is computed by.
      reducer: what reduces within this block, if anything does.
      place: of the reducer.
    """

    mlp: ModuleMaker
    norm: ModuleMaker
    attention: ModuleMaker = SelfAttention
    dropout: float = 0.0
    drop_path: float = 0.0
    layer_scale: float | None = None
    wants: tuple[Wanted, ...] = ()
    biased: bool = False
    masked_softmax: MaskedSoftmax = masked_softmax
    reducer: Reducer | None = None
    place: Place | None = None

    @nn.compact
    def __call__(self, token_set: TokenSet, train: bool) -> Passed:
        """Compute; see the class."""
        token_set = _keep_row_major(token_set, train)
        attended = self.attend(self.norm(name="norm1"), token_set, train)
        drop = layers.Dropout(self.dropout, deterministic=not train)
        whole = layers.Dropout(self.drop_path, (1, 2), deterministic=not train)
        reduction = None
        if attended.left is not None:
            token_set, reduction = attended.left
        mixed = self._scale("ls1", attended.mixed)
        token_set = token_set.replace(tokens=token_set.tokens + whole(drop(mixed)))
        if self.reducer is not None and self.reducer.site == "between":
            assert self.place is not None
            token_set, reduction = self.reducer(
                token_set, attended.seen, self.place, train
            )
        token_set = _keep_row_major(token_set, train)
        tokens = token_set.tokens
        hidden = self.mlp(name="mlp")(self.norm(name="norm2")(tokens), train)
        tokens += whole(self._scale("ls2", hidden))
        token_set = token_set.replace(tokens=tokens)
        return Passed(tokens, token_set, attended.seen, reduction)

    def attend(self, norm: nn.Module, token_set: TokenSet, train: bool) -> Attended:
        """Attend to a set's tokens; a block with an attention of its own replaces it.

        Made within the block's scope, so its parameters can be the block's.
        """
        attention = self.attention(
            name="attn", wants=self.wants, masked_softmax=self.masked_softmax
        )
        bias, inside = None, None
        if self.biased and token_set.sizes is not None:
            bias = jnp.log(token_set.sizes)
        if self.reducer is not None and self.reducer.site == "inside":
            assert self.place is not None
            inside = _decide(self.reducer, self.place, norm, token_set, train)
        normed = norm(token_set.tokens)
        return attention(normed, train, token_set.keep, bias, inside)

    def _scale(self, name: str, values: jax.Array) -> jax.Array:
        """Multiply by the scale of that name, if the block has any."""
        if self.layer_scale is None:
            return values
        init = nn.initializers.constant(self.layer_scale)
        scale = self.param(name, init, (values.shape[-1],))
        return values * scale


def _keep_row_major(token_set: TokenSet, train: bool) -> TokenSet:
    """Return a set whose tokens' gradients are laid out as the tokens are."""
    if not train:
        return token_set
    return token_set.replace(tokens=keep_row_major(token_set.tokens))


def vision_blocks(
    depth: int,
    num_heads: int,
    hidden_dim: int,
    activation: Activation = layers.gelu,
    epsilon: float = 1e-5,
    in_proj_bias: bool = True,
    in_proj_init: Initializer = normal_init,
    scale: float | None = None,
    head_norm: bool = False,
    layer_scale: float | None = None,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    drop_path: float = 0.0,
    dtype: DType = jnp.float32,
) -> list[ModuleMaker]:
    """Return what makes the blocks of pretrained vision backbones.

    Linear layers start at normal(0.02) with biases 0, the attention's parameters are
    those of `torch.nn.MultiheadAttention`. Stochastic depth grows from 0 at the first
    block to `drop_path` at the last.
    """
    linear = functools.partial(
        layers.Linear,
        kernel_init=normal_init,
        bias_init=nn.initializers.zeros,
        dtype=dtype,
    )
    norm = functools.partial(nn.LayerNorm, epsilon=epsilon, dtype=dtype)
    attention = functools.partial(
        SelfAttention,
        num_heads=num_heads,
        in_proj=functools.partial(
            linear, kernel_init=in_proj_init, use_bias=in_proj_bias
        ),
        out_proj=linear,
        scale=scale,
        dropout=attention_dropout,
        names=("in_proj", "out_proj"),
        head_norm=norm if head_norm else None,
    )
    block = functools.partial(
        Block,
        attention=attention,
        mlp=functools.partial(layers.MLP, hidden_dim, dropout, linear, activation),
        norm=norm,
        dropout=dropout,
        layer_scale=layer_scale,
    )
    rates = np.linspace(0, drop_path, depth).tolist()
    return [functools.partial(block, drop_path=rate) for rate in rates]


def _decide(
    reducer: Reducer, place: Place, norm: nn.Module, token_set: TokenSet, train: bool
) -> Inside:
    """Return what lets a reducer decide what an attention mixes."""

    def decide(seen: Seen, project: Project) -> Mixing:
        def project_raw(tokens: jax.Array) -> tuple[jax.Array, ...]:
            return project(norm(tokens))

        return reducer.mix(token_set, seen, project_raw, place, train)

    return decide


class Encoded(NamedTuple):
    """What an encoder computed.

    Attributes:
      token_set: what the last block left.
      outputs: per block (b, n, c).
      seen: per block, what was asked for.
      attended: per block the tokens that attended to each other.
      reductions: per block what a reducer did before or in it, None for nothing.
      left: per block the tokens after that.
    """

    token_set: TokenSet
    outputs: tuple[jax.Array, ...]
    seen: tuple[Any, ...]
    attended: tuple[TokenSet, ...]
    reductions: tuple[Reduction | None, ...]
    left: tuple[TokenSet, ...]

    def losses(self) -> dict[str, jax.Array]:
        """Return the mean of each of the reducer's losses over its places."""
        found: dict[str, list[jax.Array]] = {}
        for reduction in self.reductions:
            for name, loss in (reduction.losses if reduction else {}).items():
                found.setdefault(name, []).append(loss)
        return {name: jnp.stack(losses).mean() for name, losses in found.items()}

    def account(self) -> Account:
        """Return what became of the tokens, for `aux["reduction"]`."""
        return account_for(self.reductions, self.left)


def encode(
    token_set: TokenSet,
    train: bool,
    blocks: Sequence[ModuleMaker],
    remat: bool = False,
    method: Method | None = None,
    facts: EncoderFacts | None = None,
) -> Encoded:
    """Run blocks "blocks_0", ... one after another; call it inside compact.

    Args:
      token_set: the first tokens.
      train: whether dropout and stochastic depth draw.
      blocks: what makes each, `functools.partial(Block, ...)`.
      remat: whether gradients compute a block's inside again instead of storing it.
      method: of token reduction.
      facts: of this encoder; needed with a method.
    """
    places: Mapping[int, Place] = {}
    if method is not None:
        assert facts is not None
        places = method.places(facts)
        token_set = method.start(token_set, train)
    outputs, seens, reductions = [], [], []
    attended, left = [], []
    seen: Any = None
    for index, maker in enumerate(blocks):
        before = None
        if method is not None:
            maker = _fit(maker, method, index, places)
            if index in places and method.site == "before":
                place = places[index]
                token_set, before = method.step(place)(token_set, seen, place, train)
        attended.append(token_set)
        block = _rematerialise(maker) if remat else maker
        passed = block(name=f"blocks_{index}")(token_set, train)
        tokens, token_set, seen, inside = passed
        outputs.append(tokens)
        seens.append(seen)
        reductions.append(inside if before is None else before)
        left.append(token_set if before is None else attended[-1])
    return Encoded(
        token_set,
        tuple(outputs),
        tuple(seens),
        tuple(attended),
        tuple(reductions),
        tuple(left),
    )


def _fit(
    maker: ModuleMaker, method: Method, index: int, places: Mapping[int, Place]
) -> ModuleMaker:
    """Return what makes a block that does its part of a reduction."""
    assert isinstance(maker, functools.partial)
    wants = tuple(maker.keywords.get("wants", ()))
    more: dict[str, Any] = {
        "biased": method.biases_by_size(),
        "masked_softmax": method.masked_softmax(),
    }
    if method.site == "before" and index + 1 in places:
        more["wants"] = (*wants, *method.wants())
    if method.site != "before" and index in places:
        more["wants"] = (*wants, *method.wants())
        more["reducer"] = method.step(places[index])
        more["place"] = places[index]
    return functools.partial(maker, **more)


def _rematerialise(maker: ModuleMaker) -> ModuleMaker:
    """Return a maker of the same blocks that keep nothing for the gradients."""
    assert isinstance(maker, functools.partial)
    block = nn.remat(maker.func, static_argnums=(2,))
    return functools.partial(block, *maker.args, **maker.keywords)
