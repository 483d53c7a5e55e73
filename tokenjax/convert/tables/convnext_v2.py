"""Keys of the state_dict of timm's ConvNeXt with GRN and without layer scale."""

from tokenjax.convert.mapping import Table, convolution, linear, mlp, norm
from tokenjax.models.baselines.convnext_v2 import ConvNeXtV2


def convnext_v2_table(model: ConvNeXtV2) -> Table:
    """Return the table of the keys of timm 1.0.31."""
    entries = convolution("stem.0", ("params", "stem"))
    entries += norm("stem.1", ("params", "stem_norm"))
    for stage, depth in enumerate(model.depths):
        if stage:
            torch_downsample = f"stages.{stage}.downsample"
            path = ("params", f"downsample_norm_{stage}")
            entries += norm(f"{torch_downsample}.0", path)
            path = ("params", f"downsample_{stage}")
            entries += convolution(f"{torch_downsample}.1", path)
        for index in range(depth):
            torch_block = f"stages.{stage}.blocks.{index}"
            block = ("params", f"stages_{stage}_blocks_{index}")
            entries += convolution(f"{torch_block}.conv_dw", (*block, "conv_dw"))
            entries += norm(f"{torch_block}.norm", (*block, "norm"))
            entries += norm(f"{torch_block}.mlp.grn", (*block, "grn"))
            entries += mlp(f"{torch_block}.mlp", block)
    entries += norm("head.norm", ("params", "head_norm"))
    entries += linear("head.fc", ("params", "head"))
    return Table(tuple(entries))
