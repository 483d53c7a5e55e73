"""Every argument of every model: described, and refused where it does not fit."""

import types
import typing
from typing import Any, Literal

import pytest

from tokenjax import models
from tokenjax.errors import UserError

NAMES = [name for name in models.names() if models.canonical_name(name) == name]
FROM_DATA = {
    "img_size": "side",
    "image_size": "size",
    "in_chans": "channels",
    "in_channels": "channels",
    "num_classes": "classes",
    "camera_num": "cameras",
    "modalities": "modalities",
}


def alternatives(hint):
    """Return the types of which a value may be."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [each for inner in typing.get_args(hint) for each in alternatives(inner)]
    return [hint]


def of_numbers(hint, number):
    """Return the number as a type has it, None if it has none."""
    if hint in (int, float):
        return hint(number)
    if typing.get_origin(hint) is tuple:
        inner = [each for each in typing.get_args(hint) if each is not Ellipsis]
        found = tuple(of_numbers(each, number) for each in inner)
        return None if None in found else found
    return None


def outside(bounds):
    """Return numbers next to a range, or on an end that is out."""
    ends = (
        (bounds.minimum, -1),
        (bounds.maximum, 1),
        (bounds.above, 0),
        (bounds.below, 0),
    )
    return [end + step for end, step in ends if end is not None]


def wrong_values(argument):
    """Return values that an argument must refuse."""
    yield object()
    if argument.type is not str or argument.names is not None:
        yield "nonsense"
    hints = alternatives(argument.type)
    if bool not in hints:
        yield True
    if not any(typing.get_origin(hint) is tuple for hint in hints):
        yield ["nonsense"]
    for hint in hints:
        if argument.range is not None and of_numbers(hint, 0) is not None:
            yield from (of_numbers(hint, n) for n in outside(argument.range))
        if hint is int:
            yield 1.5
        if hint is float:
            yield from (float("nan"), float("inf"), -float("inf"))


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_is_described(name):
    for key, argument in models.arguments(name).items():
        assert argument.name == key
        assert argument.meaning.strip(), key
        assert argument.type is not Any or argument.floating, key
        assert argument.describe_type(), key
        assert argument.check(argument.default, key) == argument.default
        assert argument.from_data == FROM_DATA.get(key, ""), key
        if typing.get_origin(argument.type) is Literal:
            for choice in typing.get_args(argument.type):
                assert argument.check(choice, key) == choice


@pytest.mark.parametrize("name", NAMES)
def test_defaults_pass_as_arguments(name):
    """And a tuple may come as JSON's list."""
    defaults = models.defaults(name)
    assert list(defaults) == models.argument_names(name)
    as_lists = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in defaults.items()
    }
    model = models.create(name)
    assert models.create(name, **as_lists) == type(model)(**as_lists) == model
    hash(models.create(name, **as_lists))


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_fit_is_refused_by_name(name):
    """By `create`, and by the class itself."""
    module_class = type(models.create(name))
    for key, argument in models.arguments(name).items():
        for wrong in wrong_values(argument):
            with pytest.raises(UserError, match=f"^{name}: {key}"):
                models.create(name, **{key: wrong})
            with pytest.raises(UserError, match=f"^{module_class.__name__}: {key}"):
                module_class(**{key: wrong})


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("vdpa", {"depth": "deep"}, "vdpa: depth must be int, got 'deep'"),
        ("vdpa", {"depth": 1.5}, "depth must be int, got 1.5"),
        ("vdpa", {"depth": True}, "depth must be int, got True"),
        ("vdpa", {"depth": -1}, "depth must be at least 1 and at most 1048576"),
        ("vdpa", {"num_heads": 0}, "num_heads must be at least 1"),
        ("vdpa", {"embed_dim": 10**12}, "embed_dim must be at least 1 and at most"),
        ("vdpa", {"drop": float("nan")}, "drop must be finite, got nan"),
        ("vdpa", {"drop": "x"}, "drop must be float"),
        ("camera_vit", {"qkv_bias": 1}, "qkv_bias must be bool"),
        ("vdpa", {"remat": 3}, "remat must be bool"),
        ("vdpa", {"dtype": "float33"}, "dtype must be a floating type, got 'float33'"),
        ("vdpa", {"dtype": "int32"}, "dtype must be a floating type"),
        ("vdpa", {"stk": "soft_topq"}, "recorded, soft_topk, .*mean 'soft_topk'"),
        ("camera_vit", {"img_size": (0, 8)}, "img_size must be at least 1"),
        ("camera_vit", {"img_size": (8, 8, 8)}, r"must be int \| tuple\[int, int\]"),
        ("demo", {"sie_coe": "x"}, "sie_coe must be float"),
        ("demo", {"transformer_type": "ViT-B-61"}, "transformer_type.*'ViT-B-16'"),
        ("maxvit_tiny", {"depths": [2, 2, 5, 2**21]}, "depths must be at least 1"),
        ("swin_tiny", {"depths": (), "num_heads": ()}, "one or more"),
        ("vmamba_tiny", {"ssm_dt_rank": 0}, "ssm_dt_rank must be at least 1"),
    ],
)
def test_the_sentence(name, arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        models.create(name, **arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("attention_routing", {"big_layers": 0, "small_layers": 0}),
        ("attention_routing", {"budget": 0, "target_ratio": 1, "budget_weight": 0}),
        ("vit", {"dropout": 0, "patch_dropout": 0}),
        ("demo", {"depth": 0, "sie_coe": 0, "sdtps_beta": 0, "sdtps_sparse_ratio": 1}),
        ("camera_vit", {"camera": 0, "view": 0, "qk_scale": None, "mlp_ratio": 0}),
        ("dynamic_vit", {"ratio_weight": 0, "keep_ratio": 1}),
    ],
)
def test_what_may_be_nothing_or_all(name, arguments):
    model = models.create(name, **arguments)
    assert {key: getattr(model, key) for key in arguments} == arguments
