"""Keys of the Vision Attention Routing Framework's models.

    backbone.encoder.<4 i>, <4 i + 1>    convolution and norm of layer i
    attention.attention_net.<2 j>        linear layers of the scoring head
    router.threshold | .weight, .bias    learnable_threshold | sigmoid_gate
    mlp_big.mlp.<3 j>, mlp_small.mlp.<3 j>
    aggregator.proj
    task_head.classifier.0, .3

A baseline's one network is `mlp.mlp.<3 j>`. The gaps are layers without parameters:
ReLU, pooling, dropout.

A patch is flattened there by channel, row, column, and here by row, column, channel:
the networks' first layer turns its columns. Ours alone: the lean encoder, of layers of
three (`backbone.encoder.<3 i>`), and the scoring head of full_compute, cheap_compute.

Source of the names: the framework's published model files; the router's parameters are
in none of them and are called what the specification calls them.
"""

import jax
import numpy as np

from tokenjax.convert.mapping import (
    Entry,
    Layout,
    Table,
    batch_norm,
    convolution,
    linear,
)
from tokenjax.models.routing import AttentionRouting, NoRouting

NETWORKS = {"big": "mlp_big", "small": "mlp_small"}
ALONE = "mlp"  # the one network of a baseline


def routing_table(model: AttentionRouting) -> Table:
    """Return the keys of a routing model or a baseline."""
    entries = _encoder(model)
    if not isinstance(model, NoRouting):
        for index in range(model.attention_layers):
            path = ("params", "attention_head", f"layers_{index}")
            entries += linear(f"attention.attention_net.{2 * index}", path)
    entries += _router(model)
    networks = model.networks()
    for name in networks:
        torch_name = NETWORKS[name] if len(networks) > 1 else ALONE
        layers = model.big_layers if name == "big" else model.small_layers
        entries += _network(model, f"{torch_name}.mlp", name, layers)
    entries += linear("aggregator.proj", ("params", "aggregator", "linear"))
    entries += linear("task_head.classifier.0", ("params", "task_head", "hidden"))
    entries += linear("task_head.classifier.3", ("params", "task_head", "classifier"))
    return Table(tuple(entries))


def _encoder(model: AttentionRouting) -> list[Entry]:
    lean, entries = model.encoder == "lean", []
    for index in range(model.encoder_layers):
        number = (3 if lean else 4) * index
        name = "stem" if lean and index == 0 else f"convolutions_{index}"
        path = ("params", "encoder", name)
        entries += convolution(f"backbone.encoder.{number}", path)
        norm = ("params", "encoder", f"norms_{index}")
        entries += batch_norm(f"backbone.encoder.{number + 1}", norm)
    return entries


def _router(model: AttentionRouting) -> list[Entry]:
    """Return the parameters of any router by their own names, with axes as they are."""
    if len(model.networks()) == 1:
        return []
    router = model.make_router(parent=None)
    scores = np.zeros((1, model.patch_grid**2), np.float32)
    variables = jax.eval_shape(router.init, jax.random.key(0), scores, False, 1.0)
    paths = jax.tree.leaves_with_path(variables.get("params", {}))
    names = [tuple(key.key for key in path) for path, _ in paths]
    return [Entry(".".join(("router", *n)), ("params", "router", *n)) for n in names]


def _network(
    model: AttentionRouting, torch_prefix: str, name: str, layers: int
) -> list[Entry]:
    entries = []
    for index in range(layers + 1):
        path = ("params", name, f"layers_{index}")
        weight, bias = linear(f"{torch_prefix}.{3 * index}", path)
        if index == 0:
            weight = Entry(weight.torch_key, weight.path, _patch_layout(model))
        entries += [weight, bias]
    return entries


def _patch_layout(model: AttentionRouting) -> Layout:
    """Return the turn of a layer that reads the pixels of a patch."""
    side, channels = model.img_size // model.patch_grid, model.in_channels

    def to_flax(weight: np.ndarray) -> np.ndarray:
        cells = weight.reshape(-1, channels, side, side)
        return cells.transpose(2, 3, 1, 0).reshape(-1, len(weight))

    def to_torch(kernel: np.ndarray) -> np.ndarray:
        cells = kernel.reshape(side, side, channels, -1)
        return cells.transpose(3, 2, 0, 1).reshape(kernel.shape[1], -1)

    return Layout(to_flax, to_torch)
