"""Keys of the state_dict of T2T-ViT."""

from tokenjax.convert.mapping import LINEAR, Entry, Table, linear, norm
from tokenjax.convert.tables.camera_vit import camera_vit_table
from tokenjax.models.demo.t2t_vit import T2TViT


def t2t_vit_table(model: T2TViT) -> Table:
    """Return the original's keys: those of `CameraViT` but for the patches."""
    entries = [
        Entry("pos_embed", ("constants", "pos_embed"))
        if entry.torch_key == "pos_embed"
        else entry
        for entry in camera_vit_table(model).entries
        if not entry.torch_key.startswith("patch_embed.")
    ]
    for layer in ("attention1", "attention2"):
        torch_layer = f"tokens_to_token.{layer}"
        path = ("params", "tokens_to_token", layer)
        for part in ("norm1", "norm2"):
            entries += norm(f"{torch_layer}.{part}", (*path, part))
        if model.tokens_type == "performer":
            fixed = ("constants", *path[1:], "w")
            entries.append(Entry(f"{torch_layer}.w", fixed))
            entries += linear(f"{torch_layer}.kqv", (*path, "kqv"))
            parts = {
                "proj": ("proj",),
                "mlp.0": ("mlp", "fc1"),
                "mlp.2": ("mlp", "fc2"),
            }
        else:
            kernel = (*path, "qkv", "kernel")
            entries.append(Entry(f"{torch_layer}.attn.qkv.weight", kernel, LINEAR))
            parts = {f"mlp.{name}": ("mlp", name) for name in ("fc1", "fc2")}
            parts["attn.proj"] = ("proj",)
        for torch_name, names in parts.items():
            entries += linear(f"{torch_layer}.{torch_name}", (*path, *names))
    entries += linear(
        "tokens_to_token.project", ("params", "tokens_to_token", "project")
    )
    return Table(tuple(entries))
