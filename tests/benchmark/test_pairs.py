"""Ours and PyTorch's program of one model, side by side."""

import contextlib
import importlib.util
import sys
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.drawn_variables import drawn_variables
from helpers.small_models import DEMO, ROUTED, SMALL

from tokenjax import benchmark, models
from tokenjax.benchmark import pairs, torch_peers, torch_programs
from tokenjax.errors import UserError
from tokenjax.registry import Registry

KNOWN = (
    *("AttentionRouting", "DeMo", "DynamicViT", "VDPA", "VisionTransformer"),
    *("convnextv2_tiny", "maxvit_tiny", "resnet50", "swin_base", "swin_tiny"),
    *("vit_base_patch16", "vit_small_patch16", "vit_tiny_patch16"),
)
TIMING = benchmark.Timing(warmup=1, repeats=5)
NAMES = {name: SMALL[name] for name in ("vdpa", "vit", "dynamic_vit")}
# Weights large enough that no rounding decides which token is kept.
NAMES["dynamic_vit"] = NAMES["dynamic_vit"] | {"initialization": "xavier"}
NAMES |= {"attention_routing": ROUTED, "demo": DEMO | {"sie_camera": True}}


def measure(name, dtype="float32", train=False):
    model = models.create(name, **NAMES[name])
    torch_peers.check(name, model)
    return pairs.measure_pairs(
        name, model, 2, dtype, 0, TIMING, train, with_compiled=False
    )


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_both_compute_the_same(name):
    pytest.importorskip("torch")
    row, (pair,) = measure(name)
    assert pair.difference < 1e-5
    assert (pair.peer, pair.model, pair.mode) == ("eager", name, "inference")
    assert pair.low <= pair.ratio <= pair.high
    assert row.latency.repeats == pair.theirs.repeats == 5
    text = pairs.format_pairs([pair])
    assert f"{name}: references/pytorch_" in text


def test_bfloat16_is_autocast():
    pytest.importorskip("torch")
    _, (pair,) = measure("vdpa", "bfloat16")
    assert 1e-5 < pair.difference < 0.05


@pytest.mark.long
@pytest.mark.parametrize("name", ["vdpa", "demo"])
def test_training_steps(name):
    pytest.importorskip("torch")
    row, (pair,) = measure(name, train=True)
    assert (row.mode, pair.difference) == ("training", None)
    assert pair.theirs.median > 0


def test_a_step_of_theirs_trains():
    torch = pytest.importorskip("torch")
    model = models.create("vit", **NAMES["vit"])
    made = benchmark.program.inference(model, 2)
    peer = torch_peers.build("vit", model, made.variables)
    before = [p.detach().clone() for p in peer.module.parameters()]
    step = torch_programs.training(peer, "float32", compiled=False)
    call = peer.convert(made.calls[0][1:])
    losses = [float(step(*call)) for _ in range(30)]
    assert losses[-1] < losses[0]
    assert not any(map(torch.equal, before, peer.module.parameters()))


def test_float16_is_autocast_or_refused(monkeypatch):
    torch = pytest.importorskip("torch")
    row, (pair,) = measure("vdpa", "float16")
    assert row.dtype == pair.dtype == "float16"
    assert 1e-5 < pair.difference < 0.01
    assert torch_programs.check_dtype("float32") == ""
    monkeypatch.setattr(torch_programs, "_has_float16", lambda: False)
    assert "no avx512_fp16" in torch_programs.check_dtype("float16")
    monkeypatch.setattr(torch_programs, "_has_float16", lambda: True)
    assert torch_programs.check_dtype("float16") == ""
    # As older versions do: autocast warns, and leaves float32 as it is.
    monkeypatch.setattr(torch, "autocast", lambda *_: contextlib.nullcontext())
    with pytest.raises(UserError, match="computes no float16 on a CPU"):
        torch_programs.check_dtype("float16")


def test_aliases_have_the_equivalents_of_their_models():
    maxvit = models.create("maxvit", **SMALL["maxvit"])
    assert torch_peers.has_equivalent("maxvit", maxvit)
    swin = models.create("swin", **SMALL["swin"])
    assert torch_peers.has_equivalent("swin-transformer", swin)
    vmamba = models.create("vmamba", **SMALL["vmamba"])
    assert not torch_peers.has_equivalent("vmamba", vmamba)


def test_arguments_that_the_equivalent_is_not_built_with(peers):
    torch = pytest.importorskip("torch")

    def make(model, variables):
        linear = torch.nn.Linear(2, 2)
        linear.load_state_dict({"weight": torch.ones(3, 3), "bias": torch.ones(3)})

    benchmark.register_peer("mine", make)
    with pytest.raises(UserError, match="mine is not built with these arguments"):
        torch_peers.build("mine", Mine(), {})


VIT = {"img_size": 16, "patch_size": 8, "embed_dim": 12, "depth": 1, "num_heads": 2}


@pytest.mark.long
@pytest.mark.parametrize(
    "arguments",
    [
        {"distilled": True, "norm_eps": 0.1},
        {"reg_tokens": 3, "no_embed_class": True, "qk_norm": True, "init_values": 0.1},
        {"global_pool": "avg", "fc_norm": False, "activation": "quick_gelu"},
        {"global_pool": "avg", "class_token": False, "reg_tokens": 1},
    ],
)
def test_timms_vit_has_the_models_own_arguments(arguments):
    torch = pytest.importorskip("torch")
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    model = models.create("vit_tiny_patch16", num_classes=3, **VIT, **arguments)
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
    variables = drawn_variables(model, images)
    peer = torch_peers.build("vit_tiny_patch16", model, variables)
    with torch.no_grad():
        theirs = peer.module.eval()(*peer.convert((images,)))
    logits, _ = jax.jit(model.apply)(variables, images)
    np.testing.assert_allclose(logits, theirs.numpy(), rtol=1e-4, atol=1e-5)


def test_a_vit_that_timm_has_not():
    pytest.importorskip("torch")
    model = models.create("vit_tiny_patch16", **VIT, distilled=True, reg_tokens=1)
    with pytest.raises(UserError, match="no distilled ViT with reg_tokens"):
        torch_peers.build("vit_tiny_patch16", model, {})


@pytest.mark.parametrize("problem", [ImportError, RuntimeError("operator nms")])
def test_timm_needs_no_torchvision_and_none_of_another_torch(monkeypatch, problem):
    def fail(name):
        sys.modules["torchvision.half"] = types.ModuleType("torchvision.half")
        raise problem

    for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    stand_in = torch_peers.torchvision_stand_in
    monkeypatch.setattr(stand_in.importlib, "import_module", fail)
    before = set(sys.modules)
    try:
        stand_in.install_if_needed()
        from torchvision.transforms import InterpolationMode

        assert InterpolationMode.BICUBIC == 3
        assert "torchvision.half" not in sys.modules
    finally:
        for name in set(sys.modules) - before:
            del sys.modules[name]


def test_images_are_turned():
    pytest.importorskip("torch")
    model = models.create("vit", **NAMES["vit"])
    made = benchmark.program.inference(model, 2)
    peer = torch_peers.build("vit", model, made.variables)
    images = np.arange(2 * 16 * 16 * 3, dtype=np.float32).reshape(2, 16, 16, 3)
    (turned,) = peer.convert((images,))
    np.testing.assert_array_equal(turned.numpy(), images.transpose(0, 3, 1, 2))


def test_what_has_no_equivalent(monkeypatch):
    linear = models.create("linear_vit", **SMALL["linear_vit"])
    vdpa = models.create("vdpa", **SMALL["vdpa"])
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: there("json"))
    with pytest.raises(UserError, match="linear_vit has no PyTorch equivalent"):
        torch_peers.check("linear_vit", linear)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install torch timm"):
        torch_peers.check("vdpa", vdpa)


class Mine(nn.Module):
    """A model that a user's file might hold."""

    classes: int = 5

    def example_inputs(self, batch_size):
        return (jnp.zeros((batch_size, 4, 4, 3)),)

    @nn.compact
    def __call__(self, images, train=False):
        x = images.mean((1, 2))  # (b, 3)
        return nn.Dense(self.classes)(x), {"losses": {}}


@pytest.fixture
def peers(monkeypatch):
    """A table of its own, without what is in ours."""
    table = Registry("PyTorch equivalent")
    monkeypatch.setattr(torch_peers, "_PEERS", table)
    return table


def test_an_equivalent_of_ones_own(peers):
    torch = pytest.importorskip("torch")

    class Theirs(torch.nn.Module):
        def __init__(self, kernel, bias):
            super().__init__()
            self.linear = torch.nn.Linear(*kernel.shape)
            self.linear.weight.data = torch.tensor(kernel.T)
            self.linear.bias.data = torch.tensor(bias)

        def forward(self, images):
            return self.linear(images.mean((2, 3)))

    def make(model, variables):
        return Theirs(**variables["params"]["Dense_0"]), "theirs"

    model = Mine()
    with pytest.raises(UserError, match="mine has no PyTorch equivalent here"):
        torch_peers.check("mine", model)
    benchmark.register_peer(Mine, make)
    torch_peers.check("mine", model)
    _, (pair,) = pairs.measure_pairs(
        "mine", model, 2, "float32", 0, TIMING, False, with_compiled=False
    )
    assert pair.difference < 1e-5
    assert pair.source == f"theirs, torch {torch.__version__}"

    def refuse(name):
        raise UserError(f"{name} is not here")

    benchmark.register_peer("wider", make, refuse)  # a name goes before its class
    with pytest.raises(UserError, match="wider is not here"):
        torch_peers.check("wider", model)


def test_a_class_that_is_not_in_the_table_is_refused_in_a_sentence(monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: there("json"))
    with pytest.raises(UserError) as raised:
        torch_peers.check("mine", Mine())
    sentence = str(raised.value)
    assert sentence.startswith("--peer torch: mine has no PyTorch equivalent here;")
    assert sentence.endswith("there are " + ", ".join(KNOWN))
    subclass = type("VDPA", (type(models.create("vdpa", **SMALL["vdpa"])),), {})
    with pytest.raises(UserError, match="has no PyTorch equivalent"):
        torch_peers.check("my_vdpa", subclass())  # another model of the same name
