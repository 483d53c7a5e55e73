"""The PyTorch programs of DeMo and its parts against the recorded originals."""

import numpy as np
import pytest

from tokenjax.models.demo import demo_settings, modality_fusion, sdtps

torch = pytest.importorskip("torch")

from helpers.reference_programs import (  # noqa: E402
    by_modality,
    check_gradients,
    inputs_of,
    loaded,
    tensor,
)

from references import (  # noqa: E402
    pytorch_demo,
    pytorch_modality_fusion,
    pytorch_sdtps,
)

F = torch.nn.functional
OUTPUT, GRADIENT = 1e-5, 1e-4
NAMES = sdtps.MODALITIES
MULTIMODAL = ("", "_no_grad", "_gumbel", "_gumbel_no_grad")
DEMO = ("baseline", "hdm_atm", "sdtps")
HEADS = {"ori": "direct", "sdtps": "fused", "moe": "fused"}  # theirs: ours
HEADS |= {name: name for name in NAMES}


@pytest.mark.parametrize("name", MULTIMODAL)
def test_recorded_sdtps(golden, assert_close, name):
    case = golden(f"sdtps/multimodal{name}")
    settings = case.meta["constructor_args"]
    gradient = "none" if settings["attention_no_grad"] else "all"
    model = sdtps.MultiModalSDTPS(**settings["module"], score_gradient=gradient)
    program = loaded(pytorch_sdtps.MultiModalSDTPS(model), case.group("state"))
    program.train(settings["train"])
    tokens, vectors = (by_modality(case, what) for what in ("tokens_", "global_"))
    for leaf in (*tokens.values(), *vectors.values()):
        leaf.requires_grad_()
    enhanced, masks = program(tokens, vectors, by_modality(case, "uniform_"))
    cotangents = by_modality(case, "cotangent_")
    sum((enhanced[name] * cotangents[name]).sum() for name in NAMES).backward()
    for m in NAMES:
        expected = case[f"output/enhanced_{m}"]
        assert_close(enhanced[m].detach(), expected, OUTPUT, f"enhanced {m}")
        np.testing.assert_array_equal(masks[m].detach(), case[f"output/mask_{m}"])
        expected = case[f"grad_input/tokens_{m}"]
        assert_close(tokens[m].grad, expected, GRADIENT, f"tokens {m}")
        if settings["attention_no_grad"]:
            assert vectors[m].grad is None
        else:
            expected = case[f"grad_input/global_{m}"]
            assert_close(vectors[m].grad, expected, GRADIENT, f"global {m}")
    check_gradients(case, program, assert_close)


@pytest.mark.parametrize("name", ["", "_gumbel"])
def test_recorded_choice_of_tokens(golden, assert_close, name):
    case = golden(f"sdtps/token_sparse{name}")
    settings = case.meta["constructor_args"]
    model = sdtps.TokenSparse(**settings["module"])
    program = loaded(pytorch_sdtps.TokenSparse(model), case.group("state"))
    keys = ("tokens", "self_attention", "cross_attention_m2", "cross_attention_m3")
    uniforms = tensor(case["input/uniform"]) if settings["train"] else None
    outputs = program.train(settings["train"])(
        *inputs_of(case, *keys), beta=settings["beta"], uniforms=uniforms
    )
    keys = ("select_tokens", "extra_token", "score_mask", "selected_mask")
    for key, output in zip((*keys, "keep_indices"), outputs, strict=True):
        assert_close(output.detach(), case[f"output/{key}"], OUTPUT, key)


@pytest.mark.parametrize("name", ["", "_masked"])
def test_recorded_aggregation(golden, assert_close, name):
    case = golden(f"sdtps/token_aggregation{name}")
    settings = case.meta["constructor_args"]
    program = pytorch_sdtps.TokenAggregation(**settings["module"])
    program = loaded(program, case.group("state"))
    keys = ("x", "keep_policy") if settings["masked"] else ("x",)
    aggregated = program(*inputs_of(case, *keys)).detach()
    assert_close(aggregated, case["output/aggregated"], OUTPUT, "aggregated")


@pytest.mark.parametrize("name", ["clip_vit", "clip_vit_overlap"])
def test_recorded_backbone(golden, assert_close, name):
    case = golden(f"demo/{name}")
    settings = case.meta["constructor_args"]
    program = pytorch_demo.ClipVisionTransformer(**settings["model"])
    program = loaded(program, case.group("state"))
    keys = ("images", "cv_embed") if settings["camera_embedding"] else ("images",)
    tokens = program(*inputs_of(case, *keys))
    assert_close(tokens.detach(), case["output/tokens"], OUTPUT, "tokens")
    (tokens * tensor(case["input/cotangent"])).sum().backward()
    check_gradients(case, program, assert_close)


@pytest.mark.parametrize("name", ["hdm", "hdm_atm", "hdm_atm_train"])
def test_recorded_fusion(golden, assert_close, name):
    case = golden(f"demo/fusion_{name}")
    settings = case.meta["constructor_args"]
    keys, train = {"feat_dim", "head"}, settings["train"]
    sizes = {key: settings[key] for key in keys}
    model = modality_fusion.GeneralFusion(**sizes, atm=settings["ATM"], dropout=0.0)
    program = pytorch_modality_fusion.GeneralFusion(model)
    program = loaded(program, case.group("state")).train(train)
    tokens, vectors = (by_modality(case, what) for what in ("tokens_", "global_"))
    sequences = {m: torch.cat([vectors[m][:, None], tokens[m]], 1) for m in NAMES}
    fused = program(sequences).detach()
    assert_close(fused, case["output/fused"], OUTPUT, "fused")
    for key, expected in case.group("state_after").items():
        assert_close(program.get_buffer(key), expected, OUTPUT, key)


def recorded_demo(case):
    names = ("cfg_model", "image", "num_classes", "camera_num", "backbone", "feat_dim")
    arguments = {key: case.meta["constructor_args"][key] for key in names}
    model = demo_settings.from_settings(**arguments, fusion_dropout=0.0)
    return model, loaded(pytorch_demo.DeMo(model), case.group("state"))


@pytest.mark.parametrize("name", DEMO)
def test_recorded_demo_in_inference(golden, assert_close, name):
    case = golden(f"demo/demo_{name}_eval")
    model, program = recorded_demo(case)
    for prefix, missing in {"": "", "miss_r_": "r", "miss_nt_": "nt"}.items():
        images = {
            m: image * (m[0] not in missing)
            for m, image in by_modality(case, "").items()
        }
        with torch.no_grad():
            features = program(images, tensor(case["input/camera"]))
        patterns = {1: "direct", 2: "fused", 3: "concat"}
        if model.fusion == "none":
            patterns = dict.fromkeys(patterns, "direct")
        for number, key in patterns.items():
            expected = case[f"output/{prefix}pattern_{number}"]
            assert_close(features[key], expected, OUTPUT, f"{prefix}{number}")


def recorded_loss(score, feature, labels):
    """Identity loss and batch-hard triplet loss with a soft margin."""
    squares = feature.pow(2).sum(1)
    squared = squares[:, None] + squares - 2 * feature @ feature.T
    distance = squared.clamp(min=1e-12).sqrt()
    same = labels[:, None] == labels
    furthest = distance.masked_fill(~same, -torch.inf).amax(1)
    nearest = distance.masked_fill(same, torch.inf).amin(1)
    identity = F.cross_entropy(score, labels, label_smoothing=0.1)
    return 0.25 * identity + F.softplus(furthest - nearest).mean()


@pytest.mark.parametrize("name", [*DEMO, "sdtps_gumbel"])
def test_recorded_demo_in_training(golden, assert_close, name):
    case = golden(f"demo/demo_{name}_train")
    _, program = recorded_demo(case)
    images, cameras = by_modality(case, ""), tensor(case["input/camera"])
    heads = program.train()(images, cameras, by_modality(case, "uniform_"))
    for theirs, ours in HEADS.items():
        if f"output/{theirs}_score" in case.arrays:
            score, feature = (leaf.detach() for leaf in heads[ours])
            assert_close(score, case[f"output/{theirs}_score"], OUTPUT, theirs)
            key = "ori" if theirs == "ori" else f"{theirs}_feat"
            assert_close(feature, case[f"output/{key}"], OUTPUT, key)
    labels = tensor(case["input/labels"])
    losses = [recorded_loss(*pair, labels) for pair in heads.values()]
    found = [loss.item() for loss in losses]
    assert_close(found, case["output/pair_losses"], OUTPUT, "losses")
    sum(losses).backward()
    check_gradients(case, program, assert_close)
    for key, expected in case.group("state_after").items():
        assert_close(program.get_buffer(key), expected, OUTPUT, key)
