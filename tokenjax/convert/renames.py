"""Other names of weights, as patterns and what stands for them in our tables' keys.

They are applied one after another, each where it matches; see `layouts` for whose names
they are. None matches a key of the table itself.
"""

Renames = tuple[tuple[str, str], ...]

CLIP: Renames = (  # Hugging Face's
    (r"^(?:vision_model\.)?embeddings\.patch_embedding\.", "conv1."),
    (
        r"^(?:vision_model\.)?embeddings\.position_embedding\.weight$",
        "positional_embedding",
    ),
    (r"^(?:vision_model\.)?embeddings\.(class_embedding|position_ids)$", r"\1"),
    (r"^(?:vision_model\.)?pre_layrnorm\.", "ln_pre."),  # their spelling
    (r"^(?:vision_model\.)?post_layernorm\.", "ln_post."),
    (r"^(?:vision_model\.)?encoder\.layers\.", "transformer.resblocks."),
    (r"^visual_projection\.weight$", "proj.T"),
    (r"^(transformer\.resblocks\.\d+)\.self_attn\.", r"\1.attn."),
    (r"^(transformer\.resblocks\.\d+)\.layer_norm", r"\1.ln_"),
    (r"^(transformer\.resblocks\.\d+)\.mlp\.fc1\.", r"\1.mlp.c_fc."),
    (r"^(transformer\.resblocks\.\d+)\.mlp\.fc2\.", r"\1.mlp.c_proj."),
)
VIT: Renames = (
    (r"^(?:vit|deit|dinov2|dinov2_with_registers)\.", ""),  # Hugging Face's
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.mask_token$", "mask_token"),
    (r"^embeddings\.distillation_token$", "dist_token"),
    (r"^embeddings\.register_tokens$", "register_tokens"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^(?:encoder\.layer|layers)\.(\d+)\.", r"blocks.\1."),
    (r"^(blocks\.\d+)\.attention\.(?:output\.dense|o_proj)\.", r"\1.attn.proj."),
    (r"^(blocks\.\d+)\.attention\.(?:attention\.query|q_proj)\.", r"\1.attn.q_proj."),
    (r"^(blocks\.\d+)\.attention\.(?:attention\.key|k_proj)\.", r"\1.attn.k_proj."),
    (r"^(blocks\.\d+)\.attention\.(?:attention\.value|v_proj)\.", r"\1.attn.v_proj."),
    (r"^(blocks\.\d+)\.intermediate\.dense\.", r"\1.mlp.fc1."),
    (r"^(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"^(blocks\.\d+)\.layernorm_before\.", r"\1.norm1."),
    (r"^(blocks\.\d+)\.layernorm_after\.", r"\1.norm2."),
    (r"^(blocks\.\d+)\.layer_scale([12])\.lambda1$", r"\1.ls\2.gamma"),
    (r"^(blocks\.\d+)\.gamma_([12])$", r"\1.ls\2.gamma"),  # DeiT III's
    (r"^layernorm\.", "norm."),
    (r"^(?:cls_)?classifier\.", "head."),
    (r"^distillation_classifier\.", "head_dist."),
    (r"^class_token$", "cls_token"),  # torchvision's
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"^(blocks\.\d+)\.ln_([12])\.", r"\1.norm\2."),
    (r"^(blocks\.\d+)\.self_attention\.in_proj_", r"\1.attn.qkv."),
    (r"^(blocks\.\d+)\.self_attention\.out_proj\.", r"\1.attn.proj."),
    (r"^(blocks\.\d+)\.mlp\.(?:0|linear_1)\.", r"\1.mlp.fc1."),
    (r"^(blocks\.\d+)\.mlp\.(?:3|linear_2)\.", r"\1.mlp.fc2."),
    (r"^encoder\.ln\.", "norm."),
    (r"^heads\.head\.", "head."),
)
CONVNEXT: Renames = (
    (r"^downsample_layers\.0\.", "stem."),
    (r"^downsample_layers\.(\d+)\.", r"stages.\1.downsample."),
    (r"^stages\.(\d+)\.(\d+)\.", r"stages.\1.blocks.\2."),
    (r"\.dwconv\.", ".conv_dw."),
    (r"\.pwconv([12])\.", r".mlp.fc\1."),
    (r"\.grn\.gamma$", ".mlp.grn.weight"),
    (r"\.grn\.beta$", ".mlp.grn.bias"),
    (r"^norm\.", "head.norm."),
    (r"^head\.(weight|bias)$", r"head.fc.\1"),
)
VMAMBA: Renames = (
    (r"^(layers\.\d+\.blocks\.\d+)\.ln_1\.", r"\1.norm."),
    (r"^(layers\.\d+\.blocks\.\d+)\.ln_2\.", r"\1.norm2."),
    (r"^(layers\.\d+\.blocks\.\d+)\.self_attention\.", r"\1.op."),
    (r"^norm\.", "classifier.norm."),
    (r"^head\.", "classifier.head."),
)
ROUTING: Renames = (  # the framework's later file, without a class around the head
    (r"^task_head\.(\d+)\.", r"task_head.classifier.\1."),
)
