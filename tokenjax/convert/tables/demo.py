"""Keys of DeMo's state_dict: those of its parts, below the original's names."""

import dataclasses

from tokenjax.convert.mapping import LINEAR, Entry, Table, batch_norm, linear, norm
from tokenjax.convert.tables.camera_vit import camera_vit_table
from tokenjax.convert.tables.clip_vit import clip_vit_table
from tokenjax.convert.tables.modality_fusion import modality_fusion_table
from tokenjax.convert.tables.sdtps import sdtps_table
from tokenjax.convert.tables.t2t_vit import t2t_vit_table
from tokenjax.models.demo.clip_vit import ClipVisionTransformer
from tokenjax.models.demo.demo_model import DeMo
from tokenjax.models.demo.t2t_vit import T2TViT


def demo_table(model: DeMo) -> Table:
    """Return the table of the recorded state_dict's keys."""
    backbone = model.make_backbone()
    if isinstance(backbone, ClipVisionTransformer):
        table = clip_vit_table(backbone)
    elif isinstance(backbone, T2TViT):
        table = t2t_vit_table(backbone)
    else:
        table = camera_vit_table(backbone)
    tables = [_below(table, "BACKBONE.base.", "backbone")]
    entries = []
    if model.sizes().clip and model.sie_camera:
        entries.append(Entry("BACKBONE.cv_embed", ("params", "cv_embed")))
    layers = ["reduce"] if model.global_local else []
    layers += ["join"] if model.joins_by_layers() else []
    for layer in (f"{name}_{layer}" for layer in layers for name in model.modalities):
        entries += norm(f"{layer}.0", ("params", f"{layer}_norm"))
        entries += linear(f"{layer}.1", ("params", layer))
    if model.fusion == "sdtps":
        tables.append(_below(sdtps_table(model.make_sdtps()), "sdtps.", "sdtps"))
    elif model.fusion != "none":
        fusion = modality_fusion_table(model.make_fusion())
        tables.append(_below(fusion, "generalFusion.", "fusion"))
    for name, suffix in _heads(model).items():
        entries += batch_norm(f"bottleneck{suffix}", ("params", f"bottleneck_{name}"))
        path = ("params", f"classifier_{name}", "kernel")
        entries.append(Entry(f"classifier{suffix}.weight", path, LINEAR))
    buffers = {key: array for part in tables for key, array in part.buffers.items()}
    entries += [entry for part in tables for entry in part.entries]
    return Table(tuple(entries), buffers)


def _heads(model: DeMo) -> dict[str, str]:
    """Return our name of every score, and the suffix of the original's keys."""
    heads = {}
    if model.fusion != "none":
        heads["fused"] = "_sdtps" if model.fusion == "sdtps" else "_moe"
    if model.direct:
        return heads | {"direct": ""}
    return heads | {name: f"_{name[0]}" for name in model.modalities}


def _below(table: Table, torch_prefix: str, name: str) -> Table:
    """Return the table of a part that is a module `name` of the whole."""
    entries = [
        dataclasses.replace(
            entry,
            torch_key=torch_prefix + entry.torch_key,
            path=(entry.path[0], name, *entry.path[1:]),
        )
        for entry in table.entries
    ]
    buffers = {torch_prefix + key: array for key, array in table.buffers.items()}
    return Table(tuple(entries), buffers)
