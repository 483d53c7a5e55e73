"""Keys of the state_dict of CLIP's image encoder."""

from tokenjax.convert.mapping import CONVOLUTION, Entry, Table, attention, linear, norm
from tokenjax.convert.tables.reducers import reducer_entries
from tokenjax.models.demo.clip_vit import ClipVisionTransformer


def clip_vit_table(model: ClipVisionTransformer) -> Table:
    """Return the table of the recorded state_dict's keys."""
    entries = [
        Entry("class_embedding", ("params", "class_embedding")),
        Entry("positional_embedding", ("params", "positional_embedding")),
        Entry("conv1.weight", ("params", "patch_embed", "kernel"), CONVOLUTION),
        Entry("proj", ("params", "proj", "kernel")),  # (in, out) there too
    ]
    for layer in ("ln_pre", "ln_post"):
        entries += norm(layer, ("params", layer))
    for index in range(model.layers):
        torch_block = f"transformer.resblocks.{index}"
        block = ("params", f"blocks_{index}")
        entries += attention(f"{torch_block}.attn", (*block, "attn"))
        for number in (1, 2):
            entries += norm(f"{torch_block}.ln_{number}", (*block, f"norm{number}"))
        entries += linear(f"{torch_block}.mlp.c_fc", (*block, "mlp", "fc1"))
        entries += linear(f"{torch_block}.mlp.c_proj", (*block, "mlp", "fc2"))
    entries += reducer_entries(model.written_reduction(), model.facts())
    return Table(tuple(entries))
