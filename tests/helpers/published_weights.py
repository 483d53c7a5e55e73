"""Files as other libraries lay them out, made from a backbone's own state_dict."""

import numpy as np

TEXT_TOWER = ("positional_embedding", "ln_final.weight", "token_embedding.weight")


def openai(state):
    """CLIP as OpenAI publishes it, with the text tower."""
    file = {f"visual.{key}": value for key, value in state.items()}
    sizes = ("input_resolution", "context_length", "vocab_size")
    text = {key: np.zeros((5, 4), np.float16) for key in TEXT_TOWER}
    return file | text | {key: np.array(224) for key in sizes}


def hugging_face(state):
    """A whole CLIPModel of transformers."""
    names = {
        "class_embedding": "vision_model.embeddings.class_embedding",
        "positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    }
    parts = {
        "ln_pre": "vision_model.pre_layrnorm",
        "ln_post": "vision_model.post_layernorm",
        "attn.out_proj": "self_attn.out_proj",
        "ln_1": "layer_norm1",
        "ln_2": "layer_norm2",
        "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2",
    }
    file = {"visual_projection.weight": state["proj"].T}
    for key, value in state.items():
        block, separator, rest = key.removeprefix("transformer.resblocks.").partition(
            "."
        )
        if key in names:
            file[names[key]] = value
        elif "in_proj" in key:
            kind = key.rpartition("_")[2]
            for part, third in zip("qkv", np.split(value, 3), strict=True):
                prefix = f"vision_model.encoder.layers.{block}.self_attn"
                file[f"{prefix}.{part}_proj.{kind}"] = third
        elif key.startswith("transformer."):
            part, _, kind = rest.rpartition(".")
            file[f"vision_model.encoder.layers.{block}.{parts[part]}.{kind}"] = value
        elif separator and block in parts:
            file[f"{parts[block]}.{rest}"] = value
    more = {"vision_model.embeddings.position_ids": np.arange(10)[None]}
    more |= {"logit_scale": np.ones(()), "text_model.final_layer_norm.bias": np.ones(4)}
    return file | more


def timm(state):
    """A classifier of timm."""
    head = {"head.weight": np.zeros((9, 16)), "head.bias": np.zeros(9)}
    return state | head | {"pre_logits.fc.bias": np.zeros(16)}


def distilled(state):
    """DeiT with a distillation token, whose position is the second."""
    positions = state["pos_embed"]
    token = np.full((1, 1, 16), 9.0, np.float16)
    positions = np.concatenate([positions[:, :1], token, positions[:, 1:]], axis=1)
    heads = {"head_dist.weight": np.zeros((9, 16)), "head_dist.bias": np.zeros(9)}
    return timm(state) | heads | {"pos_embed": positions, "dist_token": token}


def demo(state):
    """A whole DeMo."""
    file = {f"BACKBONE.base.{key}": value for key, value in state.items()}
    return file | {
        "BACKBONE.cv_embed": np.ones((4, 1, 16)),
        "classifier.weight": np.ones((3, 2)),
    }


def transformers_vit(state, depth, prefix="vit."):
    """ViTForImageClassification of transformers before version 5."""
    file = {
        f"{prefix}embeddings.cls_token": state["cls_token"],
        f"{prefix}embeddings.position_embeddings": state["pos_embed"],
    }
    for kind in ("weight", "bias"):
        patches = f"{prefix}embeddings.patch_embeddings.projection.{kind}"
        file[patches] = state[f"patch_embed.proj.{kind}"]
        file[f"{prefix}layernorm.{kind}"] = state[f"norm.{kind}"]
        if f"head.{kind}" in state:
            file[f"classifier.{kind}"] = state[f"head.{kind}"]
        for index in range(depth):
            block = f"{prefix}encoder.layer.{index}"
            packed = state[f"blocks.{index}.attn.qkv.{kind}"]
            third = len(packed) // 3
            for number, part in enumerate(("query", "key", "value")):
                rows = packed[number * third : (number + 1) * third]
                file[f"{block}.attention.attention.{part}.{kind}"] = rows
            for theirs, ours in {
                "attention.output.dense": "attn.proj",
                "intermediate.dense": "mlp.fc1",
                "output.dense": "mlp.fc2",
                "layernorm_before": "norm1",
                "layernorm_after": "norm2",
            }.items():
                file[f"{block}.{theirs}.{kind}"] = state[
                    f"blocks.{index}.{ours}.{kind}"
                ]
    return file


def transformers_5_vit(state, depth):
    """The same with the module's own names, as since version 5."""
    short = {
        "encoder.layer.": "layers.",
        "attention.attention.query": "attention.q_proj",
        "attention.attention.key": "attention.k_proj",
        "attention.attention.value": "attention.v_proj",
        "attention.output.dense": "attention.o_proj",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
    }
    file = {}
    for key, value in transformers_vit(state, depth).items():
        for before, after in short.items():
            key = key.replace(before, after)
        file[key] = value
    return file


def torchvision_vit(state, depth):
    """VisionTransformer of torchvision."""
    file = {
        "class_token": state["cls_token"],
        "encoder.pos_embedding": state["pos_embed"],
    }
    for kind in ("weight", "bias"):
        file[f"conv_proj.{kind}"] = state[f"patch_embed.proj.{kind}"]
        file[f"encoder.ln.{kind}"] = state[f"norm.{kind}"]
        file[f"heads.head.{kind}"] = state[f"head.{kind}"]
        for index in range(depth):
            block, ours = f"encoder.layers.encoder_layer_{index}", f"blocks.{index}"
            attention = f"{block}.self_attention"
            file[f"{attention}.in_proj_{kind}"] = state[f"{ours}.attn.qkv.{kind}"]
            file[f"{attention}.out_proj.{kind}"] = state[f"{ours}.attn.proj.{kind}"]
            file[f"{block}.ln_1.{kind}"] = state[f"{ours}.norm1.{kind}"]
            file[f"{block}.ln_2.{kind}"] = state[f"{ours}.norm2.{kind}"]
            file[f"{block}.mlp.0.{kind}"] = state[f"{ours}.mlp.fc1.{kind}"]
            file[f"{block}.mlp.3.{kind}"] = state[f"{ours}.mlp.fc2.{kind}"]
    return file


def microsoft_swin(state, windows):
    """Swin as Microsoft publishes it; `windows`: places a side, by stage."""
    file = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] == "head":
            parts.remove("fc")
        if "downsample" in parts:
            parts[1] = str(int(parts[1]) - 1)
        file[".".join(parts)] = value
        if parts[-1] == "relative_position_bias_table":
            side = windows[int(parts[1])]
            down, across = np.divmod(np.arange(side * side), side)
            index = (down[:, None] - down + side - 1) * (2 * side - 1)
            index += across[:, None] - across + side - 1
            prefix = ".".join(parts[:-1])
            file[f"{prefix}.relative_position_index"] = index
            mask = np.zeros((4, side * side, side * side), np.float32)
            file[f"{prefix.removesuffix('.attn')}.attn_mask"] = mask
    return file


def meta_convnext(state):
    """ConvNeXt V2 as Meta publishes it."""
    file = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] == "stem":
            parts[:1] = ["downsample_layers", "0"]
        elif "downsample" in parts:
            parts = ["downsample_layers", parts[1], *parts[3:]]
        elif parts[0] == "stages":
            parts.remove("blocks")
        elif parts[0] == "head":
            parts = ["norm" if parts[1] == "norm" else "head", parts[2]]
        name = ".".join(parts).replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        if "mlp.grn" in name:
            name = name.replace("mlp.grn.weight", "grn.gamma")
            name = name.replace("mlp.grn.bias", "grn.beta")
            value = value[None, None, None]
        file[name] = value
    return file


def pointwise(state):
    """Linear layers of the blocks as the 1 x 1 convolutions that they once were."""
    inside = ("qkv.weight", "attn.proj.weight", "fc1.weight", "fc2.weight")
    return {
        key: value[:, :, None, None]
        if key.endswith(inside) and value.ndim == 2 and "blocks" in key
        else value
        for key, value in state.items()
    }


def first_vmamba(state):
    """VMamba by its first names."""
    file = {}
    for key, value in state.items():
        key = key.removeprefix("classifier.").replace(".op.", ".self_attention.")
        file[key.replace(".norm.", ".ln_1.") if "blocks" in key else key] = value
    return file


def flat_vmamba(state):
    """VMamba by its later file, the paths' projections in one."""
    file = {}
    for key, value in state.items():
        if key.endswith(("x_proj_weight", "dt_projs_weight")):
            key = key.replace("_weight", ".weight")
            value = value.reshape(-1, value.shape[-1], 1)
        file[key] = value
    return file
