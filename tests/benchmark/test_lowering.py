"""Programs of platforms that are not here: what has none is found."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from helpers.accelerators import PLATFORMS
from helpers.small_models import DEMO, ELSEWHERE, SMALL
from jax.experimental import pallas
from jax.experimental.pallas import tpu as pallas_tpu
from jax.extend.core import Primitive
from jax.interpreters import mlir

from tokenjax import models
from tokenjax.benchmark import inputs, lowering

only_here = Primitive("only_here")
only_here.def_abstract_eval(lambda images: images)
mlir.register_lowering(only_here, lambda _, images: [images], platform="cpu")


def call_lapack(images):
    """A custom call that CPUs alone have."""
    rows = images[..., 0]
    result = jax.ShapeDtypeStruct(rows.shape, rows.dtype)
    return jax.ffi.ffi_call("lapack_sgetrf_ffi", result)(rows)


def call_kernel(images):
    """A kernel for TPUs."""

    def double(inputs, outputs):
        outputs[...] = inputs[...] * 2.0

    return pallas.pallas_call(
        double,
        out_shape=jax.ShapeDtypeStruct(images.shape, images.dtype),
        compiler_params=pallas_tpu.CompilerParams(),
    )(images)


FUNCTIONS = {
    "primitive": only_here.bind,
    "lapack": call_lapack,
    "kernel": call_kernel,
    "product": lambda images: images @ images,
}


class Planted(nn.Module):
    """A classifier that does something which not every platform can."""

    function: str

    @nn.compact
    def __call__(self, images, train=False):
        features = FUNCTIONS[self.function](images).reshape(len(images), -1)
        return nn.Dense(3)(features), {"losses": {}}

    def example_inputs(self, batch_size):
        return (jnp.zeros((batch_size, 8, 128, 128)),)


@pytest.mark.parametrize(
    ("function", "without", "message"),
    [
        ("primitive", ("cuda", "rocm", "tpu"), "cannot be lowered for .*only_here"),
        ("lapack", ("cuda", "rocm", "tpu"), "does not have: lapack_sgetrf_ffi"),
        ("kernel", ("cpu", "cuda", "rocm"), "cannot be lowered for"),
        ("product", (), ""),
    ],
)
def test_what_a_platform_cannot_do_is_found(function, without, message):
    module = Planted(function)
    traced = lowering.trace_model(module, inputs.describe_inputs(module, 2))
    for platform in lowering.PLATFORMS:
        if platform in without:
            with pytest.raises(lowering.CannotLower, match=message) as caught:
                lowering.lower(traced, platform)
            assert platform in str(caught.value)
        else:
            assert "func.func" in str(lowering.lower(traced, platform))
    if set(PLATFORMS) & set(without):
        with pytest.raises(lowering.CannotLower, match=message):
            lowering.lower(traced, *PLATFORMS)
    else:
        lowering.lower(traced, *PLATFORMS)


def test_nothing_is_made_or_computed():
    """A batch of a billion images, of which each platform gets its own program."""
    module = models.create("resnet50", **SMALL["resnet50"])
    example = inputs.describe_inputs(module, 10**9, 40)
    assert example[0].shape == (10**9, 40, 40, 3)
    traced = lowering.trace_model(module, example, train=True)
    text = str(lowering.lower(traced, "tpu"))
    assert "tensor<1000000000x40x40x3xf32>" in text


CLASSIFIERS = {name: SMALL.get(name, DEMO) for name in (*SMALL, "demo")}
CHEAP = {"vit", "demo"}  # the others' programs are lowered where they are compiled


def test_every_model_is_lowered():
    """Here, or where its own tests compile it: towers without classes have no step."""
    assert {*CLASSIFIERS, *ELSEWHERE} == set(models.names())


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        pytest.param(
            *(name, dtype),
            marks=() if name in CHEAP and dtype == "bfloat16" else pytest.mark.long,
        )
        for name in CLASSIFIERS
        for dtype in ("bfloat16", "float32")
    ],
)
def test_accelerators_have_inference_and_training_step(name, dtype):
    module = models.create(name, **CLASSIFIERS[name], dtype=dtype)
    example = inputs.describe_inputs(module, 2)
    for train in (False, True):
        traced = lowering.trace_model(module, example, train)
        text = str(lowering.lower(traced, *PLATFORMS))
        assert "stablehlo.dot_general" in text
        assert "f64" not in text
