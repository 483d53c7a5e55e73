"""The backbone that DeMo runs on every modality with the same weights.

    tokens (b, 1 + n, feat_dim), the class token first, of images (b, h, w, 3)

A CLIP image tower adds its camera embedding to the class token alone, an ImageNet ViT
or T2T-ViT to every token. All modalities of a batch go through in one call: their axis
is put behind the batch's, so that a batch split over devices stays where it is.

Source: DeMo2 at 6334359, modeling/make_model.py (`build_transformer`).
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, TypeVar

import jax
import jax.numpy as jnp

from tokenjax.arguments import DType
from tokenjax.errors import UserError
from tokenjax.models.demo.camera_vit import CameraViT
from tokenjax.models.demo.clip_vit import ClipVisionTransformer
from tokenjax.models.demo.t2t_vit import T2TViT
from tokenjax.registry import Registry

Backbone: TypeAlias = ClipVisionTransformer | CameraViT
Tree = TypeVar("Tree")  # of arrays


@dataclasses.dataclass(frozen=True)
class BackboneSizes:
    """The sizes of one `transformer_type`."""

    clip: bool
    width: int
    depth: int
    num_heads: int
    feat_dim: int
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    qk_scale: float | None = None
    patch_size: int = 16
    tokens_type: str = ""  # of a T2T-ViT
    activation: Literal["gelu", "quick_gelu"] = "gelu"


TRANSFORMER_TYPES: Registry[BackboneSizes] = Registry("transformer_type")
for _name, _sizes in {
    "ViT-B-16": BackboneSizes(True, 768, 12, 12, 512, activation="quick_gelu"),
    "vit_base_patch16_224": BackboneSizes(False, 768, 12, 12, 768),
    "vit_small_patch16_224": BackboneSizes(
        False, 768, 8, 8, 768, 3.0, qkv_bias=False, qk_scale=768**-0.5
    ),
    "deit_small_patch16_224": BackboneSizes(False, 384, 12, 6, 384),
    "t2t_vit_t_14": BackboneSizes(
        False, 384, 14, 6, 384, 3.0, qkv_bias=False, tokens_type="transformer"
    ),
    "t2t_vit_t_24": BackboneSizes(
        False, 512, 24, 8, 512, 3.0, qkv_bias=False, tokens_type="transformer"
    ),
}.items():
    TRANSFORMER_TYPES.add(_name, _sizes)


def backbone_sizes(transformer_type: str, given: Mapping[str, Any]) -> BackboneSizes:
    """Return the sizes of a type, with those replaced that are given and not 0 or "".

    Raises: UserError for an unknown type.
    """
    sizes = TRANSFORMER_TYPES[transformer_type]
    changed: dict[str, Any] = {k: v for k, v in given.items() if v}
    if not sizes.clip and "feat_dim" not in changed and "width" in changed:
        changed["feat_dim"] = changed["width"]
    sizes = dataclasses.replace(sizes, **changed)
    if not sizes.clip and sizes.feat_dim != sizes.width:
        raise UserError(
            f"{transformer_type} has no projection: feat_dim must be its width "
            f"{sizes.width}, got {sizes.feat_dim}"
        )
    return sizes


def make_backbone(
    sizes: BackboneSizes,
    image_size: tuple[int, int],
    stride_size: tuple[int, int],
    cameras: int,
    sie_coe: float,
    drop_path: float,
    dtype: DType,
    remat: bool,
    reduction: str | Mapping[str, Any] | None = None,
    **flax: Any,
) -> Backbone:
    """Make the module; `cameras` (0: no embedding) concerns ImageNet's types alone.

    `flax` is what Flax takes of every module: its name, its parent.
    """
    if sizes.clip:
        rows, columns = token_grid(image_size, stride_size)
        return ClipVisionTransformer(
            h_resolution=rows,
            w_resolution=columns,
            patch_size=sizes.patch_size,
            stride_size=stride_size,
            width=sizes.width,
            layers=sizes.depth,
            heads=sizes.num_heads,
            output_dim=sizes.feat_dim,
            activation=sizes.activation,
            dtype=dtype,
            remat=remat,
            reduction=reduction,
            **flax,
        )
    vit: type[CameraViT] = CameraViT
    more: dict[str, Any] = {"norm_eps": 1e-6}
    if sizes.tokens_type:
        vit, more = T2TViT, {"tokens_type": sizes.tokens_type}
    return vit(
        img_size=image_size,
        patch_size=sizes.patch_size,
        stride_size=stride_size,
        embed_dim=sizes.width,
        depth=sizes.depth,
        num_heads=sizes.num_heads,
        mlp_ratio=sizes.mlp_ratio,
        qkv_bias=sizes.qkv_bias,
        qk_scale=sizes.qk_scale,
        activation=sizes.activation,
        camera=cameras,
        drop_path_rate=drop_path,
        sie_xishu=sie_coe,
        dtype=dtype,
        remat=remat,
        reduction=reduction,
        **more,
        **flax,
    )


def token_grid(
    image_size: tuple[int, int], stride_size: tuple[int, int]
) -> tuple[int, int]:
    """Return rows and columns of patches, as the original counts: size // stride."""
    return image_size[0] // stride_size[0], image_size[1] // stride_size[1]


def side_by_side(images: Mapping[str, jax.Array], names: tuple[str, ...]) -> jax.Array:
    """Join images (b, h, w, c) of m modalities to (b * m, h, w, c)."""
    stacked = jnp.stack([images[name] for name in names], axis=1)  # (b, m, h, w, c)
    return stacked.reshape(-1, *stacked.shape[2:])


def apart(tokens: Tree, names: tuple[str, ...]) -> dict[str, Tree]:
    """Split (b * m, n, c), or a tree of such arrays, back to (b, n, c) by modality."""

    def part(array: jax.Array, index: int) -> jax.Array:
        return array.reshape(-1, len(names), *array.shape[1:])[:, index]

    return {
        name: jax.tree.map(functools.partial(part, index=index), tokens)
        for index, name in enumerate(names)
    }
