"""Keys of mu1sd/VDPA's state_dict."""

from tokenjax.convert.mapping import Entry, Table, convolution, linear, mlp, norm
from tokenjax.models.vdpa import VDPA
from tokenjax.ops.neighborhood import grid_neighbors


def vdpa_table(model: VDPA) -> Table:
    """Return the table of the recorded state_dict's keys.

    `global_tokens` > 1 widens `lga.pos_weight`, nothing else.
    """
    entries = [Entry("pos_embed", ("params", "pos_embed"))]
    entries += convolution("patch_embed.proj", ("params", "patch_embed"))
    for index in range(model.depth):
        torch_block, block = f"blocks.{index}", ("params", f"blocks_{index}")
        entries += norm(f"{torch_block}.norm1", (*block, "norm1"))
        entries += linear(f"{torch_block}.qkv", (*block, "qkv"))
        entries += [
            Entry(f"{torch_block}.lga.pos_weight", (*block, "lga", "pos_weight")),
            Entry(f"{torch_block}.vdfc.w", (*block, "vdfc", "w")),
            Entry(f"{torch_block}.vdfc.b", (*block, "vdfc", "b")),
        ]
        entries += linear(f"{torch_block}.proj", (*block, "proj"))
        entries += norm(f"{torch_block}.norm2", (*block, "norm2"))
        entries += mlp(f"{torch_block}.mlp", (*block, "mlp"))
    entries += norm("norm", ("params", "norm"))
    entries += linear("head", ("params", "head"))
    neighbors = grid_neighbors(model.img_size // model.patch_size, model.k_neighbors)
    return Table(tuple(entries), {"neighbor_idx": neighbors})
