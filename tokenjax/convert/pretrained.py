"""Loading of published backbone weights, whichever library's file they come in.

    variables = load_pretrained(model, read_state_dict(path), key)

| model | layouts |
| --- | --- |
| clip_vit | OpenAI's CLIP and open_clip ("visual.conv1.weight", or without "visual.");
  Hugging Face's CLIP ("vision_model.embeddings...", "visual_projection.weight") |
| camera_vit | timm and DeiT ("patch_embed.proj.weight", "blocks.0...") |
| t2t_vit | T2T-ViT's ("tokens_to_token.project.weight", "blocks.0...") |
| all | DeMo's own ("BACKBONE.base...") |

A file of a whole system gives the backbone's part; a classifier and a distillation
token are left out. Position embeddings of a square grid are resized to the model's.
What no file has, the camera embedding, keeps its initial value. All else is strict.

A file does not say which activation it was trained with: OpenAI's and open_clip's
"-quickgelu" models have QuickGELU, as `clip_vit` does; open_clip's others have not.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from tokenjax.convert.mapping import apply_table, as_arrays, invert_table
from tokenjax.convert.tables import table_for
from tokenjax.errors import ConversionError
from tokenjax.models.demo.camera_vit import CameraViT
from tokenjax.models.demo.clip_vit import ClipVisionTransformer
from tokenjax.models.demo.t2t_vit import T2TViT
from tokenjax.models.position_embedding import resize

Arrays = dict[str, np.ndarray]

_HUGGING_FACE = (  # applied one after another
    ("vision_model.embeddings.patch_embedding.", "conv1."),
    ("vision_model.embeddings.position_embedding.weight", "positional_embedding"),
    ("vision_model.embeddings.", ""),
    ("vision_model.pre_layrnorm.", "ln_pre."),  # their spelling
    ("vision_model.post_layernorm.", "ln_post."),
    ("vision_model.encoder.layers.", "transformer.resblocks."),
    ("visual_projection.weight", "proj"),
    (".self_attn.", ".attn."),
    (".layer_norm", ".ln_"),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
)
_TIMM_HEADS = ("head", "head_dist", "dist_token", "pre_logits")


class _Backbone(NamedTuple):
    rename: Callable[[Arrays], Arrays]  # to the keys of the model's table
    positions: str
    optional: tuple[str, ...] = ()  # what a file need not have


def is_backbone(model: nn.Module) -> bool:
    """Return whether `load_pretrained` knows the model."""
    return type(model) in _BACKBONES


def load_pretrained(
    model: nn.Module, state_dict: Mapping[str, Any], key: jax.Array
) -> dict[str, Any]:
    """Convert published weights to Flax variables in float32; see the module.

    Args:
      model: a `ClipVisionTransformer`, a `CameraViT` or a `T2TViT`.
      state_dict: key -> numpy array or torch tensor, in one of the known layouts.
      key: draws what the file need not have, where it has not.

    Raises: ConversionError that lists all missing, unexpected and misshapen keys.
    """
    if not is_backbone(model):
        known = ", ".join(sorted(cls.__name__ for cls in _BACKBONES))
        raise ConversionError(
            f"no published weights are known for {type(model).__name__}; for {known}"
        )
    backbone, table = _BACKBONES[type(model)], table_for(model)
    arrays = as_arrays(state_dict)
    arrays = backbone.rename(_below("BACKBONE.base.", arrays) or arrays)
    if backbone.positions in arrays:
        positions = arrays[backbone.positions]
        arrays[backbone.positions] = _fit_positions(positions, model.grid)
    known_keys = {entry.torch_key for entry in table.entries}
    left_out = known_keys.intersection(backbone.optional) - set(arrays)
    if left_out:
        initial = jax.jit(model.init)(key, *model.example_inputs(1))
        state = invert_table(table, initial)
        arrays |= {name: state[name] for name in left_out}
    return apply_table(table, model, arrays)


def _below(prefix: str, arrays: Arrays) -> Arrays:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def _fit_positions(positions: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Resize positions of a square grid; return others as they are."""
    if positions.ndim < 2 or not np.issubdtype(positions.dtype, np.floating):
        return positions
    count = positions.shape[-2] - 1
    side = math.isqrt(max(count, 0))
    if count == grid[0] * grid[1] or side < 1 or side * side != count:
        return positions
    return resize(positions.astype(np.float32), (side, side), grid)


def _clip_keys(arrays: Arrays) -> Arrays:
    """Rename OpenAI's, open_clip's or Hugging Face's keys; drop the text tower."""
    visual = _below("visual.", arrays)
    if visual or not any(name.startswith("vision_model.") for name in arrays):
        return visual or arrays
    renamed = {}
    for name, array in arrays.items():
        if not name.startswith(("vision_model.", "visual_projection.")):
            continue
        for theirs, ours in _HUGGING_FACE:
            name = name.replace(theirs, ours)
        renamed[name] = array
    renamed.pop("position_ids", None)  # 0, 1, 2, ...
    if "proj" in renamed:
        renamed["proj"] = renamed["proj"].T
    return _pack_attention(renamed)


def _pack_attention(arrays: Arrays) -> Arrays:
    """Pack three projections of one shape into one, in the order q, k, v."""
    packed = dict(arrays)
    for name in arrays:
        prefix, separator, kind = name.partition(".attn.q_proj.")
        if not separator:
            continue
        names = [f"{prefix}.attn.{part}_proj.{kind}" for part in "qkv"]
        shapes = {arrays[n].shape if n in arrays else () for n in names}
        if len(shapes) == 1 and () not in shapes:
            parts = [packed.pop(n) for n in names]
            packed[f"{prefix}.attn.in_proj_{kind}"] = np.concatenate(parts)
    return packed


def _timm_keys(arrays: Arrays) -> Arrays:
    """Leave out the head, and the distillation token with its position."""
    kept = {
        name: array
        for name, array in arrays.items()
        if name.partition(".")[0] not in _TIMM_HEADS
    }
    positions = kept.get("pos_embed", np.empty(0))
    if "dist_token" in arrays and positions.ndim == 3:
        kept["pos_embed"] = np.concatenate([positions[:, :1], positions[:, 2:]], axis=1)
    return kept


_BACKBONES: dict[type[nn.Module], _Backbone] = {
    ClipVisionTransformer: _Backbone(_clip_keys, "positional_embedding"),
    CameraViT: _Backbone(_timm_keys, "pos_embed", ("sie_embed",)),
    T2TViT: _Backbone(_timm_keys, "pos_embed", ("sie_embed",)),
}
