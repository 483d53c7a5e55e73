"""Keys of timm's ResNet of bottleneck blocks."""

from tokenjax.convert.mapping import (
    CONVOLUTION,
    Entry,
    Path,
    Table,
    batch_norm,
    linear,
)
from tokenjax.models.baselines.resnet import ResNet


def resnet_table(model: ResNet) -> Table:
    """Return timm's keys, which are torchvision's too."""
    entries = _normed("conv1", "bn1", ("params",), ("conv1", "bn1"))
    for name, settings in model.blocks().items():
        block, path = name.replace("_", "."), ("params", name)
        for number in (1, 2, 3):
            names = (f"conv{number}", f"bn{number}")
            torch_names = (f"{block}.conv{number}", f"{block}.bn{number}")
            entries += _normed(*torch_names, path, names)
        if settings["shortcut"]:
            names = ("downsample_conv", "downsample_bn")
            shortcut = f"{block}.downsample"
            entries += _normed(f"{shortcut}.0", f"{shortcut}.1", path, names)
    return Table((*entries, *linear("fc", ("params", "fc"))))


def _normed(
    torch_convolution: str, torch_norm: str, path: Path, names: tuple[str, ...]
) -> list[Entry]:
    """Return the entries of a convolution without bias, and its batch norm."""
    convolution, norm = names
    kernel = Entry(
        f"{torch_convolution}.weight", (*path, convolution, "kernel"), CONVOLUTION
    )
    return [kernel, *batch_norm(torch_norm, (*path, norm))]
