"""Groups of parameters: what patterns stand for, and that none stands for nothing."""

import jax.numpy as jnp
import optax
import pytest

from tokenjax.errors import UserError
from tokenjax.training import parameter_groups
from tokenjax.training.parameter_groups import matches, resolve_groups

PARAMS = {
    "blocks_0": {"attn": {"kernel": jnp.ones(2), "bias": jnp.ones(1)}},
    "blocks_1": {"attn": {"kernel": jnp.ones(2), "bias": jnp.ones(1)}},
    "head": {"kernel": jnp.ones(3), "bias": jnp.ones(1)},
    "scale": jnp.ones(1),
}


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("head/*", "head/kernel", True),
        ("head/*", "head/dense/kernel", False),
        ("head/**", "head/dense/kernel", True),
        ("head/**", "head", True),
        ("head/**", "head_norm/scale", False),
        ("head", "head/kernel", False),
        ("**/kernel", "kernel", True),
        ("**/kernel", "a/b/kernel", True),
        ("a/**/kernel", "a/b/c/kernel", True),
        ("a/**/kernel", "b/a/kernel", False),
        ("blocks_?/attn/*", "blocks_1/attn/bias", True),
        ("blocks_?/attn/*", "blocks_11/attn/bias", False),
        ("*", "scale", True),
        ("*", "head/kernel", False),
        ("Head/*", "head/kernel", False),
    ],
)
def test_what_a_pattern_stands_for(pattern, path, found):
    assert matches(pattern, path) is found


def test_a_path_may_be_in_several_groups():
    groups = {"blocks": ("blocks_*/**",), "biases": ("**/bias",)}
    found = resolve_groups(groups, PARAMS)
    assert found["blocks"] & found["biases"] == {
        "blocks_0/attn/bias",
        "blocks_1/attn/bias",
    }
    assert len(found["blocks"]) == 4
    assert len(found["biases"]) == 3
    both = parameter_groups.members(groups, PARAMS, "blocks", "biases", "absent")
    assert both == found["blocks"] | found["biases"]


@pytest.mark.parametrize("patterns", [("haed/*",), ("head/*", "heads/*"), ("head",)])
def test_a_pattern_without_a_parameter_is_refused(patterns):
    with pytest.raises(UserError, match=r"group 'head' has the pattern .* no param"):
        resolve_groups({"head": patterns}, PARAMS)
    with pytest.raises(UserError, match="no parameter fits"):
        parameter_groups.mask({"head": patterns}, PARAMS, "head")


def test_masks_and_parts():
    groups = {"head": ("head/**",)}
    mask = parameter_groups.mask(groups, PARAMS, "head")
    assert mask["head"] == {"kernel": True, "bias": True}
    assert mask["scale"] is False
    inside, outside = parameter_groups.split(PARAMS, frozenset({"head/kernel"}))
    assert optax.tree.norm(inside) == pytest.approx(3**0.5)
    assert set(inside["head"]) == {"kernel"}
    assert set(outside["head"]) == {"bias"}
    assert set(outside) == set(PARAMS)


def test_a_subtree():
    assert parameter_groups.subtree({"backbone": ("tower/**",)}, "backbone") == "tower"
    for groups in (
        {"backbone": ("tower/*",)},
        {"backbone": ("to*/**",)},
        {"backbone": ("a/**", "b/**")},
        {"backbone": ("a/b/**",)},
    ):
        with pytest.raises(UserError, match="must be one subtree"):
            parameter_groups.subtree(groups, "backbone")
    with pytest.raises(UserError, match="unknown parameter group"):
        parameter_groups.subtree({"head": ("head/**",)}, "backbone")
