"""Models of one's own, presets and aliases."""

from typing import Annotated

import flax.linen as nn
import jax.numpy as jnp
import pytest

from tokenjax import models
from tokenjax.arguments import SIZE
from tokenjax.errors import UserError
from tokenjax.models.registry import MODELS


class Mine(nn.Module):
    """A model of one layer."""

    width: Annotated[int, SIZE, "channels"] = 4
    bias: bool = True

    @nn.compact
    def __call__(self, images, train=False):
        return nn.Dense(self.width)(images.reshape(len(images), -1)), {"losses": {}}


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    monkeypatch.setattr(MODELS, "_things", dict(MODELS._things))


def test_a_model_of_ones_own():
    models.register("mine", Mine)
    models.register("mine_wide", Mine, width=9)
    assert {"mine", "mine_wide"} <= set(models.names())
    assert models.argument_names("mine") == ["width", "bias"]
    assert models.create("mine") == Mine()
    assert models.create("mine_wide", bias=False) == Mine(9, False)
    assert models.create("mine_wide", width=5).width == 5
    assert models.defaults("mine_wide") == {"width": 9, "bias": True}
    assert models.arguments("mine")["width"].default == 4
    with pytest.raises(UserError, match="mine: width must be at least 1"):
        models.create("mine", width=0)
    with pytest.raises(UserError, match=r"unknown argument of mine 'widht', .*'width'"):
        models.create("mine", widht=3)


def test_a_file_that_is_run_again():
    for width in (4, 5):

        class Again(nn.Module):
            size: int = width

        models.register("again", Again)
    assert models.create("again").size == 5
    models.register("mine", Mine, width=2)
    models.register("mine", Mine, width=2)
    with pytest.raises(UserError, match="there is a model 'mine' already"):
        models.register("mine", Mine, width=3)
    with pytest.raises(UserError, match="there is a model 'vdpa' already"):
        models.register("vdpa", Mine)


def test_what_is_no_model_is_refused():
    class Needs(nn.Module):
        width: int

    class Lost(nn.Module):
        width: "Missing" = 3  # noqa: F821

    class Wrong(nn.Module):
        width: Annotated[int, SIZE] = 0

    for given, sentence in (
        (len, "must be a class derived from flax.linen.Module"),
        (Mine(), "must be a class derived from flax.linen.Module"),
        (jnp.ndarray, "must be a class derived from flax.linen.Module"),
        (Needs, "field width of Needs needs a default"),
        (Lost, "annotations of Lost cannot be read: .*Missing"),
        (Wrong, "the default of width must be at least 1"),
    ):
        with pytest.raises(UserError, match=f"model 'mine'.*{sentence}"):
            models.register("mine", given)
    with pytest.raises(UserError, match="unknown argument of mine 'depth'"):
        models.register("mine", Mine, depth=3)
    with pytest.raises(UserError, match="mine: width must be int"):
        models.register("mine", Mine, width="wide")
    assert "mine" not in models.names()


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("lightweight_vit", "linear_vit"),
        ("maxvit", "maxvit_tiny"),
        ("swin-transformer", "swin_base"),
        ("swin", "swin_base"),
        ("convnext", "convnextv2_tiny"),
        ("vmamba", "vmamba_tiny"),
    ],
)
def test_names_of_the_originals(alias, name):
    assert alias in models.names()
    assert models.create(alias) == models.create(name)
    assert models.canonical_name(alias) == name
    assert models.canonical_name(name) == name


def test_an_alias_needs_a_model():
    with pytest.raises(UserError, match="unknown model 'maxvit_tiy'"):
        models.register_alias("other", "maxvit_tiy")
    with pytest.raises(UserError, match="there is a model 'vit' already"):
        models.register_alias("vit", "vdpa")
