"""Variables as conversion makes them, NumPy's arrays, serve every model outside jit.

Tracing with the variables as constants runs the models' own lines on them, as outside
jit, and compiles nothing.
"""

import jax
import numpy as np
import pytest
from helpers.model_shapes import find_shapes
from helpers.small_models import DEMO, FEW, VARIANTS, small

from tokenjax import models
from tokenjax.models.demo import camera_vit

OF_16_PIXELS = {"image_size": (32, 16), "stride_size": (16, 16), "patch_size": 16}
TOWERS = {
    "camera_vit": {"img_size": 8, "patch_size": 4, "stride_size": 4, "camera": 3},
    "camera_views": {"img_size": 8, "patch_size": 4, "camera": 3, "view": 2},
    "clip_vit": {"h_resolution": 2, "w_resolution": 3, "patch_size": 4},
    "t2t_vit": {"img_size": 32, "token_dim": 8, "camera": 3},
}
NAMES = {"camera_views": "camera_vit"}
WIDTHS = {
    "camera_vit": {"embed_dim": 16, "depth": 1, "num_heads": 2},
    "clip_vit": {"width": 16, "layers": 1, "heads": 2, "stride_size": 4},
    "t2t_vit": {"embed_dim": 16, "depth": 1, "num_heads": 2},
}
DEMOS = {
    "demo_clip": {},
    "demo_camera_vit": {"transformer_type": "vit_base_patch16_224", "feat_dim": 0},
    "demo_t2t": {"transformer_type": "t2t_vit_t_14", "feat_dim": 0, **OF_16_PIXELS},
    "demo_hdm_atm": {"fusion": "hdm_atm", "direct": False},
}
CASES = [*VARIANTS, *TOWERS, *DEMOS]
SHORT = {*FEW, "camera_vit", "demo_clip", "demo_camera_vit", "clip_vit"}


def build(case):
    if case in VARIANTS:
        return small(case)
    if case in DEMOS:
        return models.create("demo", **DEMO | DEMOS[case])
    name = NAMES.get(case, case)
    return models.create(name, **WIDTHS[name] | TOWERS[case])


def test_every_registered_model_is_among_them():
    known = {type(build(case)) for case in CASES}
    presets = {*camera_vit.PRESETS}
    assert {type(models.create(name)) for name in {*models.names()} - presets} <= known


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=() if case in SHORT else pytest.mark.long)
        for case in CASES
    ],
)
def test_numpy_variables_outside_jit(case):
    model = build(case)
    inputs = model.example_inputs(2)
    shapes = find_shapes(model, *inputs)
    variables = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.1, leaf.dtype), shapes)

    def outputs(variables, *inputs):
        keys = {name: jax.random.key(1) for name in ("dropout", "gumbel")}
        found = (
            model.apply(variables, *inputs),
            model.apply(variables, *inputs, train=True, rngs=keys, mutable=True),
        )
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(found[0]))
        return found

    constant = jax.eval_shape(lambda *inputs: outputs(variables, *inputs), *inputs)
    assert constant == jax.eval_shape(outputs, variables, *inputs)
