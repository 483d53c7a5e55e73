"""Published names of the same weights, turned into those of our tables.

| model | besides its table's keys |
| --- | --- |
| clip_vit | OpenAI's CLIP and open_clip ("visual.conv1.weight", or without "visual.");
  Hugging Face's CLIP ("vision_model.embeddings...", "visual_projection.weight");
  DeMo's own ("BACKBONE.base...") |
| vit_*_patch16 | Hugging Face's DINOv2, with registers or without |
| vit_*_patch16, camera_vit | Hugging Face's ViT and DeiT, before version 5
  ("vit.encoder.layer.0.attention.attention.query...") and since
  ("vit.layers.0.attention.q_proj..."), with or without "vit."; torchvision's
  ("encoder.layers.encoder_layer_0..."); camera_vit: DeMo's own |
| t2t_vit | DeMo's own |
| swin | Microsoft's: a stage's joining at the end of the one before, a plain "head",
  and what is computed from the window alone |
| convnextv2 | Meta's ("downsample_layers", "dwconv", "pwconv1", "grn.gamma") |
| maxvit | 1 x 1 convolutions where timm has linear layers now |
| vmamba | its first names ("self_attention", "ln_1", "head"), and those of the later
  single file ("op.x_proj.weight", flattened) |
| attention_routing and its baselines | those of the framework's later file
  ("task_head.0.weight") |

timm's earlier names are those of today, but for what `Layout.more_heads` says. Nothing
here drops a weight of the model; what is left out, `pretrained` says.
"""

import re
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

from tokenjax.convert.renames import (
    CLIP,
    CONVNEXT,
    ROUTING,
    VIT,
    VMAMBA,
    Renames,
)
from tokenjax.errors import ConversionError
from tokenjax.models.baselines import windows
from tokenjax.models.baselines.convnext_v2 import ConvNeXtV2
from tokenjax.models.baselines.maxvit import MaxViT
from tokenjax.models.baselines.swin import SwinTransformer
from tokenjax.models.baselines.vision_transformer import ImageNetViT
from tokenjax.models.baselines.vmamba import VMamba
from tokenjax.models.demo.camera_vit import CameraViT
from tokenjax.models.demo.clip_vit import ClipVisionTransformer
from tokenjax.models.demo.t2t_vit import T2TViT
from tokenjax.models.position_embedding import Method
from tokenjax.models.routing import (
    AttentionRouting,
    CheapCompute,
    FullCompute,
    NoRouting,
)
from tokenjax.ops.selective_scan import PATHS

Arrays = dict[str, np.ndarray]


def _same(arrays: Arrays) -> Arrays:
    return arrays


class Layout(NamedTuple):
    """How other names of a model's weights become its table's.

    Attributes:
      part: takes the model out of a larger system.
      renames: patterns of keys, one after another.
      finish: turns arrays of other shapes, after that.
      unused: pattern of keys that no output of the model depends on.
      more_heads: pattern of keys that outputs depend on and the model may have no place
        for: they go when the head does.
      optional: keys that a file need not have.
    """

    part: Callable[[Arrays], Arrays] = _same
    renames: Renames = ()
    finish: Callable[[Arrays], Arrays] = _same
    unused: str = r"(?!)"  # nothing
    more_heads: str = r"(?!)"
    optional: tuple[str, ...] = ()


def layout_of(model: nn.Module) -> Layout:
    """Return what other names a model's weights go by."""
    return _LAYOUTS.get(type(model), Layout())


def rename(model_class: type[nn.Module], arrays: Arrays) -> Arrays:
    """Return the arrays under the keys of the model's table, as far as they are known.

    Raises: ConversionError if two keys become one.
    """
    layout = _LAYOUTS.get(model_class, Layout())
    renamed: Arrays = {}
    for key, array in layout.part(arrays).items():
        name = key
        for pattern, replacement in layout.renames:
            name = re.sub(pattern, replacement, name)
        if name in renamed:
            raise ConversionError(f"the state_dict holds {name} twice, once as {key}")
        renamed[name] = array
    return layout.finish(renamed)


class Program(NamedTuple):
    """What a layout's own program does unless it is told otherwise; None: unknown."""

    arguments: Mapping[str, Any] = types.MappingProxyType({})  # of the model
    resizes_by: Method | None = None  # positions, to another grid
    squares: bool = True  # whether its images are squares


def program_of(arrays: Arrays) -> Program:
    """Return what is known of the program that the keys, as they come, are of."""
    if any(key.endswith("embeddings.register_tokens") for key in arrays):
        return Program({"norm_eps": 1e-6}, "bicubic_antialias")  # transformers' DINOv2
    if any(key.endswith("layer_scale1.lambda1") for key in arrays):
        return Program({"norm_eps": 1e-6}, "bicubic")
    if any(key.endswith("embeddings.cls_token") for key in arrays):
        return Program({"norm_eps": 1e-12}, "bicubic")  # transformers' ViT and DeiT
    names = _backbone(arrays).keys()
    squares = not any(key.startswith("BACKBONE.") for key in arrays)  # DeMo's are none
    timm = {"cls_token", "patch_embed.proj.weight"} <= names
    arguments = {"norm_eps": 1e-6} if timm or "conv_proj.weight" in names else {}
    return Program(arguments, squares=squares)


def _below(prefix: str, arrays: Arrays) -> Arrays:
    """Return what lies below a prefix; everything if nothing does."""
    found = {
        key.removeprefix(prefix): array
        for key, array in arrays.items()
        if key.startswith(prefix)
    }
    return found or arrays


def _backbone(arrays: Arrays) -> Arrays:
    return _below("BACKBONE.base.", arrays)


def _image_tower(arrays: Arrays) -> Arrays:
    """Take the image tower out of a whole CLIP or DeMo."""
    arrays = _below("visual.", _backbone(arrays))
    towers = ("vision_model.", "visual_projection.")
    if not any(key.startswith("vision_model.") for key in arrays):
        return arrays
    return {key: array for key, array in arrays.items() if key.startswith(towers)}


def _finish_clip(arrays: Arrays) -> Arrays:
    arrays = _pack(arrays, "in_proj_")
    arrays.pop("position_ids", None)  # 0, 1, 2, ...
    if "proj.T" in arrays:
        arrays["proj"] = arrays.pop("proj.T").T
    return arrays


def _finish_vit(arrays: Arrays) -> Arrays:
    return _pack(arrays, "qkv.")


def _finish_imagenet_vit(arrays: Arrays) -> Arrays:
    """Take what other libraries have in front of the patches for what it is here.

    Of transformers: a distillation token that no head reads is a register, and
    registers without positions have some that are 0.
    """
    packed = _finish_vit(arrays)
    positions = packed.get("pos_embed", np.empty(0))
    if "register_tokens" in packed and positions.ndim == 3:
        registers = packed["reg_token"] = packed.pop("register_tokens")
        packed["pos_embed"] = np.concatenate(
            [positions[:, :1], np.zeros_like(registers), positions[:, 1:]], axis=1
        )
    one_head = "head.weight" in packed and "head_dist.weight" not in packed
    if one_head and "dist_token" in packed and "reg_token" not in packed:
        packed["reg_token"] = packed.pop("dist_token")
    return packed


def _pack(arrays: Arrays, name: str) -> Arrays:
    """Pack three projections of one shape into one, in the order q, k, v."""
    packed = dict(arrays)
    for key in arrays:
        prefix, separator, kind = key.partition(".attn.q_proj.")
        if not separator:
            continue
        keys = [f"{prefix}.attn.{part}_proj.{kind}" for part in "qkv"]
        shapes = {arrays[k].shape if k in arrays else () for k in keys}
        if len(shapes) == 1 and () not in shapes:
            parts = [packed.pop(k) for k in keys]
            packed[f"{prefix}.attn.{name}{kind}"] = np.concatenate(parts)
    return packed


def _finish_swin(arrays: Arrays) -> Arrays:
    """Turn Microsoft's keys, where stage 0 joins places, which timm's never does."""
    older = any(key.startswith("layers.0.downsample.") for key in arrays)
    turned: Arrays = {}
    for key, array in arrays.items():
        if older:
            key = re.sub(
                r"^layers\.(\d+)\.downsample\.",
                lambda match: f"layers.{int(match[1]) + 1}.downsample.",
                key,
            )
        key = re.sub(r"^head\.(weight|bias)$", r"head.fc.\1", key)
        if not _follows_from_windows(key, array):
            turned[key] = array
    return turned


def _follows_from_windows(key: str, array: np.ndarray) -> bool:
    """Return whether it is a mask, or the index that any window of its size has."""
    if key.endswith(".attn_mask"):
        return True
    if not key.endswith(".relative_position_index") or array.ndim != 2:
        return False
    places = len(array)
    sizes = [(h, places // h) for h in range(1, places + 1) if places % h == 0]
    return any(
        np.array_equal(windows.relative_position_index(size), array) for size in sizes
    )


def _finish_convnext(arrays: Arrays) -> Arrays:
    return {
        key: array.reshape(-1)
        if ".mlp.grn." in key and array.size == max(array.shape, default=0)
        else _as_linear(array, r"\.mlp\.fc[12]\.weight$", key)
        for key, array in arrays.items()
    }


def _finish_maxvit(arrays: Arrays) -> Arrays:
    linear = r"\.(attn\.(qkv|proj)|mlp\.fc[12])\.weight$"
    return {key: _as_linear(array, linear, key) for key, array in arrays.items()}


def _finish_vmamba(arrays: Arrays) -> Arrays:
    linear = r"\.(in_proj|out_proj|fc[12])\.weight$"
    flat = re.compile(r"\.op\.(x_proj|dt_projs)\.weight$")
    turned: Arrays = {}
    for key, array in arrays.items():
        if flat.search(key) and array.ndim >= 2 and len(array) % PATHS == 0:
            key = flat.sub(r".op.\1_weight", key)
            array = array.reshape(PATHS, -1, array.shape[1])  # (path * out, in, ...)
        turned[key] = _as_linear(array, linear, key)
    return turned


def _as_linear(array: np.ndarray, pattern: str, key: str) -> np.ndarray:
    """Turn a 1 x 1 convolution under a key of that pattern into a linear layer."""
    pointwise = array.ndim == 4 and array.shape[2:] == (1, 1)
    return array[:, :, 0, 0] if pointwise and re.search(pattern, key) else array


_VIT_UNUSED = r"^(pooler\.|mask_token$|decoder_)"
_VIT_HEADS = r"^(dist_token$|head_dist\.|pre_logits\.)"
_CAMERA = Layout(
    _backbone,
    VIT,
    _finish_vit,
    _VIT_UNUSED,
    more_heads=r"^head\.|" + _VIT_HEADS,
    optional=("sie_embed",),
)
# Its "weighted_mean" has weights that nothing reads.
_ROUTING = Layout(renames=ROUTING, unused=r"^aggregator\.weights$")
_ONE_NETWORK = _ROUTING._replace(  # the original's have no scoring head
    optional=("attention.attention_net.0.weight", "attention.attention_net.0.bias")
)
_LAYOUTS: dict[type[nn.Module], Layout] = {
    ClipVisionTransformer: Layout(_image_tower, CLIP, _finish_clip),
    CameraViT: _CAMERA,
    T2TViT: _CAMERA._replace(renames=()),
    ImageNetViT: Layout(_backbone, VIT, _finish_imagenet_vit, _VIT_UNUSED, _VIT_HEADS),
    SwinTransformer: Layout(finish=_finish_swin),
    ConvNeXtV2: Layout(renames=CONVNEXT, finish=_finish_convnext),
    MaxViT: Layout(finish=_finish_maxvit),
    VMamba: Layout(renames=VMAMBA, finish=_finish_vmamba),
    AttentionRouting: _ROUTING,
    FullCompute: _ONE_NETWORK,
    CheapCompute: _ONE_NETWORK,
    NoRouting: _ROUTING,
}
