"""HDM and ATMoE in plain PyTorch, written from their specification alone.

Every part has a torch.nn.MultiheadAttention of one learned query, every chunk of its
feature an expert of its own. Module names are those of the published state_dict.

Axes: batch b, tokens n, dim c, parts j, gate heads h, head_dim d.
"""

import itertools

import torch
from torch import nn


class QuickGELU(nn.Module):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features * torch.sigmoid(1.702 * features)


def parts_of(names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return every combination of modalities, single ones first: {"r": ("rgb",)}."""
    sizes = range(1, len(names) + 1)
    parts = itertools.chain(*(itertools.combinations(names, size) for size in sizes))
    return {"".join(name[0] for name in part): part for part in parts}


class Gate(nn.Module):
    """Features (b, j, c) -> their weights (b, h, j, 1)."""

    def __init__(self, dim: int, parts: int, heads: int):
        super().__init__()
        self.linear_re = nn.Sequential(
            nn.Linear(parts * dim, dim), QuickGELU(), nn.BatchNorm1d(dim)
        )
        self.q_, self.k_ = (nn.Linear(dim, dim, bias=False) for _ in range(2))
        self.heads = heads

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        batch, parts, _ = features.shape
        query = self.q_(self.linear_re(features.flatten(1)))
        query = query.reshape(batch, self.heads, -1, 1)  # (b, h, d, 1)
        key = self.k_(features).reshape(batch, parts, self.heads, -1).transpose(1, 2)
        return torch.softmax(key @ query * query.shape[2] ** -0.5, dim=2)


class ExpertHead(nn.Module):
    """One gate head's experts, one a part: (b, j, d) -> (b, j, d)."""

    def __init__(self, size: int, parts: int):
        super().__init__()
        self.expertHead = nn.ModuleList()
        for _ in range(parts):
            layers = nn.Linear(size, size), QuickGELU(), nn.BatchNorm1d(size)
            self.expertHead.append(nn.ModuleDict({"mlp": nn.Sequential(*layers)}))

    def forward(self, chunks: torch.Tensor) -> torch.Tensor:
        pairs = zip(self.expertHead, chunks.unbind(1), strict=True)
        return torch.stack([expert["mlp"](chunk) for expert, chunk in pairs], dim=1)


class MixtureOfExperts(nn.Module):
    """ATMoE: features (b, j, c) -> (b, j, c), weighed."""

    def __init__(self, dim: int, parts: int, heads: int):
        super().__init__()
        self.gating_network = nn.ModuleDict({"gate": Gate(dim, parts, heads)})
        self.experts = nn.ModuleList(
            ExpertHead(dim // heads, parts) for _ in range(heads)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        gates = self.gating_network["gate"](features).unbind(1)  # (b, j, 1) each
        chunks = features.chunk(len(self.experts), dim=-1)  # (b, j, d) each
        rows = zip(self.experts, chunks, gates, strict=True)
        return torch.cat([expert(chunk) * gate for expert, chunk, gate in rows], dim=-1)


class GeneralFusion(nn.Module):
    """Arguments as those of `tokenjax.models.demo.modality_fusion.GeneralFusion`."""

    def __init__(self, model):
        super().__init__()
        dim = model.feat_dim
        self.parts = parts_of(model.modalities)
        for part in self.parts:
            token = nn.Parameter(dim**-0.5 * torch.randn(1, 1, dim))
            self.register_parameter(f"{part}_token", token)
            attention = nn.MultiheadAttention(
                dim, dim // 64, dropout=model.dropout, batch_first=True
            )
            self.add_module(part, attention)
        if model.atm:
            self.moe = MixtureOfExperts(dim, len(self.parts), model.head)
        self.atm = model.atm

    def forward(self, sequences: dict[str, torch.Tensor]) -> torch.Tensor:
        """Sequences (b, n, c) by modality -> (b, j c)."""
        features = []
        for part, members in self.parts.items():
            joined = torch.cat([sequences[name] for name in members], dim=1)
            query = getattr(self, f"{part}_token").expand(len(joined), -1, -1)
            features.append(getattr(self, part)(query, joined, joined)[0])
        fused = torch.cat(features, dim=1)  # (b, j, c)
        return (self.moe(fused) if self.atm else fused).flatten(1)
