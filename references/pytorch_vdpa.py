"""VDPA in plain PyTorch, written from its specification alone.

Images are (b, channels, h, w). Every product of the original is here, in its layout:
those that cannot matter (the global path's key) and the gather of all neighbours too.
Names of the modules are those of the published state_dict.

Axes: batch b, heads h, tokens n, head_dim d, neighbours k, dim c.
"""

import torch
from torch import nn
from torch.nn import functional as F

LOWEST_ALPHA, HIGHEST_ALPHA = 0.31, 0.89
RECORDED = {"stk": "recorded", "global_tokens": 1, "alp_border": "center"}


def grid_neighbors(grid: int, count: int) -> torch.Tensor:
    """Return each cell's 3x3 window, padded with the cell: (n, count) int64."""
    table = []
    for row in range(grid):
        for column in range(grid):
            inside = [
                r * grid + c
                for r in range(max(row - 1, 0), min(row + 2, grid))
                for c in range(max(column - 1, 0), min(column + 2, grid))
            ]
            padding = [row * grid + column] * (count - len(inside))
            table.append((inside + padding)[:count])
    return torch.tensor(table)


def adaptive_local_pooling(
    tokens: torch.Tensor, neighbor_idx: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Pool tokens (b, n, c) to a class token (b, 1, c)."""
    neighbors = tokens[:, neighbor_idx]  # (b, n, k, c)
    similarity = F.cosine_similarity(tokens.unsqueeze(2), neighbors, dim=-1)
    weights = torch.softmax(similarity / temperature, dim=-1)  # (b, n, k)
    pooled = (weights.unsqueeze(-1) * neighbors).sum(dim=2)  # (b, n, c)
    return pooled.mean(dim=1, keepdim=True)


class PatchEmbedding(nn.Module):
    def __init__(self, channels: int, dim: int, side: int):
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, side, stride=side)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)


class LocalAttention(nn.Module):
    """STK: softmax(L * softmax(L / T)) v, L the scaled logits."""

    def __init__(self, temperature: float, dropout: float):
        super().__init__()
        self.temperature = temperature
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        logits = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5  # (b, h, n, n)
        mask = torch.softmax(logits / self.temperature, dim=-1)
        attention = torch.softmax(logits * mask, dim=-1)
        return self.dropout(attention) @ value


class GlobalAttention(nn.Module):
    """LGA: attention to one weighted mean of all tokens; its softmax has one entry."""

    def __init__(self, tokens: int, heads: int, dropout: float):
        super().__init__()
        self.pos_weight = nn.Parameter(torch.empty(1, heads, tokens + 1, 1))
        nn.init.trunc_normal_(self.pos_weight, std=0.02)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        weights = torch.softmax(self.pos_weight[:, :, : query.shape[2]], dim=2)
        global_key = (weights * key).sum(dim=2, keepdim=True)  # (b, h, 1, d)
        global_value = (weights * value).sum(dim=2, keepdim=True)
        logits = query @ global_key.transpose(-2, -1) * query.shape[-1] ** -0.5
        attention = torch.softmax(logits, dim=-1)  # (b, h, n, 1)
        return self.dropout(attention) @ global_value


class VarianceGate(nn.Module):
    """VDFC: queries (b, h, n, d) -> the local path's share (b, 1, 1, 1)."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(5.0))
        self.b = nn.Parameter(torch.tensor(-2.5))

    def forward(self, query: torch.Tensor) -> torch.Tensor:
        spread = query.var(dim=2, unbiased=False).mean(dim=(1, 2))  # (b,)
        gate = torch.sigmoid(self.w * spread + self.b)
        alpha = LOWEST_ALPHA + (HIGHEST_ALPHA - LOWEST_ALPHA) * gate
        return alpha.view(-1, 1, 1, 1)


class MLP(nn.Module):
    def __init__(self, dim: int, hidden: int, dropout: float):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.dropout(F.gelu(self.fc1(tokens)))
        return self.dropout(self.fc2(hidden))


class Block(nn.Module):
    def __init__(self, model, tokens: int):
        super().__init__()
        dim, self.heads = model.embed_dim, model.num_heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.stk = LocalAttention(model.stk_temperature, model.attn_drop)
        self.lga = GlobalAttention(tokens, self.heads, model.attn_drop)
        self.vdfc = VarianceGate()
        self.proj = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(model.drop)
        self.mlp = MLP(dim, int(dim * model.mlp_ratio), model.drop)

    def attend(self, tokens: torch.Tensor) -> torch.Tensor:
        batch, count, dim = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, count, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # (b, h, n, d) each
        local = self.stk(query, key, value)
        everywhere = self.lga(query, key, value)
        alpha = self.vdfc(query)
        mixed = alpha * local + (1 - alpha) * everywhere
        merged = mixed.transpose(1, 2).reshape(batch, count, dim)
        return self.dropout(self.proj(merged))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self.attend(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class VDPA(nn.Module):
    """Arguments as those of `tokenjax.models.vdpa.VDPA`, the recorded behaviour."""

    def __init__(self, model):
        super().__init__()
        for name, value in RECORDED.items():
            if getattr(model, name) != value:
                raise ValueError(f"the original VDPA has {name}={value!r} alone")
        dim, grid = model.embed_dim, model.img_size // model.patch_size
        self.patch_embed = PatchEmbedding(model.in_chans, dim, model.patch_size)
        self.pos_embed = nn.Parameter(torch.empty(1, grid**2, dim))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.dropout = nn.Dropout(model.drop)
        self.blocks = nn.ModuleList(Block(model, grid**2) for _ in range(model.depth))
        self.norm = nn.LayerNorm(dim)
        self.register_buffer("neighbor_idx", grid_neighbors(grid, model.k_neighbors))
        self.alp_temperature = model.alp_temperature
        self.head = nn.Linear(dim, model.num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (b, classes)."""
        tokens = self.dropout(self.patch_embed(images) + self.pos_embed)
        for block in self.blocks:
            tokens = block(tokens)
        class_token = adaptive_local_pooling(
            self.norm(tokens), self.neighbor_idx, self.alp_temperature
        )  # (b, 1, c)
        return self.head(class_token.squeeze(1))
