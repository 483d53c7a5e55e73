"""Attention-guided routing in plain PyTorch, written from its specification alone.

Images are (b, channels, h, w). In training both networks see every patch, as a gradient
to the mask needs; in inference each sees its own. Dropout is left out. Names of the
modules follow ours, so that a test can copy weights.
"""

import math
import re

import jax
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Encoder(nn.Module):
    """[convolution -> BatchNorm -> ReLU -> 2x2 max pool] x layers."""

    def __init__(self, in_channels: int, channels: int, layers: int):
        super().__init__()
        widths = [in_channels] + [channels] * layers
        self.convolutions = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], 3, padding=1) for i in range(layers)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(layers))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            features = F.max_pool2d(F.relu(norm(convolution(features))), 2)
        return features


class LinearStack(nn.Module):
    """linear -> ReLU -> ... -> linear."""

    def __init__(self, *widths: int):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Linear(widths[i], widths[i + 1]) for i in range(len(widths) - 1)
        )

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        for linear in self.layers[:-1]:
            rows = F.relu(linear(rows))
        return self.layers[-1](rows)


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

    def __init__(self, kind: str, num_patches: int, dim: int, features: int):
        super().__init__()
        self.kind = kind
        self.linear = nn.Linear(
            num_patches * dim if kind == "concat" else dim, features
        )

    def forward(self, embeddings: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self.kind == "concat":
            return self.linear(embeddings.flatten(1))
        if self.kind == "mean":
            return self.linear(embeddings.mean(1))
        weights = torch.softmax(scores, dim=1)
        return self.linear((weights[..., None] * embeddings).sum(1))


class AttentionRouting(nn.Module):
    """Arguments as those of `tokenjax.models.routing.AttentionRouting`."""

    def __init__(self, model):
        super().__init__()
        self.grid, self.attention = model.patch_grid, model.attention
        self.embed_dim = model.embed_dim
        cells, side = self.grid**2, model.img_size // self.grid
        self.encoder = Encoder(
            model.in_channels, model.encoder_channels, model.encoder_layers
        )
        hidden = [model.attention_hidden_dim] * (model.attention_layers - 1)
        outputs = 1 if self.attention == "spatial" else cells
        self.attention_head = LinearStack(model.encoder_channels, *hidden, outputs)
        self.router = Router(
            model.router, model.threshold, model.temperature, model.budget
        )
        pixels = model.in_channels * side * side
        big = [model.big_hidden_dim] * model.big_layers
        small = [model.small_hidden_dim] * model.small_layers
        self.big = LinearStack(pixels, *big, model.embed_dim)
        self.small = LinearStack(pixels, *small, model.embed_dim)
        self.aggregator = Aggregator(
            model.aggregator, cells, model.embed_dim, model.aggregator_dim
        )
        self.task_head = nn.ModuleDict(
            {
                "hidden": nn.Linear(model.aggregator_dim, model.head_hidden_dim),
                "classifier": nn.Linear(model.head_hidden_dim, model.num_classes),
            }
        )

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        features = self.encoder(images)  # (b, channels, h, w)
        if self.attention == "global":
            return torch.sigmoid(self.attention_head(features.mean((2, 3))))
        pooled = F.adaptive_avg_pool2d(features, self.grid)  # (b, channels, g, g)
        logits = self.attention_head(pooled.permute(0, 2, 3, 1))  # (b, g, g, 1)
        return torch.sigmoid(logits.flatten(1))

    def patches(self, images: torch.Tensor) -> torch.Tensor:
        """(b, n, channels * height * width), channels first."""
        side = images.shape[-1] // self.grid
        found = [
            images[:, :, r * side : (r + 1) * side, c * side : (c + 1) * side]
            for r in range(self.grid)
            for c in range(self.grid)
        ]
        return torch.stack([patch.flatten(1) for patch in found], dim=1)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Returns: logits (b, classes), mask and scores (b, n)."""
        scores = self.scores(images)
        mask = self.router(scores)
        patches = self.patches(images)
        if self.training:
            share = mask[..., None]
            embeddings = share * self.big(patches) + (1 - share) * self.small(patches)
        else:
            chosen = mask > 0.5
            embeddings = patches.new_empty(*mask.shape, self.embed_dim)
            embeddings[chosen] = self.big(patches[chosen]).to(embeddings.dtype)
            embeddings[~chosen] = self.small(patches[~chosen]).to(embeddings.dtype)
        pooled = self.aggregator(embeddings, scores)
        hidden = F.relu(self.task_head["hidden"](pooled))
        return self.task_head["classifier"](hidden), mask, scores


def torch_layout(model, variables):
    """Return our variables, or gradients, by PyTorch's names and in its layouts."""
    side, channels = model.img_size // model.patch_grid, model.in_channels
    names = {"kernel": "weight", "scale": "weight"}
    names |= {"mean": "running_mean", "var": "running_var"}
    found = {}
    for collection in variables.values():
        for path, leaf in jax.tree.leaves_with_path(collection):
            *modules, last = (key.key for key in path)
            leaf = np.asarray(leaf)
            if leaf.ndim == 4:  # (height, width, in, out)
                leaf = leaf.transpose(3, 2, 0, 1)
            elif leaf.ndim == 2:
                if modules in (["big", "layers_0"], ["small", "layers_0"]):
                    # rows of a kernel are (row, column, channel), there channel first
                    leaf = leaf.reshape(side, side, channels, -1).transpose(2, 0, 1, 3)
                leaf = leaf.reshape(-1, leaf.shape[-1]).T
            key = re.sub(r"_(\d+)\.", r".\1.", ".".join([*modules, ""]))
            found[key + names.get(last, last)] = leaf
    return found


def state_from_flax(model, variables):
    """Return a state_dict for `AttentionRouting(model)` from our variables."""
    state = torch_layout(model, variables)
    copied = {key: torch.from_numpy(leaf.copy()) for key, leaf in state.items()}
    norms = [key for key in copied if key.endswith(".running_mean")]
    counters = [key.replace("running_mean", "num_batches_tracked") for key in norms]
    return copied | {key: torch.tensor(0) for key in counters}
