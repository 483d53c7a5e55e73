"""SDTPS in plain PyTorch, written from its specification alone.

Tokens (b, n, c) and global vectors (b, c) are dicts by modality. Names of the modules
are those of the published state_dict.

Axes: batch b, tokens n, kept k, aggregated a, dim c.
"""

import itertools
import math

import torch
from torch import nn
from torch.nn import functional as F

Modalities = dict[str, torch.Tensor]
SMALLEST = 1e-9  # keeps the Gumbel noise finite


def min_max(scores: torch.Tensor) -> torch.Tensor:
    lowest = scores.min(dim=1, keepdim=True).values
    highest = scores.max(dim=1, keepdim=True).values
    return (scores - lowest) / (highest - lowest + 1e-8)


class TokenSparse(nn.Module):
    """Arguments as those of `tokenjax.models.demo.sdtps.TokenSparse`."""

    def __init__(self, model):
        super().__init__()
        dim = model.embed_dim
        self.score_predictor = nn.Sequential(
            nn.Linear(dim, dim // 4), nn.GELU(), nn.Linear(dim // 4, 1), nn.Sigmoid()
        )
        self.sparse_ratio = model.sparse_ratio
        self.use_gumbel, self.gumbel_tau = model.use_gumbel, model.gumbel_tau

    def forward(
        self,
        tokens: torch.Tensor,
        own: torch.Tensor,
        *cross: torch.Tensor,
        beta: float = 0.25,
        uniforms: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Kept tokens (b, k, c), extra (b, 1, c), mask (b, n), mask (b, k), indices."""
        dim = tokens.shape[-1]
        predicted = self.score_predictor(tokens).squeeze(-1)  # (b, n)
        given = sum(map(min_max, cross)) + 2 * min_max(own)
        scores = (1 - 2 * beta) * predicted + beta * given

        count = max(1, math.ceil(scores.shape[1] * self.sparse_ratio))
        ordered, indices = torch.sort(scores, dim=1, descending=True)
        keep, drop = indices[:, :count], indices[:, count:]
        kept = tokens.gather(1, keep.unsqueeze(-1).expand(-1, -1, dim))
        dropped = tokens.gather(1, drop.unsqueeze(-1).expand(-1, -1, dim))
        weights = torch.softmax(ordered[:, count:], dim=1).unsqueeze(-1)
        extra = (weights * dropped).sum(dim=1, keepdim=True)  # 0 if none is dropped

        mask = torch.zeros_like(scores).scatter(1, keep, 1.0)
        if self.training and self.use_gumbel:
            draws = torch.rand_like(scores) if uniforms is None else uniforms
            noise = -torch.log(-torch.log(draws + SMALLEST) + SMALLEST)
            soft = torch.softmax((scores + noise) / self.gumbel_tau, dim=1)
            # In this order: (mask + soft) - soft would leave rounding, times 1e10.
            mask = mask + (soft - soft.detach())
        return kept, extra, mask, mask.gather(1, keep), keep


class TokenAggregation(nn.Module):
    """Arguments as those of `tokenjax.models.demo.sdtps.TokenAggregation`."""

    def __init__(self, dim: int, keeped_patches: int, dim_ratio: float):
        super().__init__()
        hidden = int(dim * dim_ratio)
        self.weight = nn.Sequential(
            nn.LayerNorm(dim),
            nn.Linear(dim, hidden),
            nn.GELU(),
            nn.Linear(hidden, keeped_patches),
        )
        self.scale = nn.Parameter(torch.ones(1, 1, 1))

    def forward(
        self, tokens: torch.Tensor, keep_policy: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(b, k, c) -> (b, a, c); policy (b, k)."""
        logits = self.weight(tokens).transpose(1, 2) * self.scale  # (b, a, k)
        if keep_policy is not None:
            logits = logits - (1 - keep_policy.unsqueeze(1)) * 1e10
        return torch.softmax(logits, dim=2) @ tokens


class MultiModalSDTPS(nn.Module):
    """Arguments as those of `tokenjax.models.demo.sdtps.MultiModalSDTPS`."""

    def __init__(self, model):
        super().__init__()
        if model.mask_aggregation != "recorded" or model.score_gradient == "self":
            raise ValueError(
                "the original SDTPS has mask_aggregation 'recorded' and "
                "score_gradient 'all', or 'none' before that"
            )
        self.names, self.beta = model.modalities, model.beta
        self.class_token = model.class_token
        self.with_gradient = model.score_gradient == "all"
        sizes = model.embed_dim, model.aggregated, model.dim_ratio
        for name in self.names:
            self.add_module(f"{name}_sparse", TokenSparse(model))
            self.add_module(f"{name}_aggr", TokenAggregation(*sizes))

    def forward(
        self,
        tokens: Modalities,
        globals_: Modalities,
        uniforms: Modalities | None = None,
    ) -> tuple[Modalities, Modalities]:
        """Enhanced tokens (b, a + 1, c), with class_token one more, masks (b, n)."""
        rows, columns = (
            {name: self.directions(given[name]) for name in self.names}
            for given in (tokens, globals_)
        )
        similarities = {
            (name, other): (rows[name] @ columns[other].unsqueeze(-1)).squeeze(-1)
            for name, other in itertools.product(self.names, repeat=2)
        }  # (b, n) each
        enhanced, masks = {}, {}
        for name in self.names:
            order = [name, *(other for other in self.names if other != name)]
            select = getattr(self, f"{name}_sparse")
            kept, extra, masks[name], selected, _ = select(
                tokens[name],
                *(similarities[name, other] for other in order),
                beta=self.beta,
                uniforms=None if uniforms is None else uniforms[name],
            )
            aggregated = getattr(self, f"{name}_aggr")(kept, selected)
            made = [aggregated, extra]
            if self.class_token:
                made.append(globals_[name].unsqueeze(1))
            enhanced[name] = torch.cat(made, dim=1)
        return enhanced, masks

    def directions(self, vectors: torch.Tensor) -> torch.Tensor:
        """Of length 1."""
        unit = F.normalize(vectors, dim=-1)
        return unit if self.with_gradient else unit.detach()
