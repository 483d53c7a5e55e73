"""Fewer tokens in DeMo's backbone, and what was chosen of them by the image's patches.

The modules behind the backbone work on the tokens that are left. Where tokens merged,
the mean of a modality's patches weighs each by how many it stands for.

Axes: batch b, patches of the image p, patch tokens left k, dim c, aggregated a.
"""

import jax
import jax.numpy as jnp

from tokenjax.models.reduction.account import Account
from tokenjax.models.reduction.reducer import Reducer
from tokenjax.ops import token_merging, token_selection


def problems(method: Reducer | None) -> list[tuple[bool, str]]:
    """Return what a method is not to the model, as (wrong, sentence)."""
    name = type(method).__name__
    return [
        (
            method is not None and method.learns,
            f"{name} learns by losses of its own, which no task of this model has",
        ),
        (
            method is not None and method.marks(),
            f"{name} only marks the tokens that are gone here, and the modules behind "
            "the backbone work on all that it leaves",
        ),
    ]


def mean_patches(patches: jax.Array, account: Account) -> jax.Array:
    """Return the mean (b, c) of the patches that tokens (b, k, c) stand for."""
    done = [entry for entry in account if entry is not None]
    if not done:
        return patches.mean(1)
    sizes = done[-1]["sizes"]  # (b, 1 + k)
    assert sizes is not None
    weights = sizes[:, 1:] / sizes[:, 1:].sum(1, keepdims=True)
    return jnp.einsum("bk,bkc->bc", weights.astype(patches.dtype), patches)


def patch_map(account: Account) -> jax.Array | None:
    """Return which of the patch tokens left holds each patch, (b, p), -1 if dropped.

    None where nothing happened.
    """
    done = [entry for entry in account if entry is not None]
    if not done:
        return None
    held = done[-1]["patches"]
    assert held is not None
    return jnp.maximum(held - 1, -1)  # the class token leads


def give_patches(values: jax.Array, held: jax.Array | None) -> jax.Array:
    """Give every patch what its token has, (b, k) -> (b, p); 0 if it was dropped."""
    if held is None:
        return values
    return token_merging.restore_tokens(values[..., None], held)[..., 0]


def share_weights(weights: jax.Array, held: jax.Array | None) -> jax.Array:
    """Share weights of tokens among the patches of each, (b, a, k) -> (b, a, p)."""
    if held is None:
        return weights
    counts = jax.nn.one_hot(held, weights.shape[-1]).sum(1)  # (b, k)
    shares = weights / jnp.maximum(counts, 1)[:, None]
    return token_merging.restore_tokens(shares.swapaxes(1, 2), held).swapaxes(1, 2)


def scatter_weights(weights: jax.Array, kept: jax.Array, num_tokens: int) -> jax.Array:
    """Return weights (b, a, kept) of tokens at `kept` as those of all, (b, a, k)."""
    scattered = token_selection.scatter_tokens(weights.swapaxes(1, 2), kept, num_tokens)
    return scattered.swapaxes(1, 2)
