"""Keys of the state_dict of TransReID's vision transformer, which are timm's."""

from tokenjax.convert.mapping import Entry, Table, convolution, norm
from tokenjax.convert.tables.reducers import reducer_entries
from tokenjax.convert.tables.vit_blocks import vit_blocks
from tokenjax.models.demo.camera_vit import CameraViT


def camera_vit_table(model: CameraViT) -> Table:
    """Return the table of the recorded state_dict's keys."""
    names = ["cls_token", "pos_embed"]
    if model.embedding_rows:
        names.append("sie_embed")
    entries = [Entry(name, ("params", name)) for name in names]
    entries += convolution("patch_embed.proj", ("params", "patch_embed"))
    entries += vit_blocks(("params",), model.depth, model.qkv_bias)
    entries += norm("norm", ("params", "norm"))
    entries += reducer_entries(model.written_reduction(), model.facts())
    return Table(tuple(entries))
