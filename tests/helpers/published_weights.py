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
