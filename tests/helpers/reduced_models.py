"""Recorded ViTs with a method of token reduction: built, computed, compared."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from tokenjax import convert, models
from tokenjax.device_check.parity.recorded import RecordedCase

SIZES = ("img_size", "patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio")
OUTPUT_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-4


class Recorded(NamedTuple):
    """A recorded case, and our model with its weights and images."""

    case: RecordedCase
    model: nn.Module
    variables: Any
    images: jax.Array  # (b, height, width, channels)


class Computed(NamedTuple):
    """What our model makes of them."""

    logits: jax.Array
    aux: Any
    gradients: Any  # of sum(logits * cotangent), like the variables
    image_gradient: jax.Array


def build_recorded(case, method, keys, **more) -> Recorded:
    """Build the model of a recorded case.

    Args:
      case: golden("reduction/tome_vit").
      method: its name here: "tome".
      keys: which of the recorded arguments are the method's own: ("r", "prop_attn").
      more: arguments of the model besides: `distilled=True`.
    """
    given = case.meta["arguments"]
    model = models.create(
        "vit_base_patch16",
        **{key: given[key] for key in (*SIZES, "num_classes")},
        reduction={"name": method, **{key: given[key] for key in keys}},
        **more,
    )
    variables = convert.from_torch(model, case.group("state"))
    images = jnp.asarray(case["input/images"].transpose(0, 2, 3, 1))
    return Recorded(case, model, variables, images)


def compute(recorded) -> Computed:
    """Compute outputs and gradients at inference, by one program."""
    case, model, variables, images = recorded

    def loss(variables, images):
        logits, aux = model.apply(variables, images)
        return jnp.sum(logits * case["input/cotangent"]), (logits, aux)

    differentiate = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
    gradients, (logits, aux) = differentiate(variables, images)
    return Computed(logits, aux, *gradients)


def check_outputs(recorded, computed, assert_close):
    """Hold logits, last tokens, and what is recorded of every block to the case.

    Recorded maps are over all blocks so far; TokenReduction's are over one block and
    the patches alone, and count outputs behind the protected tokens.
    """
    case, aux = recorded.case, computed.aux
    whole = step = sizes = None  # of the last block that did anything
    for block, entry in enumerate(aux["reduction"]):
        then = case.group(f"output/layer{block}")
        if entry is not None:
            step, sizes = np.asarray(entry["map"]), entry["sizes"]
            whole = compose(whole, step)
        if "source_map" in then:
            found, expected = whole, then["source_map"]
            if case.meta["runner"].startswith("haurum_"):
                found = _of_patches(step, expected.shape[1])
            np.testing.assert_array_equal(found, expected, err_msg=f"block {block}")
        if "count" in then and sizes is not None:
            assert sizes.shape[1] == then["count"], block
        if "size" in then:
            assert_close(sizes, then["size"], OUTPUT_TOLERANCE, f"{block}")
        if "indices" in then:
            check_indices(step, then["indices"])
        if "class_attention" in then:
            expected = then["class_attention"]
            assert_close(entry["scores"], expected, OUTPUT_TOLERANCE, f"{block}")
    if "output/tokens" in case.arrays:
        assert_close(aux["tokens"], case["output/tokens"], OUTPUT_TOLERANCE, "tokens")
    assert_close(computed.logits, case["output/logits"], OUTPUT_TOLERANCE, "logits")


def check_indices(step, indices, protected=1):
    """Hold a map (b, n) to recorded indices (b, k): the patch token of each row, or -1.

    No other patch token may go to a row that has one.
    """
    for went, chosen in zip(np.asarray(step)[:, protected:], indices, strict=True):
        rows = np.flatnonzero(chosen >= 0)
        for row in rows:
            found = np.flatnonzero(went == protected + row)
            assert found.tolist() == [chosen[row]], (row, found)


def check_gradients(recorded, computed, assert_close):
    """Hold the gradients of all parameters and of the images to the case."""
    case, tolerance = recorded.case, GRADIENT_TOLERANCE
    expected = case["grad_input/images"].transpose(0, 2, 3, 1)
    assert_close(computed.image_gradient, expected, tolerance, "images")
    found = convert.to_torch(recorded.model, computed.gradients)
    expected, without = case.group("grad"), set(case.meta["no_gradient"])
    assert set(found) == set(expected) | without
    for key, gradient in expected.items():
        if key not in without:
            assert_close(found[key], gradient, tolerance, key)
    for key in without:
        assert not np.asarray(found[key]).any(), key


def compose(first, then) -> np.ndarray:
    """Return the map (b, n) of one step after another; `first` None: no step yet."""
    then = np.asarray(then)
    if first is None:
        return then
    return np.where(first < 0, -1, np.take_along_axis(then, first.clip(0), axis=1))


def _of_patches(step, count) -> np.ndarray:
    """Return the part of a map that the last `count` tokens are, counted from there."""
    protected = step.shape[1] - count
    step = step[:, protected:]
    return np.where(step < 0, step, step - protected)
