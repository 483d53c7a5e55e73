"""Keys of DeMo's GeneralFusion (HDM and ATMoE)."""

import dataclasses

from tokenjax.convert.mapping import (
    LINEAR,
    Entry,
    Table,
    attention,
    batch_norm,
    linear,
)
from tokenjax.models.demo.modality_fusion import GeneralFusion, modality_parts


def modality_fusion_table(model: GeneralFusion) -> Table:
    """Return the table of the recorded state_dict's keys."""
    entries = []
    for part in modality_parts(model.modalities):
        token = f"{part}_token"
        entries.append(Entry(token, ("params", token)))
        entries += attention(part, ("params", part))
    if model.atm:
        entries += _mixture_of_experts(model)
    return Table(tuple(entries))


def _mixture_of_experts(model: GeneralFusion) -> list[Entry]:
    """Return the gate's keys, and every expert's, each a part of stacked ones."""
    moe, gate = ("params", "moe"), "moe.gating_network.gate"
    entries = linear(f"{gate}.linear_re.0", (*moe, "gate", "reduce"))
    entries += batch_norm(f"{gate}.linear_re.2", (*moe, "gate", "norm"))
    for torch_name, name in (("q_", "query"), ("k_", "key")):
        kernel = (*moe, "gate", name, "kernel")
        entries.append(Entry(f"{gate}.{torch_name}.weight", kernel, LINEAR))
    size = model.feat_dim // model.head
    for index in range(len(modality_parts(model.modalities)) * model.head):
        part, head = divmod(index, model.head)
        expert = f"moe.experts.{head}.expertHead.{part}.mlp"
        place, slots = (part, head), (slice(index * size, (index + 1) * size),)
        entries += _placed(linear(f"{expert}.0", (*moe, "experts")), place)
        norm = batch_norm(f"{expert}.2", (*moe, "experts", "norm"))
        entries += _placed(norm, slots)
    return entries


def _placed(entries: list[Entry], part: tuple[int | slice, ...]) -> list[Entry]:
    """Return the entries, each as a part of a stacked array."""
    return [dataclasses.replace(entry, part=part) for entry in entries]
