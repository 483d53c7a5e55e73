"""Annotations read as descriptions, and values held to them."""

import dataclasses
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenjax import arguments
from tokenjax.arguments import (
    FREE,
    RATE,
    REQUIRED,
    SHARE,
    SIZE,
    DType,
    FromData,
    OneOf,
    Range,
    above,
    at_least,
    describe,
)
from tokenjax.errors import UserError
from tokenjax.registry import Registry

COLOURS = Registry("colour")
COLOURS.add("red", 1)
COLOURS.add("green", 2)


@dataclasses.dataclass(frozen=True)
class Example:
    width: Annotated[int, SIZE, "channels of a token"] = 8
    rate: Annotated[float, RATE, FREE] = 0.1
    kind: Literal["soft", "hard"] = "soft"
    colour: Annotated[str, OneOf(COLOURS)] = "red"
    stages: Annotated[tuple[int, ...] | None, at_least(0)] = None
    size: tuple[int, int] = (4, 2)
    side: Annotated[int, FromData("side")] = 32
    dtype: DType = "float32"
    flag: bool = False
    text: str = ""
    anything: Any = None


def check(name, value):
    return describe(Example)[name].check(value, f"config: {name}")


def test_what_an_annotation_says():
    found = describe(Example)
    assert found["width"].meaning == "channels of a token"
    assert found["width"].range == SIZE
    assert not found["width"].free
    assert found["rate"].free
    assert found["side"].from_data == "side"
    assert found["dtype"].floating
    assert found["stages"].default is None
    assert found["kind"].describe_type() == "soft | hard"
    assert found["colour"].describe_type() == "green | red"
    assert found["rate"].describe_type() == "float, within [0, 1)"
    assert found["width"].describe_type() == "int, at least 1 and at most 1048576"


def test_functions_and_flax_modules():
    def load(directory: str, size: Annotated[int, "pixels"] = 3):
        return directory, size

    class Module(nn.Module):
        width: Annotated[int, SIZE] = 4

    found = describe(load)
    assert found["directory"].default is REQUIRED
    assert found["size"].meaning == "pixels"
    assert list(describe(Module)) == ["width"]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("rate", 0, 0.0),
        ("width", np.int64(3), 3),
        ("rate", np.float32(0.5), 0.5),
        ("stages", [1, 2], (1, 2)),
        ("stages", None, None),
        ("size", [3, 5], (3, 5)),
        ("dtype", "bfloat16", "bfloat16"),
        ("dtype", jnp.float16, jnp.float16),
        ("colour", "green", "green"),
    ],
)
def test_values_that_fit(name, value, expected):
    found = check(name, value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "width",
            0,
            r"width must be at least 1 and at most 1048576, got 0 \(channels of a tok",
        ),
        ("width", 2.5, "width must be int, got 2.5"),
        ("width", True, "width must be int, got True"),
        ("width", "8", "width must be int, got '8'"),
        ("rate", 1.0, r"rate must be within \[0, 1\), got 1.0"),
        ("rate", float("nan"), "rate must be finite"),
        ("rate", float("inf"), "rate must be finite"),
        ("kind", "sofd", "kind must be one of soft, hard, got 'sofd', .* 'soft'"),
        ("kind", 1, "kind must be one of soft, hard, got 1"),
        ("colour", "blue", "colour must be one of green, red, got 'blue'"),
        ("stages", (1, -1), "stages must be at least 0"),
        ("stages", 3, r"stages must be tuple\[int, ...\] | None, got 3"),
        ("size", (1, 2, 3), r"size must be tuple\[int, int\]"),
        ("dtype", "int32", "dtype must be a floating type"),
        ("dtype", None, "dtype must be a floating type"),
        ("dtype", ",", "dtype must be a floating type"),
        ("dtype", "0:", "dtype must be a floating type"),
        ("flag", 1, "flag must be bool, got 1"),
        ("text", None, "text must be str, got None"),
    ],
)
def test_values_that_do_not_fit(name, value, sentence):
    with pytest.raises(UserError, match=f"^config: {sentence}"):
        check(name, value)


def test_unknown_names_are_told():
    with pytest.raises(UserError, match=r"unknown argument of ex 'widht', .*'width'"):
        arguments.check_all({"widht": 3}, Example, "argument of ex", "ex: ")
    found = arguments.check_all({"rate": 0}, Example, "argument of ex", "ex: ")
    assert found == {"rate": 0.0}


@given(st.floats(allow_nan=False), st.floats(0, 1), st.floats(0, 1))
def test_ranges_hold_what_they_say(number, low, high):
    low, high = sorted((low, high))
    assert Range(minimum=low, maximum=high).holds(number) == (low <= number <= high)
    assert Range(above=low, below=high).holds(number) == (low < number < high)
    assert above(low).holds(number) == (number > low)
    assert SHARE.holds(number) == (0 <= number <= 1)


@given(st.recursive(st.integers() | st.booleans() | st.text() | st.none(), st.lists))
def test_any_value_fits_or_is_refused_by_name(value):
    refused = set()
    for argument in describe(Example).values():
        try:
            argument.check(value, "config: x")
        except UserError as error:
            refused.add(str(error).startswith("config: x"))
    assert refused <= {True}
