"""Names of parameters that a user gives, and layers that a model gives."""

import jax.numpy as jnp
import pytest

from tokenjax.errors import UserError
from tokenjax.training.parameter_names import (
    expand_range,
    find_frozen,
    list_names,
    number_layers,
)

BLOCK = {"attn": {"kernel": jnp.ones(2), "bias": jnp.ones(1)}}
PARAMS = {
    "encoder": {"cls_token": jnp.ones(1), **{f"blocks_{i}": BLOCK for i in range(12)}},
    "head": {"kernel": jnp.ones(3), "bias": jnp.ones(1)},
}


def frozen(*names):
    return find_frozen(names, PARAMS)


def test_a_name_stands_anywhere_in_a_path():
    assert frozen("head") == {"head/kernel", "head/bias"}
    assert frozen("cls_token") == {"encoder/cls_token"}
    assert len(frozen("attn")) == 24
    assert len(frozen("bias")) == 13
    assert frozen("encoder/blocks_3") == frozen("blocks_3")
    assert frozen("blocks_1/attn/bias") == {"encoder/blocks_1/attn/bias"}
    assert frozen("blocks_1?") == frozen("blocks_10-11")
    assert frozen() == frozenset()


def test_ranges():
    assert list(expand_range("blocks_8-11")) == [f"blocks_{i}" for i in (8, 9, 10, 11)]
    assert list(expand_range("stages_0-1_blocks_2-3")) == [
        f"stages_{stage}_blocks_{block}" for stage in (0, 1) for block in (2, 3)
    ]
    assert list(expand_range("patch_embed")) == ["patch_embed"]
    assert {path.split("/")[1] for path in frozen("blocks_0-3")} == {
        f"blocks_{i}" for i in range(4)
    }
    with pytest.raises(UserError, match="'blocks_3-1' ends before it begins"):
        frozen("blocks_3-1")


@pytest.mark.parametrize("name", ["blocs_0", "blocks_0-12", "block", "ead", "", "*"])
def test_what_nothing_is_called_is_refused_with_what_there_is(name):
    if name == "*":  # all there is
        with pytest.raises(UserError, match="nothing is left to learn"):
            frozen(name)
        return
    with pytest.raises(UserError, match=r"optimizer\.freeze .*blocks_0-11, cls_token"):
        frozen(name)


def test_all_is_too_much():
    with pytest.raises(UserError, match=r"are all parameters .* left to learn"):
        frozen("encoder", "head")


def test_names_of_a_kind_are_one():
    assert list_names(["a_0/x", "a_1/x", "a_2/y", "b_1", "b_3", "c"]) == [
        *("a_0-2", "b_1", "b_3", "c", "x", "y")
    ]


def test_layers_are_numbered_and_empty_ones_do_not_count():
    layers = [
        ("encoder/cls_token", "encoder/pos_embed"),
        ("router/**",),
        ("encoder/blocks_*/**",),
        ("head/**",),
    ]
    numbers, count = number_layers(layers, PARAMS)
    assert count == 3
    assert numbers["encoder/cls_token"] == 0
    assert numbers["encoder/blocks_7/attn/bias"] == 1
    assert numbers["head/bias"] == 2
    with pytest.raises(UserError, match="head/kernel in none of its parameter_layers"):
        number_layers(layers[:-1], PARAMS)
    with pytest.raises(UserError, match="head/kernel in two of its parameter_layers"):
        number_layers([*layers, ("*/kernel",)], PARAMS)
