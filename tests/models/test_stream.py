"""What blocks add to is float32, whatever they compute in."""

import jax
import jax.numpy as jnp
import pytest
from helpers.small_models import SMALL

from tokenjax import models
from tokenjax.models.encoder import Block

TRANSFORMERS = {
    **{
        name: SMALL[name]
        for name in ("vit", "linear_vit", "dynamic_vit", "vdpa", "vit_base_patch16")
    },
    "camera_vit": {"img_size": 8, "patch_size": 4, "stride_size": 4, "embed_dim": 8}
    | {"depth": 2, "num_heads": 2, "camera": 2},
    "clip_vit": {"h_resolution": 2, "w_resolution": 2, "patch_size": 4}
    | {"stride_size": 4, "width": 8, "layers": 2, "heads": 2, "output_dim": 8},
    "t2t_vit_14": {"img_size": 16, "embed_dim": 8, "depth": 2, "num_heads": 2}
    | {"token_dim": 4},
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_tokens_between_blocks_are_float32(name):
    model = models.create(name, **TRANSFORMERS[name], dtype="bfloat16")
    inputs = model.example_inputs(1)
    variables = jax.eval_shape(model.init, jax.random.key(0), *inputs)

    def passed(variables, *inputs):
        _, seen = model.apply(
            variables,
            *inputs,
            capture_intermediates=lambda module, _: isinstance(module, Block),
            mutable=["intermediates"],
        )
        return [
            (each.tokens, each.token_set.tokens)
            for each in jax.tree.leaves(
                seen, is_leaf=lambda leaf: hasattr(leaf, "token_set")
            )
            if hasattr(each, "token_set")
        ]

    found = jax.eval_shape(passed, variables, *inputs)
    assert len(found) == _count_blocks(variables["params"])
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype("float32")}
    # The branches compute in the half type all the same.
    text = jax.jit(model.apply).lower(variables, *inputs).as_text()
    assert "bf16" in text


def _count_blocks(params):
    return len([name for name in params.get("encoder", params) if "blocks_" in name])
