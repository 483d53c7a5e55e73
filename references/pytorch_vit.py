"""CIFAR-ViT's transformers in plain PyTorch, written from their specification alone.

Images are (b, channels, h, w). Attention is three products and a softmax, as recorded:
its weights are of interest. DynamicViT gathers the tokens that it keeps. Its learned
predictors and their training are those of Rao et al. 2021 (arXiv 2106.02034). Names of
the modules are those of the published state_dicts.

Axes: batch b, heads h, tokens n (class token first), patches m, head_dim d, dim c.
"""

import torch
from torch import nn
from torch.nn import functional as F


class PatchEmbedding(nn.Module):
    def __init__(self, channels: int, dim: int, side: int):
        super().__init__()
        self.projection = nn.Conv2d(channels, dim, side, stride=side)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.projection(images).flatten(2).transpose(1, 2)


def masked_softmax(
    logits: torch.Tensor, keep: torch.Tensor, epsilon: float = 1e-6
) -> torch.Tensor:
    """Take softmax over kept tokens and oneself; logits (b, h, n, n), keep (b, n)."""
    count = logits.shape[-1]
    same = torch.eye(count, dtype=logits.dtype, device=logits.device)
    visible = keep[:, None, None, :]
    visible = visible + (1 - visible) * same  # (b, 1, n, n)
    weights = (logits - logits.amax(dim=-1, keepdim=True)).exp() * visible
    return (weights + epsilon / count) / (weights.sum(dim=-1, keepdim=True) + epsilon)


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int, attn_dropout: float, dropout: float):
        super().__init__()
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.attn_dropout = nn.Dropout(attn_dropout)
        self.proj = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, tokens: torch.Tensor, keep: torch.Tensor | None = None
    ) -> torch.Tensor:
        batch, count, dim = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, count, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # (b, h, n, d) each
        logits = query @ key.transpose(-2, -1) * self.scale  # (b, h, n, n)
        if keep is None:
            weights = torch.softmax(logits, dim=-1)
        else:
            weights = masked_softmax(logits, keep)
        mixed = self.attn_dropout(weights) @ value
        merged = mixed.transpose(1, 2).reshape(batch, count, dim)
        return self.dropout(self.proj(merged))


class MLP(nn.Module):
    def __init__(self, dim: int, hidden: int, dropout: float):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.dropout(F.gelu(self.fc1(tokens)))
        return self.dropout(self.fc2(hidden))


class Block(nn.Module):
    def __init__(self, model, attn_dropout: float):
        super().__init__()
        dim, dropout = model.embed_dim, model.dropout
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = Attention(dim, model.num_heads, attn_dropout, dropout)
        self.mlp = MLP(dim, int(dim * model.mlp_ratio), dropout)

    def forward(
        self, tokens: torch.Tensor, keep: torch.Tensor | None = None
    ) -> torch.Tensor:
        tokens = tokens + self.attn(self.norm1(tokens), keep)
        return tokens + self.mlp(self.norm2(tokens))


class VisionTransformer(nn.Module):
    """Arguments as those of `tokenjax.models.vit.VisionTransformer`."""

    def __init__(self, model):
        super().__init__()
        if model.patch_dropout:
            raise ValueError("the original leaves out no patches at random")
        dim = model.embed_dim
        self.num_patches = (model.img_size // model.patch_size) ** 2
        self.patch_embed = PatchEmbedding(model.in_channels, dim, model.patch_size)
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, self.num_patches + 1, dim))
        self.dropout = nn.Dropout(model.dropout)
        # DynamicViT has one rate for all.
        attn_dropout = getattr(model, "attn_dropout", model.dropout)
        self.blocks = nn.ModuleList(
            Block(model, attn_dropout) for _ in range(model.depth)
        )
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, model.num_classes)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.apply(initialize)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Tokens (b, n, c) with their positions."""
        class_token = self.cls_token.expand(len(images), -1, -1)
        tokens = torch.cat([class_token, self.patch_embed(images)], dim=1)
        return self.dropout(tokens + self.pos_embed)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (b, classes)."""
        tokens = self.embed(images)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens)[:, 0])


def initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


class LocalGlobalPredictor(nn.Module):
    """Patches (b, m, c), which are left (b, m) or None -> keep, drop (b, m, 2)."""

    def __init__(self, dim: int):
        super().__init__()
        self.in_conv = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU())
        self.out_conv = nn.Sequential(
            nn.Linear(dim, dim // 2),
            nn.GELU(),
            nn.Linear(dim // 2, dim // 4),
            nn.GELU(),
            nn.Linear(dim // 4, 2),
            nn.LogSoftmax(dim=-1),
        )

    def forward(self, patches: torch.Tensor, keep: torch.Tensor | None) -> torch.Tensor:
        local, pooled = self.in_conv(patches).tensor_split([patches.shape[-1] // 2], -1)
        if keep is None:
            everywhere = pooled.mean(dim=1, keepdim=True)
        else:
            left = keep.unsqueeze(-1)
            everywhere = (pooled * left).sum(1, keepdim=True)
            everywhere = everywhere / left.sum(1, keepdim=True).clamp(min=1e-6)
        return self.out_conv(torch.cat([local, everywhere.expand_as(pooled)], dim=-1))


class DynamicViT(VisionTransformer):
    """Arguments as those of `tokenjax.models.dynamic_vit.DynamicViT`.

    The `linear` predictors are CIFAR-ViT's and sit after every block; the
    `local_global` ones, `score_predictor`, before their stages.
    """

    def __init__(self, model):
        super().__init__(model)
        self.linear = model.predictor == "linear"
        self.pruning = model.pruning
        dim, depth = model.embed_dim, model.depth
        if self.linear:
            rates = model.keep_rate or [max(0.5, 1 - 0.1 * i) for i in range(depth)]
            self.keep_rate = dict(enumerate(rates[: depth - 1]))
            self.predictors = nn.ModuleList(nn.Linear(dim, 1) for _ in range(depth))
            self.order = {block: block for block in self.keep_rate}
        else:
            quarters = [depth * i // 4 for i in (1, 2, 3)]
            stages = model.stages or sorted({stage for stage in quarters if stage})
            after = [stage - 1 for stage in stages]
            self.keep_rate = {
                b: model.keep_ratio ** (i + 1) for i, b in enumerate(after)
            }
            self.score_predictor = nn.ModuleList(
                LocalGlobalPredictor(dim) for _ in stages
            )
            self.order = {block: number for number, block in enumerate(after)}
        self.apply(initialize)

    def predict(
        self, block: int, patches: torch.Tensor, keep: torch.Tensor | None
    ) -> torch.Tensor:
        """Logits (b, m, 2) of keeping and of dropping, or (b, m, 1) of keeping."""
        if self.linear:
            return self.predictors[self.order[block]](patches)
        return self.score_predictor[self.order[block]](patches, keep)

    def gather(self, block: int, tokens: torch.Tensor) -> torch.Tensor:
        """The class token and the best patches, in their order."""
        patches = tokens[:, 1:]
        scores = self.predict(block, patches, None)[..., 0]  # (b, m)
        # Rates compound: CIFAR-ViT's are of what is there, Rao's of the whole image.
        count = patches.shape[1] if self.linear else self.num_patches
        count = max(1, int(count * self.keep_rate[block]))
        indices = scores.topk(count, dim=1).indices.sort(dim=1).values  # (b, count)
        indices = indices.unsqueeze(-1).expand(-1, -1, patches.shape[-1])
        return torch.cat([tokens[:, :1], patches.gather(1, indices)], dim=1)

    def draw(
        self, block: int, tokens: torch.Tensor, keep: torch.Tensor | None
    ) -> torch.Tensor:
        """Which patches are left (b, m), drawn; its gradient is straight-through."""
        logits = self.predict(block, tokens[:, 1:], keep)
        if self.linear:
            logits = torch.cat([logits, torch.zeros_like(logits)], dim=-1)
        drawn = F.gumbel_softmax(logits, hard=True, dim=-1)[..., 0]
        return drawn if keep is None else drawn * keep

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (b, classes)."""
        tokens, keep, visible = self.embed(images), None, None
        for index, block in enumerate(self.blocks):
            tokens = block(tokens, visible)
            if self.pruning == "none" or index not in self.keep_rate:
                continue
            if self.training and self.pruning == "learned":
                keep = self.draw(index, tokens, keep)
                visible = F.pad(keep, (1, 0), value=1.0)  # the class token stays
            else:
                tokens = self.gather(index, tokens)
        return self.head(self.norm(tokens)[:, 0])
