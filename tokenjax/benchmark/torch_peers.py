"""The PyTorch equivalents of models, with the same weights, by model.

A model of one's own gets one in the file that registers it:

    from tokenjax import benchmark

    def make(model, variables):  # model: ours; variables: its weights
        module = TheirModel(model.depth)
        module.load_state_dict(...)
        return module, "their program, version 1"

    benchmark.register_peer(MyModel, make)  # or a model's name

Nothing of the library needs PyTorch or timm. The references of our own systems are not
in the wheel: they need a checkout.
"""

import functools
import importlib
import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from flax.typing import VariableDict

from tokenjax import convert, models
from tokenjax.benchmark import torch_programs, torchvision_stand_in
from tokenjax.errors import UserError
from tokenjax.models import contract
from tokenjax.models.baselines.vision_transformer import ImageNetViT
from tokenjax.models.demo.demo_model import DeMo
from tokenjax.models.dynamic_vit import DynamicViT
from tokenjax.models.routing.attention_routing import AttentionRouting
from tokenjax.models.vdpa import VDPA
from tokenjax.models.vit import VisionTransformer
from tokenjax.registry import Registry

if TYPE_CHECKING:
    import torch

Make = Callable[[nn.Module, VariableDict], tuple["torch.nn.Module", str]]


class _Maker(NamedTuple):
    """What makes the PyTorch module of a model, and says before whether it can."""

    make: Make
    check: Callable[[str], None]


_PEERS: Registry[_Maker] = Registry("PyTorch equivalent")


def register_peer(
    model: str | type[nn.Module],
    make: Make,
    check: Callable[[str], None] = lambda name: None,
) -> None:
    """Say what the PyTorch equivalent of a model is.

    Args:
      model: a model's name, or a class, which then stands for all its names.
      make: (our model, its variables) -> the PyTorch module with the same weights, and
        a line on what it is. PyTorch is imported within.
      check: raises UserError, of the model's name, where `make` would fail.

    Raises: UserError if the model has another one.
    """
    _PEERS.add(_key(model), _Maker(make, check))


def check_installed() -> None:
    """Refuse to go on without PyTorch.

    Raises: UserError.
    """
    if importlib.util.find_spec("torch") is None:
        raise UserError("--peer torch needs PyTorch: pip install torch timm")


def has_equivalent(name: str, model: nn.Module) -> bool:
    """Return whether there is a PyTorch program of the model to be built."""
    return _find(name, model) is not None


def check(name: str, model: nn.Module) -> None:
    """Refuse a model without an equivalent, and any where PyTorch is missing.

    Raises: UserError.
    """
    check_installed()
    maker = _find(name, model)
    if maker is None:
        known = ", ".join(sorted(key.rpartition(".")[2] for key in _PEERS))
        raise UserError(
            f"--peer torch: {name} has no PyTorch equivalent here; there are {known}"
        )
    maker.check(name)


def build(name: str, model: nn.Module, variables: VariableDict) -> torch_programs.Peer:
    """Build the equivalent of a model that passed `check`, with its weights.

    Raises: UserError for arguments that the equivalent is not built with.
    """
    import torch

    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    maker = _find(name, model)
    assert maker is not None, f"{name} was not checked"
    try:
        module, source = maker.make(model, jax.device_get(variables))
    except RuntimeError as error:  # of load_state_dict
        if "state_dict" not in str(error):
            raise
        raise UserError(
            f"--peer torch: the PyTorch equivalent of {name} is not built with these "
            "arguments: its weights have other shapes"
        ) from error
    source = f"{source}, torch {torch.__version__}"
    return torch_programs.Peer(
        module.to(device), source, torch_programs.converter(device)
    )


def _key(model: str | type[nn.Module]) -> str:
    return model if isinstance(model, str) else f"{model.__module__}.{model.__name__}"


def _find(name: str, model: nn.Module) -> _Maker | None:
    """Return the maker of that name, else of exactly that class.

    There is none of a model that reduces its tokens: PyTorch's would keep them all.
    """
    if isinstance(model, contract.ReducesTokens) and model.reduction is not None:
        return None
    named = _PEERS.get(name) or _PEERS.get(models.canonical_name(name))
    return named or _PEERS.get(_key(type(model)))


def _state(model: nn.Module, variables: VariableDict) -> dict[str, "torch.Tensor"]:
    """Name our weights by the keys of the original."""
    import torch

    state = convert.to_torch(model, variables)
    return {key: torch.tensor(np.asarray(array)) for key, array in state.items()}


def _check_timm(name: str) -> None:
    if importlib.util.find_spec("timm") is None:
        raise UserError(f"--peer torch: {name} is timm's; pip install timm")


def _make_timm(
    timm_name: str, sized: bool, model: nn.Module, variables: VariableDict
) -> tuple["torch.nn.Module", str]:
    """Build timm's model; a sized one is built for one size of images."""
    torchvision_stand_in.install_if_needed()
    import timm

    arguments = {"num_classes": model.num_classes}
    if sized:
        arguments["img_size"] = model.img_size
    module = timm.create_model(timm_name, **arguments)
    module.load_state_dict(_state(model, variables))
    return module, f"timm {timm.__version__} {timm_name}"


_DISTILLED = {  # a ViT of timm's, and it with a distillation token
    f"vit_{size}_patch16_224": f"deit_{size}_distilled_patch16_224"
    for size in ("tiny", "small", "base")
}
_SHARED = (
    *("num_classes", "global_pool", "fc_norm", "img_size", "patch_size", "in_chans"),
    *("embed_dim", "depth", "num_heads", "mlp_ratio", "qkv_bias", "qk_norm"),
    *("init_values", "class_token", "no_embed_class", "reg_tokens"),
)


def _make_timm_vit(
    timm_name: str, model: nn.Module, variables: VariableDict
) -> tuple["torch.nn.Module", str]:
    """Build timm's VisionTransformer with the model's own arguments."""
    assert isinstance(model, ImageNetViT)
    if model.distilled and (model.reg_tokens or model.no_embed_class):
        raise UserError(
            "--peer torch: timm has no distilled ViT with reg_tokens or no_embed_class"
        )
    torchvision_stand_in.install_if_needed()
    import timm
    import timm.layers

    name = _DISTILLED[timm_name] if model.distilled else timm_name
    module = timm.create_model(
        name,
        norm_layer=functools.partial(timm.layers.LayerNorm, eps=model.norm_eps),
        act_layer=model.activation,
        **{key: getattr(model, key) for key in _SHARED},
    )
    module.load_state_dict(_state(model, variables))
    return module, f"timm {timm.__version__} {name}"


def _check_references(name: str) -> None:
    """Refuse to go on without the references: a checkout has them, a wheel has not.

    Raises: UserError.
    """
    if importlib.util.find_spec("references") is None:
        raise UserError(
            f"--peer torch holds {name} to its PyTorch program in references/, which "
            "only a checkout has: run `python bench.py` there"
        )


def _make_reference(
    file: str, model: nn.Module, variables: VariableDict
) -> tuple["torch.nn.Module", str]:
    """Build the class of the same name in references/."""
    _check_references(type(model).__name__)
    reference = importlib.import_module(f"references.{file}")
    module = getattr(reference, type(model).__name__)(model)
    module.load_state_dict(_state(model, variables))
    return module, f"references/{file}.py"


for _name, _timm_name, _sized in (
    ("resnet50", "resnet50", False),
    ("swin_tiny", "swin_tiny_patch4_window7_224", True),
    ("swin_base", "swin_base_patch4_window7_224", True),
    ("convnextv2_tiny", "convnextv2_tiny", False),
    ("maxvit_tiny", "maxvit_tiny_tf_224", True),
):
    register_peer(_name, functools.partial(_make_timm, _timm_name, _sized), _check_timm)
for _name in ("vit_base_patch16", "vit_small_patch16", "vit_tiny_patch16"):
    _make = functools.partial(_make_timm_vit, f"{_name}_224")
    register_peer(_name, _make, _check_timm)
for _class, _file in (
    (VDPA, "pytorch_vdpa"),
    (VisionTransformer, "pytorch_vit"),
    (DynamicViT, "pytorch_vit"),
    (DeMo, "pytorch_demo"),
    (AttentionRouting, "pytorch_routing"),
):
    register_peer(_class, functools.partial(_make_reference, _file), _check_references)
