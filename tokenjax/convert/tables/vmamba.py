"""Keys of MzeroMiko/VMamba's state_dicts (classification/models/vmamba.py, VSSM).

Its single file of later date, vmamba.py at the root, names two of them otherwise:
`op.x_proj.weight` and `op.dt_projs.weight`, flattened.
"""

from tokenjax.convert.mapping import (
    CONVOLUTION,
    LINEAR,
    Entry,
    Layout,
    Path,
    Table,
    convolution,
    linear,
    mlp,
    norm,
)
from tokenjax.models.baselines.vmamba import VMamba
from tokenjax.ops.selective_scan import PATHS

_X_PROJ = Layout(  # (path, out, in) <-> (in, path, out)
    lambda array: array.transpose(2, 0, 1), lambda array: array.transpose(1, 2, 0)
)
_DT_PROJ = Layout(  # (path, out, in) <-> (path, in, out)
    lambda array: array.swapaxes(1, 2), lambda array: array.swapaxes(1, 2)
)
_BY_PATH = Layout(  # (path * channels, ...) <-> (path, channels, ...)
    lambda array: array.reshape(PATHS, -1, *array.shape[1:]),
    lambda array: array.reshape(-1, *array.shape[2:]),
)


def vmamba_table(model: VMamba) -> Table:
    """Return the table of the published state_dict's keys."""
    entries = _halving("patch_embed.{}", 0, "stem1")
    entries += _halving("patch_embed.{}", 5, "stem2")
    for stage, depth in enumerate(model.depths):
        if stage:
            before = stage - 1
            entries += _halving(
                f"layers.{before}.downsample.{{}}", 1, f"downsample_{before}"
            )
        for index in range(depth):
            path = ("params", f"stages_{stage}_blocks_{index}")
            entries += _block(f"layers.{stage}.blocks.{index}", path, model)
    entries += norm("classifier.norm", ("params", "norm"))
    entries += linear("classifier.head", ("params", "head"))
    return Table(tuple(entries))


def _halving(torch_prefix: str, number: int, name: str) -> list[Entry]:
    """Return a convolution's entries, and its norm's, two places on in `Sequential`."""
    return [
        *convolution(torch_prefix.format(number), ("params", name, "conv")),
        *norm(torch_prefix.format(number + 2), ("params", name, "norm")),
    ]


def _block(torch_prefix: str, path: Path, model: VMamba) -> list[Entry]:
    operator = f"{torch_prefix}.op"
    entries = norm(f"{torch_prefix}.norm", (*path, "norm"))
    entries += norm(f"{torch_prefix}.norm2", (*path, "norm2"))
    entries += norm(f"{operator}.out_norm", (*path, "out_norm"))
    for name in ("in_proj", "out_proj"):
        kernel = (*path, name, "kernel")
        entries.append(Entry(f"{operator}.{name}.weight", kernel, LINEAR))
    entries += mlp(f"{torch_prefix}.mlp", (*path, "mlp"))
    conv = (*path, "conv")
    entries.append(Entry(f"{operator}.conv2d.weight", (*conv, "kernel"), CONVOLUTION))
    if model.ssm_conv_bias:
        entries.append(Entry(f"{operator}.conv2d.bias", (*conv, "bias")))
    scan = (*path, "ss2d")
    return [
        *entries,
        Entry(f"{operator}.x_proj_weight", (*scan, "x_proj"), _X_PROJ),
        Entry(f"{operator}.dt_projs_weight", (*scan, "dt_kernel"), _DT_PROJ),
        Entry(f"{operator}.dt_projs_bias", (*scan, "dt_bias")),
        Entry(f"{operator}.A_logs", (*scan, "A_log"), _BY_PATH),
        Entry(f"{operator}.Ds", (*scan, "D"), _BY_PATH),
    ]
