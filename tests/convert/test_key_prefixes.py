"""Wrappers' names before keys: taken off as far as a model's own keys say."""

import pytest

from tokenjax.convert.key_prefixes import below_likely_prefix, unwrap_keys
from tokenjax.errors import ConversionError

OWN = ["encoder.norm", "norm", "backbone.model.weight"]  # begin as wrappers do
PREFIXES = ["", "encoder.", "backbone.", "model.encoder.", "module.", "any.thing."]


def numbered(keys, prefix=""):
    return {prefix + key: number for number, key in enumerate(keys)}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_models_own_names_stay(prefix):
    assert unwrap_keys(numbered(OWN, prefix), OWN, OWN) == numbered(OWN)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_key_that_is_missing_changes_nothing(prefix):
    part = OWN[:2]
    assert unwrap_keys(numbered(part, prefix), OWN, OWN) == numbered(part)


@pytest.mark.parametrize("inner", ["_orig_mod", "_checkpoint_wrapped_module"])
def test_what_pytorch_puts_inside_keys(inner):
    given = {f"encoder.{inner}.norm": 0, f"{inner}.norm": 1, "backbone.model.weight": 2}
    assert unwrap_keys(given, OWN, OWN) == numbered(OWN)
    with pytest.raises(ConversionError, match=f"norm twice, once as {inner}.norm"):
        unwrap_keys({"norm": 0, f"{inner}.norm": 1}, ["norm"], ["norm"])


def test_parts_in_different_wrappers():
    wanted = ["blocks.0", "blocks.1", "head"]
    given = {"backbone.blocks.0": 0, "backbone._orig_mod.blocks.1": 1, "module.head": 2}
    assert unwrap_keys(given, wanted, wanted) == numbered(wanted)
    both = given | {"head": 3}
    with pytest.raises(ConversionError, match=r"head twice, once as module\.head"):
        unwrap_keys(both, wanted, wanted)


def test_part_of_a_second_copy_is_refused():
    wanted = ["a.w", "b.w"]
    given = numbered(wanted, "model.") | {"ema_model.b.w": 7}
    with pytest.raises(ConversionError, match=r"b\.w twice, once as ema_model\.b\.w"):
        unwrap_keys(given, wanted, wanted)


def test_unknown_keys_stay():
    wanted = ["a.w", "b.w"]
    given = numbered([*wanted, "c.w"], "net.")
    assert unwrap_keys(given, wanted, wanted) == numbered([*wanted, "c.w"])
    assert unwrap_keys({"x.y": 1}, wanted, wanted) == {"x.y": 1}
    assert unwrap_keys({}, wanted, wanted) == {}


def rename(arrays):
    """Read another library's names: q and k apart, below an optional "vit."."""
    renamed = {key.removeprefix("vit."): value for key, value in arrays.items()}
    if {"q", "k"} <= renamed.keys():
        renamed["qk"] = (renamed.pop("q"), renamed.pop("k"))
    return renamed


@pytest.mark.parametrize("prefix", ["", "module.", "model._orig_mod.", "backbone."])
@pytest.mark.parametrize("own", ["", "vit."])
def test_another_librarys_names_below_a_prefix(prefix, own):
    given = {f"{prefix}{own}q": 1, f"{prefix}{own}k": 2, f"{prefix}head": 3}
    beside = {"criterion.weight": 4} if prefix else {}
    wanted = ["qk", "head"]
    unwrapped = unwrap_keys(given | beside, wanted, wanted, rename)
    assert rename(unwrapped) == {"qk": (1, 2), "head": 3}
    copy = {f"copy.{key}": value for key, value in given.items()}
    with pytest.raises(ConversionError, match="twice"):
        unwrap_keys(given | copy, wanted, wanted, rename)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_before_the_size_is_known(prefix):
    expected = [f"blocks.{number}.w" for number in range(12)] + ["head"]
    file = numbered(["blocks.0.w", "blocks.1.w", "head"])
    beside = {"criterion.w": 3} if prefix else {}
    given = {prefix + key: number for key, number in file.items()} | beside
    assert below_likely_prefix(given, expected) == file
    assert below_likely_prefix({"x.y": 1}, expected) == {"x.y": 1}
    assert below_likely_prefix({}, expected) == {}
