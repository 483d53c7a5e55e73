"""DeMo with CLIP's encoder in plain PyTorch, written from its specification alone.

Images are (b, channels, h, w) by modality, cameras (b,). The backbone runs on one
modality after the other, as recorded. Attention is torch.nn.MultiheadAttention.
Names of the modules are those of the published state_dict.

Axes: batch b, tokens n, dim c, modalities m, HDM's parts j.
"""

import torch
from torch import nn
from torch.nn import functional as F

from .pytorch_modality_fusion import GeneralFusion, QuickGELU, parts_of
from .pytorch_sdtps import Modalities, MultiModalSDTPS


class Float32LayerNorm(nn.LayerNorm):
    """In float32 whatever the precision of the rest."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        weight, bias = self.weight.float(), self.bias.float()
        shape, eps = self.normalized_shape, self.eps
        return F.layer_norm(features.float(), shape, weight, bias, eps).type_as(
            features
        )


class ResidualAttentionBlock(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.ln_1, self.ln_2 = Float32LayerNorm(width), Float32LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", QuickGELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        normed = self.ln_1(tokens)  # (n, b, c)
        tokens = tokens + self.attn(normed, normed, normed, need_weights=False)[0]
        return tokens + self.mlp(self.ln_2(tokens))


class ClipVisionTransformer(nn.Module):
    """Arguments as those of `tokenjax.models.demo.clip_vit.ClipVisionTransformer`."""

    def __init__(
        self,
        h_resolution: int,
        w_resolution: int,
        patch_size: int,
        stride_size: int | tuple[int, int],
        width: int,
        layers: int,
        heads: int,
        output_dim: int,
    ):
        super().__init__()
        count, spread = 1 + h_resolution * w_resolution, width**-0.5
        self.conv1 = nn.Conv2d(3, width, patch_size, stride=stride_size, bias=False)
        self.class_embedding = nn.Parameter(spread * torch.randn(width))
        self.positional_embedding = nn.Parameter(spread * torch.randn(count, width))
        self.ln_pre, self.ln_post = Float32LayerNorm(width), Float32LayerNorm(width)
        blocks = (ResidualAttentionBlock(width, heads) for _ in range(layers))
        self.transformer = nn.ModuleDict({"resblocks": nn.Sequential(*blocks)})
        self.proj = nn.Parameter(spread * torch.randn(width, output_dim))

    def forward(
        self, images: torch.Tensor, cv_embed: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Tokens (b, 1 + n, output_dim), the class token first."""
        patches = self.conv1(images).flatten(2).transpose(1, 2)
        class_token = self.class_embedding.expand(len(images), 1, -1)
        if cv_embed is not None:
            class_token = class_token + cv_embed  # (b, 1, c)
        tokens = torch.cat([class_token, patches], dim=1) + self.positional_embedding
        tokens = self.ln_pre(tokens).transpose(0, 1)  # (n, b, c)
        tokens = self.transformer["resblocks"](tokens).transpose(0, 1)
        return self.ln_post(tokens) @ self.proj


class Backbone(nn.Module):
    """(patches (b, n, c), global (b, c)) of images of one modality."""

    def __init__(self, model):
        super().__init__()
        sizes, (rows, columns) = model.sizes(), model.grid
        if not sizes.clip:
            raise ValueError("this program has CLIP's backbone alone")
        self.base = ClipVisionTransformer(
            h_resolution=rows,
            w_resolution=columns,
            patch_size=sizes.patch_size,
            stride_size=model.stride_size,
            width=sizes.width,
            layers=sizes.depth,
            heads=sizes.num_heads,
            output_dim=sizes.feat_dim,
        )
        self.sie_coe, self.sie_camera = model.sie_coe, model.sie_camera
        if model.sie_camera:
            self.cv_embed = nn.Parameter(torch.empty(model.camera_num, 1, sizes.width))
            nn.init.trunc_normal_(self.cv_embed, std=0.02)

    def forward(
        self, images: torch.Tensor, cameras: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        embedding = self.sie_coe * self.cv_embed[cameras] if self.sie_camera else None
        tokens = self.base(images, embedding)
        return tokens[:, 1:], tokens[:, 0]


class DeMo(nn.Module):
    """Arguments as those of `tokenjax.models.demo.DeMo`, with CLIP's backbone."""

    def __init__(self, model):
        super().__init__()
        self.names, self.direct = model.modalities, model.direct
        self.fusion, self.global_local = model.fusion, model.global_local
        self.join = model.sdtps_join
        dim = model.sizes().feat_dim
        heads = {"direct": ""} if model.direct else {n: f"_{n[0]}" for n in self.names}
        self.BACKBONE = Backbone(model)
        if model.global_local:
            self.add_layers("reduce", 2 * dim, dim)
        sizes = dict.fromkeys(self.names, dim) | {"direct": dim * len(self.names)}
        if model.fusion == "sdtps":
            self.sdtps = MultiModalSDTPS(model.make_sdtps())
            if self.join == "reduced_mean":
                self.add_layers("join", dim, dim)
            elif self.join == "reduced_tokens":
                self.add_layers("join", model.make_sdtps().made * dim, dim)
            heads, sizes["fused"] = {"fused": "_sdtps"} | heads, sizes["direct"]
        elif model.fusion != "none":
            self.generalFusion = GeneralFusion(model.make_fusion())
            heads = {"fused": "_moe"} | heads
            sizes["fused"] = dim * len(parts_of(self.names))
        self.heads = heads
        for name, suffix in heads.items():
            size = sizes[name]
            neck = nn.BatchNorm1d(size)
            neck.bias.requires_grad_(False)
            classifier = nn.Linear(size, model.num_classes, bias=False)
            nn.init.normal_(classifier.weight, std=0.001)
            self.add_module(f"bottleneck{suffix}", neck)
            self.add_module(f"classifier{suffix}", classifier)

    def add_layers(self, suffix: str, inputs: int, dim: int) -> None:
        """One of each modality, as PIFE's."""
        for name in self.names:
            layers = nn.LayerNorm(inputs), nn.Linear(inputs, dim), QuickGELU()
            self.add_module(f"{name}_{suffix}", nn.Sequential(*layers))

    def forward(
        self,
        images: Modalities,
        cameras: torch.Tensor,
        uniforms: Modalities | None = None,
    ) -> Modalities | dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """In training (score, feature) of every head, else the features' pattern 3.

        By our names: "direct", "fused" and "concat" of inference; the modalities' own
        with `direct` off.
        """
        patches, globals_ = {}, {}
        for name in self.names:
            patches[name], globals_[name] = self.BACKBONE(images[name], cameras)
        if self.global_local:  # PIFE
            for name in self.names:
                both = torch.cat([globals_[name], patches[name].mean(dim=1)], dim=-1)
                globals_[name] = getattr(self, f"{name}_reduce")(both)
        direct = torch.cat([globals_[name] for name in self.names], dim=-1)
        features = {"direct": direct, "concat": direct}
        if self.fusion != "none":
            features["fused"] = self.fuse(patches, globals_, uniforms)
            features["concat"] = torch.cat([direct, features["fused"]], dim=-1)
        if not self.training:
            return features
        features |= globals_
        return {
            name: (self.score(suffix, features[name]), features[name])
            for name, suffix in self.heads.items()
        }

    def fuse(
        self, patches: Modalities, globals_: Modalities, uniforms: Modalities | None
    ) -> torch.Tensor:
        """(b, m c) of SDTPS for m modalities, or HDM's and ATMoE's (b, j c)."""
        if self.fusion == "sdtps":
            enhanced, _ = self.sdtps(patches, globals_, uniforms)
            joined = [
                enhanced[name].flatten(1)
                if self.join == "reduced_tokens"
                else enhanced[name].mean(dim=1)
                for name in self.names
            ]
            if self.join != "mean":
                joined = [
                    getattr(self, f"{name}_join")(vector)
                    for name, vector in zip(self.names, joined, strict=True)
                ]
            return torch.cat(joined, dim=-1)
        sequences = {
            name: torch.cat([globals_[name].unsqueeze(1), patches[name]], dim=1)
            for name in self.names
        }
        return self.generalFusion(sequences)

    def score(self, suffix: str, feature: torch.Tensor) -> torch.Tensor:
        """(b, classes)."""
        normed = getattr(self, f"bottleneck{suffix}")(feature)
        return getattr(self, f"classifier{suffix}")(normed)
