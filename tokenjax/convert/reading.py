"""Arguments of a model that a file of its weights tells, by its shapes.

What has no shape (the number of heads, mostly) no file tells: `SHAPELESS`.
"""

import functools
import math
import re
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import numpy as np

from tokenjax.models.baselines.convnext_v2 import ConvNeXtV2
from tokenjax.models.baselines.maxvit import MaxViT
from tokenjax.models.baselines.resnet import ResNet
from tokenjax.models.baselines.swin import SwinTransformer
from tokenjax.models.baselines.vision_transformer import ImageNetViT
from tokenjax.models.baselines.vmamba import VMamba
from tokenjax.models.demo.camera_vit import CameraViT
from tokenjax.models.demo.clip_vit import ClipVisionTransformer
from tokenjax.models.demo.demo_model import DeMo
from tokenjax.models.demo.t2t_vit import T2TViT
from tokenjax.models.dynamic_vit import DynamicViT
from tokenjax.models.linear_vit import LinearVisionTransformer
from tokenjax.models.position_embedding import Grid
from tokenjax.models.routing import (
    AttentionRouting,
    CheapCompute,
    FullCompute,
    NoRouting,
)
from tokenjax.models.vdpa import VDPA
from tokenjax.models.vit import VisionTransformer

Arrays = dict[str, np.ndarray]
# Arguments that change what a network computes and no weight's shape.
SHAPELESS = (
    "num_heads",
    "heads",
    "norm_eps",
    "activation",
    "no_embed_class",  # but for how many positions make a square
    "qk_scale",
    "stride_size",
    "sie_coe",
    "sie_xishu",
    "stk",
    "k_neighbors",
    "router",
    "budget",
    "gumbel_inference",
    "gumbel_noise",
    "attention_scale",
)
HEADS = ("num_heads", "heads")
WIDTHS = ("embed_dim", "width")
_FIRST = "blocks.0"
_LAYER_SCALE = 1e-5  # where one starts: a file has the trained ones
CONVOLUTION = 3  # pixels a side, of a routing model's encoder that is not lean
ROUTER_OF = {  # of routing models: a router by the key that it alone has
    "router.threshold": "learnable_threshold",
    "router.weight": "sigmoid_gate",
}


class File:
    """Shapes of a file's arrays: None, or 0, for what is not there.

    `grid`: rows and columns of patches, if that is known besides.
    """

    def __init__(self, arrays: Arrays, grid: Grid | None = None):
        self.arrays, self.grid = arrays, grid

    def size(self, key: str, axis: int) -> int | None:
        """Return the length of an array's axis."""
        shape = self.arrays[key].shape if key in self.arrays else ()
        return shape[axis] if -len(shape) <= axis < len(shape) else None

    def count(self, pattern: str) -> int | None:
        """Return how many numbers from 0 on stand where the pattern's group does."""
        found = (re.match(pattern, key) for key in self.arrays)
        numbers = {int(match[1]) for match in found if match}
        return len(numbers) or None

    def stages(self, pattern: str, first: int = 0) -> tuple[int, ...] | None:
        """Return the number of blocks of every stage; the pattern has a {} for it."""
        depths: list[int] = []
        while depth := self.count(pattern.format(first + len(depths))):
            depths.append(depth)
        return tuple(depths) or None

    def ratio(self, key: str, width: int | None) -> float | None:
        """Return rows of a matrix over a width: int(width * it) gives the rows."""
        rows = self.size(key, 0)
        if rows is None or not width:
            return None
        ratio = rows / width
        return ratio if int(width * ratio) == rows else math.nextafter(ratio, math.inf)

    def has(self, key: str, beside: str) -> bool | None:
        """Return whether an array is there, None if `beside` is not either."""
        return key in self.arrays if beside in self.arrays else None


def read_arguments(
    model_class: type[nn.Module], arrays: Arrays, grid: Grid | None = None
) -> dict[str, Any]:
    """Return the arguments that the arrays tell, by name.

    Args:
      model_class: a class of `tokenjax.models`.
      arrays: under the keys of its table.
      grid: of patches in the file, where that is known.
    """
    if model_class not in _READERS:
        return {}
    found = _READERS[model_class](File(arrays, grid))
    told = {name: value for name, value in found.items() if value is not None}
    # A head alone may be of any network.
    return {} if set(told) <= {"num_classes"} else told


def _blocks(file: File, width: int | None) -> dict[str, Any]:
    """Return what the blocks of a plain transformer tell."""
    return {
        "embed_dim": width,
        "depth": file.count(r"blocks\.(\d+)\."),
        "mlp_ratio": file.ratio(f"{_FIRST}.mlp.fc1.weight", width),
    }


def _patches(file: File, key: str, channels: str) -> dict[str, Any]:
    return {channels: file.size(key, 1), "patch_size": file.size(key, 2)}


def _read_camera_vit(file: File) -> dict[str, Any]:
    qkv = f"{_FIRST}.attn.qkv"
    return {
        **_blocks(file, file.size("cls_token", -1)),
        **_patches(file, "patch_embed.proj.weight", "in_chans"),
        "qkv_bias": file.has(f"{qkv}.bias", f"{qkv}.weight"),
    }


def _read_imagenet_vit(file: File) -> dict[str, Any]:
    positions, attention = "pos_embed", f"{_FIRST}.attn"
    found = {
        **_read_camera_vit(file),
        **_blocks(file, file.size(positions, -1)),
        "num_classes": file.size("head.weight", 0),
        "class_token": file.has("cls_token", positions),
        "distilled": file.has("dist_token", positions),
        "qk_norm": file.has(f"{attention}.q_norm.weight", f"{attention}.qkv.weight"),
        "init_values": _LAYER_SCALE if f"{_FIRST}.ls1.gamma" in file.arrays else None,
    }
    if positions in file.arrays:
        found["reg_tokens"] = file.size("reg_token", 1) or 0
        leading = found["class_token"] + found["distilled"] + found["reg_tokens"]
        found["no_embed_class"] = _lacks_positions(file, leading)
    if "fc_norm.weight" in file.arrays:
        found["global_pool"] = "avg"
    elif found["class_token"] is False:
        found |= {"global_pool": "avg", "fc_norm": False}
    return found


def _lacks_positions(file: File, leading: int) -> bool | None:
    """Return whether there are positions for patches alone, None if that is open.

    Patches are of a square unless their grid is known.
    """
    if not leading:
        return False
    rows = file.size("pos_embed", 1) or 0

    def fits(count: int) -> bool:
        if file.grid:
            return count == file.grid[0] * file.grid[1]
        return count > 0 and math.isqrt(count) ** 2 == count

    alone, among_all = fits(rows), fits(rows - leading)
    return alone if alone != among_all else None


def _read_t2t_vit(file: File) -> dict[str, Any]:
    growing = "tokens_to_token.attention1"
    found = _read_camera_vit(file) | {
        "token_dim": file.size(f"{growing}.norm2.weight", 0)
    }
    performer = file.has(f"{growing}.w", f"{growing}.norm2.weight")
    if performer is not None:
        found["tokens_type"] = "performer" if performer else "transformer"
    return found


def _read_cifar_vit(file: File) -> dict[str, Any]:
    return {
        **_blocks(file, file.size("cls_token", -1)),
        **_patches(file, "patch_embed.projection.weight", "in_channels"),
        "num_classes": file.size("head.weight", 0),
    }


def _read_vdpa(file: File) -> dict[str, Any]:
    weights = f"{_FIRST}.lga.pos_weight"
    return {
        **_blocks(file, file.size("pos_embed", -1)),
        **_patches(file, "patch_embed.proj.weight", "in_chans"),
        "num_classes": file.size("head.weight", 0),
        "num_heads": file.size(weights, 1),
        "global_tokens": file.size(weights, 3),
    }


def _read_clip_vit(file: File) -> dict[str, Any]:
    return {
        "width": file.size("class_embedding", 0),
        "layers": file.count(r"transformer\.resblocks\.(\d+)\."),
        "output_dim": file.size("proj", 1),
        "patch_size": file.size("conv1.weight", 2),
    }


def _read_resnet(file: File) -> dict[str, Any]:
    layers = file.stages(r"layer{}\.(\d+)\.", first=1)
    numbers = range(1, len(layers or ()) + 1)
    channels = [file.size(f"layer{number}.0.conv1.weight", 0) for number in numbers]
    return {
        "layers": layers,
        "channels": tuple(channels) or None,
        "in_chans": file.size("conv1.weight", 1),
        "num_classes": file.size("fc.weight", 0),
    }


def _read_swin(file: File) -> dict[str, Any]:
    width = file.size("patch_embed.proj.weight", 0)
    depths = file.stages(r"layers\.{}\.blocks\.(\d+)\.")
    tables = [
        f"layers.{stage}.blocks.0.attn.relative_position_bias_table"
        for stage in range(len(depths or ()))
    ]
    offsets = math.isqrt((file.size(tables[0], 0) or 0) if tables else 0)
    square = bool(tables) and offsets**2 == file.size(tables[0], 0)
    qkv = "layers.0.blocks.0.attn.qkv"
    return {
        **_patches(file, "patch_embed.proj.weight", "in_chans"),
        "embed_dim": width,
        "depths": depths,
        "num_heads": tuple(file.size(table, 1) for table in tables) or None,
        "window_size": (offsets + 1) // 2 if square else None,
        "mlp_ratio": file.ratio("layers.0.blocks.0.mlp.fc1.weight", width),
        "qkv_bias": file.has(f"{qkv}.bias", f"{qkv}.weight"),
        "num_classes": file.size("head.fc.weight", 0),
    }


def _read_convnext(file: File) -> dict[str, Any]:
    depths = file.stages(r"stages\.{}\.blocks\.(\d+)\.")
    stages = range(len(depths or ()))
    first = "stages.{}.blocks.0.conv_dw.weight"
    return {
        **_patches(file, "stem.0.weight", "in_chans"),
        "depths": depths,
        "dims": tuple(file.size(first.format(stage), 0) for stage in stages) or None,
        "kernel_sizes": file.size(first.format(0), 2),
        "num_classes": file.size("head.fc.weight", 0),
    }


def _read_maxvit(file: File) -> dict[str, Any]:
    depths = file.stages(r"stages\.{}\.blocks\.(\d+)\.")
    dims = tuple(
        file.size(f"stages.{stage}.blocks.0.attn_block.norm1.weight", 0)
        for stage in range(len(depths or ()))
    )
    table = "stages.0.blocks.0.attn_block.attn.rel_pos.relative_position_bias_table"
    heads, rows, columns = (file.size(table, axis) for axis in range(3))
    found: dict[str, Any] = {
        "depths": depths,
        "embed_dim": dims or None,
        "stem_width": file.size("stem.conv1.weight", 0),
        "in_chans": file.size("stem.conv1.weight", 1),
        "head_hidden_size": file.size("head.pre_logits.fc.weight", 0),
        "num_classes": file.size("head.fc.weight", 0),
    }
    if heads and rows and columns and dims and dims[0]:
        found["transformer_dim_head"] = dims[0] // heads
        # A window is a 32nd of the image, and its table has an entry per offset.
        height, width = ((side + 1) // 2 * 32 for side in (rows, columns))
        found["img_size"] = height if height == width else (height, width)
    return found


def _read_vmamba(file: File) -> dict[str, Any]:
    depths = file.stages(r"layers\.{}\.blocks\.(\d+)\.")
    dims: list[Any] = [
        file.size(f"layers.{stage}.blocks.0.norm.weight", 0)
        for stage in range(len(depths or ()))
    ]
    doubling = dims and all(d == dims[0] * 2**i for i, d in enumerate(dims))
    first = "layers.0.blocks.0"
    width = dims[0] if dims else None
    conv = f"{first}.op.conv2d"
    return {
        "in_chans": file.size("patch_embed.0.weight", 1),
        "depths": depths,
        "dims": (width if doubling else tuple(dims)) if dims else None,
        "ssm_d_state": file.size(f"{first}.op.A_logs", 1),
        "ssm_ratio": file.ratio(f"{first}.op.in_proj.weight", width),
        "ssm_conv_bias": file.has(f"{conv}.bias", f"{conv}.weight"),
        "mlp_ratio": file.ratio(f"{first}.mlp.fc1.weight", width),
        "num_classes": file.size("classifier.head.weight", 0),
    }


def _read_demo(file: File) -> dict[str, Any]:
    scores = sorted(
        key for key in file.arrays if re.match(r"classifier.*\.weight$", key)
    )
    return {
        "num_classes": file.size(scores[0], 0) if scores else None,
        "camera_num": file.size("BACKBONE.cv_embed", 0),
    }


def _read_routing(networks: dict[str, str], file: File) -> dict[str, Any]:
    """Return what a routing model's file tells; `networks` are keys, by our names."""
    encoder, head = "backbone.encoder.0.weight", "attention.attention_net"
    kernel = file.size(encoder, 2)
    layers = file.count(r"attention\.attention_net\.(\d+)\.")
    scores = file.size(f"{head}.{2 * (layers or 1) - 2}.weight", 0)
    found: dict[str, Any] = {
        "in_channels": file.size(encoder, 1),
        "num_classes": file.size("task_head.classifier.3.weight", 0),
        "encoder_channels": file.size(encoder, 0),
        "encoder_layers": file.count(r"backbone\.encoder\.(\d+)\.running_mean"),
        "attention_layers": layers,
        "aggregator_dim": file.size("aggregator.proj.weight", 0),
        "head_hidden_dim": file.size("task_head.classifier.0.weight", 0),
    }
    if kernel is not None:
        found["encoder"] = "convolutional" if kernel == CONVOLUTION else "lean"
    if layers is not None:
        found["attention"] = "spatial" if scores == 1 else "global"
    if layers is not None and layers > 1:
        found["attention_hidden_dim"] = file.size(f"{head}.0.weight", 0)
    for key, router in ROUTER_OF.items():
        if key in file.arrays:
            found["router"] = router
    for name, key in networks.items():
        found |= _patch_network(file, name, key)
    width, joined = found.get("embed_dim"), file.size("aggregator.proj.weight", 1)
    pixels = file.size(f"{next(iter(networks.values()))}.0.weight", 1)
    patches = joined // width if joined and width else 0
    if patches <= 1 and scores:  # not joined by position
        patches = scores
    grid = math.isqrt(patches)
    side = math.isqrt((pixels or 0) // (found["in_channels"] or 1))
    if grid > 1 and side:
        found |= {"patch_grid": grid, "img_size": grid * side}
    return found


def _patch_network(file: File, name: str, key: str) -> dict[str, Any]:
    """Return what one of a routing model's networks tells."""
    layers = file.count(key.replace(".", r"\.") + r"\.(\d+)\.weight")
    if layers is None:
        return {}
    found = {
        f"{name}_layers": layers - 1,
        "embed_dim": file.size(f"{key}.{3 * layers - 3}.weight", 0),
    }
    if layers > 1:
        found[f"{name}_hidden_dim"] = file.size(f"{key}.0.weight", 0)
    return found


_READERS: dict[type[nn.Module], Callable[[File], dict[str, Any]]] = {
    VDPA: _read_vdpa,
    VisionTransformer: _read_cifar_vit,
    LinearVisionTransformer: _read_cifar_vit,
    DynamicViT: _read_cifar_vit,
    ClipVisionTransformer: _read_clip_vit,
    CameraViT: _read_camera_vit,
    T2TViT: _read_t2t_vit,
    ImageNetViT: _read_imagenet_vit,
    ResNet: _read_resnet,
    SwinTransformer: _read_swin,
    ConvNeXtV2: _read_convnext,
    MaxViT: _read_maxvit,
    VMamba: _read_vmamba,
    DeMo: _read_demo,
    AttentionRouting: functools.partial(
        _read_routing, {"big": "mlp_big.mlp", "small": "mlp_small.mlp"}
    ),
    FullCompute: functools.partial(_read_routing, {"big": "mlp.mlp"}),
    CheapCompute: functools.partial(_read_routing, {"small": "mlp.mlp"}),
    NoRouting: functools.partial(_read_routing, {"small": "mlp.mlp"}),
}
