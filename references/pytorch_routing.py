"""Attention-guided routing in plain PyTorch, written from its specification alone.

Images are (b, channels, h, w). In training both networks see every patch, as a gradient
to the mask needs; in inference each sees its own. Names of the modules, and so the keys
of a state_dict, are those of the framework's published model files; the baselines have
no scoring head, as there.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F


class Encoder(nn.Module):
    """[convolution -> BatchNorm -> ReLU -> 2x2 max pool] x layers.

    The lean one, ours, begins with 4x4 pixels taken together, and pools nowhere.
    """

    def __init__(self, in_channels: int, channels: int, layers: int, lean: bool):
        super().__init__()
        parts: list[nn.Module] = []
        for index in range(layers):
            width = channels if index else in_channels
            if lean and index == 0:
                parts.append(nn.Conv2d(width, channels, 4, stride=4))
            else:
                parts.append(nn.Conv2d(width, channels, 3, padding=1))
            parts += [nn.BatchNorm2d(channels), nn.ReLU()]
            if not lean:
                parts.append(nn.MaxPool2d(2))
        self.encoder = nn.Sequential(*parts)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.encoder(features)


class AttentionHead(nn.Module):
    """linear -> ReLU -> ... -> linear."""

    def __init__(self, *widths: int):
        super().__init__()
        parts: list[nn.Module] = []
        for index in range(len(widths) - 1):
            parts += [nn.Linear(widths[index], widths[index + 1]), nn.ReLU()]
        self.attention_net = nn.Sequential(*parts[:-1])

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.attention_net(rows)


class PatchMLP(nn.Module):
    """[linear -> ReLU -> dropout] -> ... -> linear."""

    def __init__(self, *widths: int, dropout: float):
        super().__init__()
        parts: list[nn.Module] = []
        for index in range(len(widths) - 1):
            parts += [nn.Linear(widths[index], widths[index + 1])]
            parts += [nn.ReLU(), nn.Dropout(dropout)]
        self.mlp = nn.Sequential(*parts[:-2])

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.mlp(rows)


class Router(nn.Module):
    """Scores (b, n) -> mask (b, n)."""

    def __init__(self, kind: str, threshold: float, temperature: float, budget: float):
        super().__init__()
        self.kind, self.temperature, self.budget = kind, temperature, budget
        if kind == "learnable_threshold":
            self.threshold = nn.Parameter(torch.tensor(threshold))
        elif kind == "sigmoid_gate":
            self.weight = nn.Parameter(torch.tensor(1 / temperature))
            self.bias = nn.Parameter(torch.tensor(-threshold / temperature))

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        if self.kind == "learnable_threshold":
            hard = scores >= self.threshold
            soft = torch.sigmoid((scores - self.threshold) / self.temperature)
        elif self.kind == "sigmoid_gate":
            soft = torch.sigmoid(self.weight * scores + self.bias)
            hard = soft >= 0.5
        else:
            k = math.ceil(self.budget * scores.shape[1])
            ordered, indices = scores.sort(dim=1, descending=True, stable=True)
            hard = torch.zeros_like(scores).scatter(1, indices[:, :k], 1.0)
            soft = torch.sigmoid((scores - ordered[:, k - 1 : k]) / self.temperature)
        return hard.to(soft.dtype).detach() + (soft - soft.detach())


class Aggregator(nn.Module):
    """Embeddings (b, n, d), scores (b, n) -> (b, features)."""

    def __init__(self, model, cells: int):
        super().__init__()
        self.kind, self.scale = model.aggregator, model.attention_scale
        inputs = model.embed_dim * (cells if self.kind == "concat" else 1)
        self.proj = nn.Linear(inputs, model.aggregator_dim)

    def forward(
        self, embeddings: torch.Tensor, scores: torch.Tensor | None
    ) -> torch.Tensor:
        if self.kind == "concat":
            return self.proj(embeddings.flatten(1))
        if self.kind == "mean":
            return self.proj(embeddings.mean(1))
        weights = torch.softmax(self.scale * scores, dim=1)
        return self.proj((weights[..., None] * embeddings).sum(1))


class TaskHead(nn.Module):
    """linear -> ReLU -> dropout -> linear."""

    def __init__(self, model):
        super().__init__()
        self.classifier = nn.Sequential(
            nn.Linear(model.aggregator_dim, model.head_hidden_dim),
            nn.ReLU(),
            nn.Dropout(model.dropout),
            nn.Linear(model.head_hidden_dim, model.num_classes),
        )

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        return self.classifier(pooled)


class Routing(nn.Module):
    """What all share; arguments as those of `tokenjax.models.routing`."""

    def __init__(self, model):
        super().__init__()
        self.grid, self.embed_dim = model.patch_grid, model.embed_dim
        self.backbone = Encoder(
            model.in_channels,
            model.encoder_channels,
            model.encoder_layers,
            model.encoder == "lean",
        )
        self.aggregator = Aggregator(model, self.grid**2)
        self.task_head = TaskHead(model)

    def make_mlp(self, model, hidden_dim: int, layers: int) -> PatchMLP:
        pixels = model.in_channels * (model.img_size // self.grid) ** 2
        widths = (pixels, *[hidden_dim] * layers, self.embed_dim)
        return PatchMLP(*widths, dropout=model.dropout)

    def patches(self, images: torch.Tensor) -> torch.Tensor:
        """(b, n, channels * height * width), channels first."""
        side = images.shape[-1] // self.grid
        found = [
            images[:, :, r * side : (r + 1) * side, c * side : (c + 1) * side]
            for r in range(self.grid)
            for c in range(self.grid)
        ]
        return torch.stack([patch.flatten(1) for patch in found], dim=1)


class AttentionRouting(Routing):
    """Some patches to the big network, the others to the small one."""

    def __init__(self, model):
        super().__init__(model)
        self.kind = model.attention
        hidden = [model.attention_hidden_dim] * (model.attention_layers - 1)
        outputs = 1 if self.kind == "spatial" else self.grid**2
        self.attention = AttentionHead(model.encoder_channels, *hidden, outputs)
        self.router = Router(
            model.router, model.threshold, model.temperature, model.budget
        )
        self.mlp_big = self.make_mlp(model, model.big_hidden_dim, model.big_layers)
        small = model.small_hidden_dim, model.small_layers
        self.mlp_small = self.make_mlp(model, *small)

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        features = self.backbone(images)  # (b, channels, h, w)
        if self.kind == "global":
            return torch.sigmoid(self.attention(features.mean((2, 3))))
        pooled = F.adaptive_avg_pool2d(features, self.grid)  # (b, channels, g, g)
        logits = self.attention(pooled.permute(0, 2, 3, 1))  # (b, g, g, 1)
        return torch.sigmoid(logits.flatten(1))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Returns: logits (b, classes), mask and scores (b, n)."""
        scores = self.scores(images)
        mask = self.router(scores)
        patches = self.patches(images)
        if self.training:
            share = mask[..., None]
            big, small = self.mlp_big(patches), self.mlp_small(patches)
            embeddings = share * big + (1 - share) * small
        else:
            chosen = mask > 0.5
            embeddings = patches.new_empty(*mask.shape, self.embed_dim)
            big, small = self.mlp_big(patches[chosen]), self.mlp_small(patches[~chosen])
            embeddings[chosen] = big.to(embeddings.dtype)
            embeddings[~chosen] = small.to(embeddings.dtype)
        return self.task_head(self.aggregator(embeddings, scores)), mask, scores


class NoRouting(Routing):
    """Every patch to the small network; the encoder is there and nothing reads it."""

    def __init__(self, model):
        super().__init__(model)
        self.mlp = self.make_mlp(model, model.small_hidden_dim, model.small_layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns: logits (b, classes)."""
        embeddings = self.mlp(self.patches(images))
        return self.task_head(self.aggregator(embeddings, None))


class CheapCompute(NoRouting):
    """The same, as ours is but for a scoring head that nothing reads."""


class FullCompute(NoRouting):
    """Every patch to the big network."""

    def __init__(self, model):
        super().__init__(model)
        self.mlp = self.make_mlp(model, model.big_hidden_dim, model.big_layers)
