"""Keys of the blocks of timm's VisionTransformer, which others took over."""

from tokenjax.convert.mapping import LINEAR, Entry, Path, linear, mlp, norm


def vit_blocks(
    root: Path,
    depth: int,
    qkv_bias: bool,
    qk_norm: bool = False,
    layer_scale: bool = False,
) -> list[Entry]:
    """Return the entries of "blocks.0", ..., which are root/blocks_0, ... here."""
    entries: list[Entry] = []
    for index in range(depth):
        torch_block, block = f"blocks.{index}", (*root, f"blocks_{index}")
        qkv, in_proj = f"{torch_block}.attn.qkv", (*block, "attn", "in_proj")
        entries.append(Entry(f"{qkv}.weight", (*in_proj, "kernel"), LINEAR))
        if qkv_bias:
            entries.append(Entry(f"{qkv}.bias", (*in_proj, "bias")))
        entries += linear(f"{torch_block}.attn.proj", (*block, "attn", "out_proj"))
        for layer in ("q_norm", "k_norm") if qk_norm else ():
            entries += norm(f"{torch_block}.attn.{layer}", (*block, "attn", layer))
        for layer in ("norm1", "norm2"):
            entries += norm(f"{torch_block}.{layer}", (*block, layer))
        for layer in ("ls1", "ls2") if layer_scale else ():
            entries.append(Entry(f"{torch_block}.{layer}.gamma", (*block, layer)))
        entries += mlp(f"{torch_block}.mlp", (*block, "mlp"))
    return entries
