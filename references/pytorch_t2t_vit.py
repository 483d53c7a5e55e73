"""T2T-ViT in plain PyTorch, written from its description alone.

Images are (b, channels, h, w), cameras (b,). Nothing here is fast. Names of the modules
are those of the published state_dict. Dropout is left out, but for the performer's.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F


def mlp(dim: int, hidden: int) -> nn.ModuleDict:
    return nn.ModuleDict({"fc1": nn.Linear(dim, hidden), "fc2": nn.Linear(hidden, dim)})


def apply_mlp(layers: nn.ModuleDict, tokens: torch.Tensor) -> torch.Tensor:
    return layers["fc2"](F.gelu(layers["fc1"](tokens)))


class Attention(nn.Module):
    """Tokens (b, n, dim) -> values and mixed values, both (b, n, out_dim)."""

    def __init__(self, dim: int, out_dim: int, heads: int, scale: float):
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * out_dim, bias=False)
        self.proj = nn.Linear(out_dim, out_dim)
        self.heads, self.scale = heads, scale

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        query, key, value = self.qkv(tokens).chunk(3, dim=-1)
        mixed = []
        for q, k, v in zip(
            *(part.chunk(self.heads, -1) for part in (query, key, value)), strict=True
        ):
            weights = torch.softmax(self.scale * q @ k.transpose(1, 2), dim=-1)
            mixed.append(weights @ v)
        return value, self.proj(torch.cat(mixed, dim=-1))


class TokenTransformer(nn.Module):
    """The skip is over the values: the tokens are of another size."""

    def __init__(self, dim: int, token_dim: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(token_dim)
        self.attn = Attention(dim, token_dim, 1, dim**-0.5)
        self.mlp = mlp(token_dim, token_dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        value, mixed = self.attn(self.norm1(tokens))
        tokens = value + mixed
        return tokens + apply_mlp(self.mlp, self.norm2(tokens))


class TokenPerformer(nn.Module):
    """Softmax attention's kernel by random features w."""

    def __init__(self, dim: int, token_dim: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(token_dim)
        self.kqv = nn.Linear(dim, 3 * token_dim)
        self.proj = nn.Linear(token_dim, token_dim)
        self.mlp = nn.Sequential(
            nn.Linear(token_dim, token_dim),
            nn.GELU(),
            nn.Linear(token_dim, token_dim),
            nn.Dropout(0.1),
        )
        self.drop = nn.Dropout(0.1)
        features = torch.randn(token_dim // 2, token_dim)
        self.w = nn.Parameter(features, requires_grad=False)

    def features(self, vectors: torch.Tensor) -> torch.Tensor:
        exponent = vectors @ self.w.T - vectors.pow(2).sum(-1, keepdim=True) / 2
        return exponent.exp() / math.sqrt(len(self.w))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        key, query, value = self.kqv(self.norm1(tokens)).chunk(3, dim=-1)
        weights = self.features(query) @ self.features(key).transpose(1, 2)  # (b, n, n)
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-8)
        tokens = value + self.drop(self.proj(weights @ value))
        return tokens + self.mlp(self.norm2(tokens))


class Block(nn.Module):
    def __init__(self, dim: int, heads: int, hidden: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = Attention(dim, dim, heads, (dim // heads) ** -0.5)
        self.mlp = mlp(dim, hidden)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))[1]
        return tokens + apply_mlp(self.mlp, self.norm2(tokens))


class TokensToToken(nn.Module):
    def __init__(self, kind: str, channels: int, token_dim: int, dim: int):
        super().__init__()
        attend = TokenPerformer if kind == "performer" else TokenTransformer
        self.attention1 = attend(49 * channels, token_dim)
        self.attention2 = attend(9 * token_dim, token_dim)
        self.project = nn.Linear(9 * token_dim, dim)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[2:]
        tokens = F.unfold(images, 7, stride=4, padding=2).transpose(1, 2)
        tokens = self.attention1(tokens)
        shape = (len(images), -1, height // 4, width // 4)
        maps = tokens.transpose(1, 2).reshape(shape)
        tokens = F.unfold(maps, 3, stride=2, padding=1).transpose(1, 2)
        tokens = self.attention2(tokens)
        shape = (len(images), -1, height // 8, width // 8)
        maps = tokens.transpose(1, 2).reshape(shape)
        tokens = F.unfold(maps, 3, stride=2, padding=1).transpose(1, 2)
        return self.project(tokens)


class T2TViT(nn.Module):
    """Arguments as those of `tokenjax.models.demo.T2TViT`; all tokens, no head."""

    def __init__(self, model):
        super().__init__()
        dim, (rows, columns) = model.embed_dim, model.grid
        self.tokens_to_token = TokensToToken(
            model.tokens_type, model.in_chans, model.token_dim, dim
        )
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        positions = [
            [
                (math.cos if j % 2 else math.sin)(p / 10000 ** (2 * (j // 2) / dim))
                for j in range(dim)
            ]
            for p in range(1 + rows * columns)
        ]
        self.pos_embed = nn.Parameter(torch.tensor([positions]), requires_grad=False)
        self.sie_xishu = model.sie_xishu
        self.sie_embed = nn.Parameter(torch.zeros(model.camera, 1, dim))
        hidden = int(dim * model.mlp_ratio)
        self.blocks = nn.ModuleList(
            Block(dim, model.num_heads, hidden) for _ in range(model.depth)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, images: torch.Tensor, cameras: torch.Tensor) -> torch.Tensor:
        patches = self.tokens_to_token(images)
        class_token = self.cls_token.expand(len(images), -1, -1)
        tokens = torch.cat([class_token, patches], dim=1) + self.pos_embed
        tokens = tokens + self.sie_xishu * self.sie_embed[cameras]
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)
