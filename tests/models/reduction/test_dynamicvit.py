"""DynamicViT as published: recorded programs, and what it does besides."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.drawn_variables import drawn_variables

from tokenjax import convert, models
from tokenjax.errors import UserError
from tokenjax.models.reduction import LocalGlobalPredictor
from tokenjax.models.reduction.predictors import LOCAL_GLOBAL_LAYERS
from tokenjax.ops import straight_through
from tokenjax.training.tasks import losses, pruning

TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 3, "num_heads": 2}
SHORT = "dynamicvit:pruning_loc=(1,2),token_ratio=(0.7,0.4)"


def recorded(golden, name):
    """Return the case, its model, its variables and images."""
    case = golden(f"reduction/{name}")
    arguments = dict(case.meta["arguments"])
    sizes = ("img_size", "patch_size", "embed_dim", "depth", "num_heads")
    built = {key: arguments[key] for key in (*sizes, "mlp_ratio", "num_classes")}
    keys = ("pruning_loc", "token_ratio", "ratio_weight")
    own = {key: arguments[key] for key in keys if key in arguments}
    model = models.create(
        "vit_base_patch16", **built, reduction={"name": "dynamicvit", **own}
    )
    variables = convert.from_torch(model, case.group("state"))
    return case, model, variables, case["input/images"].transpose(0, 2, 3, 1)


def hold_gradients(case, model, gradients, assert_close):
    """Of parameters and images; of those without one they are 0."""
    parameters, images = gradients
    by_key, expected = convert.to_torch(model, parameters), case.group("grad")
    assert set(by_key) == set(expected) | set(case.meta["no_gradient"])
    for key, found in by_key.items():
        if key in expected:
            assert_close(found, expected[key], 1e-4, key)
        else:
            assert not found.any(), key
    wanted = case["grad_input/images"].transpose(0, 2, 3, 1)
    assert_close(images, wanted, 1e-4, "images")


def test_recorded_predictor(golden, assert_close):
    case = golden("reduction/dynamicvit_predictor")
    from tokenjax.convert.tables.reducers import layer_entries
    from tokenjax.models.layers import Linear

    predictor = LocalGlobalPredictor(Linear, jnp.float32)
    entries = [
        entry
        for kind, key, name in LOCAL_GLOBAL_LAYERS
        for entry in layer_entries(kind, key, (name,))
    ]
    params = {name: {} for _, _, name in LOCAL_GLOBAL_LAYERS}
    for entry in entries:
        layer, name = entry.path
        array = case[f"state/{entry.torch_key}"]
        params[layer][name] = entry.layout.to_flax(array)

    def loss(params, tokens, policy):
        logits = predictor.apply({"params": params}, tokens, policy[..., 0])
        found = jax.nn.log_softmax(logits)
        return jnp.sum(found * case["input/cotangent"]), found

    gradient = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))
    inputs = case["input/tokens"], case["input/policy"]
    (of_params, *of_inputs), found = gradient(params, *inputs)
    assert_close(found, case["output/log_probabilities"], 1e-5)
    for entry in entries:
        layer, name = entry.path
        back = entry.layout.to_torch(np.asarray(of_params[layer][name]))
        assert_close(back, case[f"grad/{entry.torch_key}"], 1e-4, entry.torch_key)
    for name, found in zip(("tokens", "policy"), of_inputs, strict=True):
        assert_close(found, case[f"grad_input/{name}"], 1e-4, name)


def test_recorded_inference(golden, assert_close):
    case, model, variables, images = recorded(golden, "dynamicvit_vit")

    def loss(variables, images):
        logits, aux = model.apply(variables, images)
        return jnp.sum(logits * case["input/cotangent"]), (logits, aux)

    gradient = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
    gradients, (logits, aux) = gradient(variables, images)
    assert_close(logits, case["output/logits"], 1e-5, "logits")
    done = [entry for entry in aux["reduction"] if entry is not None]
    assert [entry is not None for entry in aux["reduction"]] == [False, *[True] * 3]
    for stage, entry in enumerate(done):
        log_keep = case[f"output/stage{stage}/log_probabilities"][..., 0]
        assert_close(entry["scores"], log_keep, 1e-5, f"log keep {stage}")
        indices = case[f"output/stage{stage}/indices"]  # (b, kept), best first
        expected = np.full(log_keep.shape, -1)
        rows = np.arange(len(indices))[:, None]
        expected[rows, indices] = 1 + np.arange(indices.shape[1])
        np.testing.assert_array_equal(entry["map"][:, 1:], expected)
        np.testing.assert_array_equal(entry["map"][:, 0], 0)
        assert (entry["sizes"] == 1).all()
    hold_gradients(case, model, gradients, assert_close)


def inject(monkeypatch, case):
    """Draw what was drawn."""
    draws = iter([case[f"input/gumbel{stage}"] for stage in range(3)])
    monkeypatch.setattr(straight_through, "gumbel_noise", lambda _: next(draws))


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("dynamicvit_train", "squared"),
        pytest.param("dynamicvit_train_kl", "kl", marks=pytest.mark.long),
    ],
)
def test_recorded_training(golden, assert_close, monkeypatch, name, measure):
    """The whole loss, its four parts, and all gradients."""
    case, model, variables, images = recorded(golden, name)
    inject(monkeypatch, case)
    distance = pruning.TOKEN_DISTANCES[measure]
    assert case.meta["arguments"]["mse_token"] is (measure == "squared")

    def loss(variables, images):
        rngs = {"gumbel": jax.random.key(0)}
        logits, aux = model.apply(variables, images, train=True, rngs=rngs)
        tokens, masks = aux["tokens"], model.keep_masks(aux)
        parts = {
            "class": losses.cross_entropy(logits, case["input/labels"]),
            "ratio": aux["losses"]["keep_ratio"],
            "class_distillation": pruning.logit_divergence(
                logits, case["input/teacher_logits"]
            ),
            "token_distillation": distance(
                tokens[:, 1:], case["input/teacher_tokens"], masks[-1]
            ),
        }
        distilled = case.meta["arguments"]["distill_weight"]
        weights = {"class": 1, "ratio": 1}  # the model's loss has its weight
        total = sum(weights.get(key, distilled) * part for key, part in parts.items())
        return total, (total, parts, logits, aux, masks)

    gradient = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
    gradients, (total, parts, logits, aux, masks) = gradient(variables, images)
    np.testing.assert_array_equal(
        masks, [case[f"output/stage{stage}/decision_01"] for stage in range(3)]
    )
    np.testing.assert_array_equal(masks[-1], case["output/mask_01"][..., 0])
    assert_close(logits, case["output/logits"], 1e-5, "logits")
    assert_close(aux["tokens"][:, 1:], case["output/features"], 1e-5, "features")
    done = [entry for entry in aux["reduction"] if entry is not None]
    for stage, entry in enumerate(done):
        log_keep = case[f"output/stage{stage}/log_probabilities"][..., 0]
        assert_close(entry["scores"], log_keep, 1e-5, f"log keep {stage}")
    # Recorded before its weight and the mean over stages.
    parts["ratio"] *= 3 / case.meta["arguments"]["ratio_weight"]
    for key, part in parts.items():
        assert_close(part, case[f"output/loss/{key}"], 1e-5, key)
    assert_close(total, case["output/loss/total"], 1e-5, "total")
    hold_gradients(case, model, gradients, assert_close)


def test_recorded_divergence_of_tokens(golden, assert_close):
    """Of LV-ViT's recipe, from the recorded features."""
    case = golden("reduction/dynamicvit_train_kl")
    found = jax.jit(pruning.token_divergence)(
        case["output/features"],
        case["input/teacher_tokens"],
        case["output/mask"][..., 0],
    )
    assert_close(found, case["output/loss/token_distillation"], 1e-5)


def small(name="vit_base_patch16", reduction=SHORT, **more):
    arguments = TINY | {"num_classes": 5, "reduction": reduction} | more
    return models.create(name, **arguments)


@functools.cache
def start(name="vit_base_patch16"):
    model = small(name)
    (images,) = model.example_inputs(2)
    images = jax.random.normal(jax.random.key(1), images.shape)
    return drawn_variables(model, images), images


@pytest.mark.parametrize(
    "name", ["vit_base_patch16", pytest.param("vit", marks=pytest.mark.long)]
)
def test_masked_equals_gathered(name):
    """But for the order, which attention does not see, and the softmax's epsilon."""
    variables, images = start(name)
    gathered, masked = small(name), small(name, f"{SHORT},execution=masked")
    logits, aux = jax.jit(gathered.apply)(variables, images)
    expected, masked_aux = jax.jit(masked.apply)(variables, images)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    masks = gathered.keep_masks(aux)
    np.testing.assert_array_equal(masks, masked.keep_masks(masked_aux))
    assert masks.sum(-1).tolist() == [[11] * 2, [6] * 2]  # int(16 rate)
    assert aux["tokens"].shape[1] == 7
    assert masked_aux["tokens"].shape[1] == 17


def test_what_is_dropped_stays_dropped_and_everything_learns():
    variables, images = start()
    model = small()

    def loss(variables):
        rngs = {"gumbel": jax.random.key(5)}
        logits, aux = model.apply(variables, images, train=True, rngs=rngs)
        total = jnp.sum(jnp.sin(logits)) + sum(aux["losses"].values())
        return total, (aux["losses"], model.keep_masks(aux))

    gradient = jax.jit(jax.grad(loss, has_aux=True))
    gradients, (parts, masks) = gradient(variables)
    assert set(np.unique(masks)) == {0.0, 1.0}
    assert (np.diff(masks, axis=0) <= 0).all()
    shares = masks.mean(-1) - np.array([[0.7], [0.4]])
    assert list(parts) == ["keep_ratio"]
    np.testing.assert_allclose(parts["keep_ratio"], 2 * np.mean(shares**2), rtol=1e-5)
    for path, leaf in jax.tree.leaves_with_path(gradients):
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 0, path


@pytest.mark.parametrize(
    ("name", "key"),
    [("vit", "patch_dropout"), ("vit_base_patch16", "patch_drop_rate")],
)
def test_no_patch_is_left_out_at_random_besides(name, key):
    """The decisions are of all patches, as the teacher's tokens are."""
    found = []
    for spec in (SHORT, None):
        model = small(name, spec, **{key: 0.5})
        (images,) = model.example_inputs(2)
        rngs = dict.fromkeys(("params", "dropout", "gumbel"), jax.random.key(0))
        train = functools.partial(model.init_with_output, train=True)
        (_, aux), _ = jax.eval_shape(train, rngs, images)
        found.append(aux["tokens"].shape[1])
    assert found == [17, 9]


def test_an_image_that_keeps_no_patch_is_no_nan(monkeypatch):
    """The original's next predictor gives NaN."""
    variables, images = start()
    drop = jnp.broadcast_to(jnp.array([-100.0, 100.0]), (2, 16, 2))
    monkeypatch.setattr(straight_through, "gumbel_noise", lambda _: drop)
    rngs = {"gumbel": jax.random.key(0)}

    def loss(variables):
        logits, aux = small().apply(variables, images, train=True, rngs=rngs)
        return jnp.sum(jnp.sin(logits)), (logits, aux["reduction"][1]["mask"])

    gradients, (logits, mask) = jax.jit(jax.grad(loss, has_aux=True))(variables)
    assert not mask.any()
    assert np.isfinite(logits).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_scores_that_have_come_to_zero_still_order():
    """log keep of logits 20 and 30 is 0 in float32: the second is the better one."""
    from tokenjax.models.reduction import EncoderFacts, Place, PruneTokens, TokenSet

    wanted = jnp.array([[20.0, 30.0, 25.0, -5.0]])
    logits = jnp.stack([wanted, jnp.zeros_like(wanted)], axis=-1)
    prune = PruneTokens(
        lambda patches, keep: logits, 3, 0.75, learned=True, gathered=True, ranked=True
    )
    token_set = TokenSet.start(jnp.zeros((1, 5, 2)), protected=1)
    facts = EncoderFacts(1, 4, 1, True, False, 2, 1)
    place = Place(0, 0, None, facts)
    _, found = jax.jit(lambda: prune.apply({}, token_set, None, place, False))()
    np.testing.assert_array_equal(found.map, [[0, 3, 1, 2, -1]])


@pytest.mark.parametrize(
    ("reduction", "sentence"),
    [
        ("dynamicvit:pruning_loc=(1,3)", r"token_ratio has 3 entries for 2 places"),
        (
            "dynamicvit:pruning_loc=(1,3),token_ratio=0.7",
            "acts at block 3, and the model has blocks 0 to 2",
        ),
        (
            "dynamicvit:pruning_loc=(1,2),token_ratio=(0.5,0.7)",
            "grows; each place leaves at most what it finds",
        ),
        (
            "dynamicvit:pruning_loc=(2,1),token_ratio=0.7",
            r"pruning_loc must be ascending blocks, got \(2, 1\)",
        ),
        (
            "dynamicvit:pruning_loc=(1,2),token_ratio=(0.7,0.01)",
            "a rate of 0.01 keeps none of 16 patches",
        ),
        (
            "dynamicvit:pruning_loc=(1,2),token_ratio=(0.7,1.5)",
            r"token_ratio must be within \(0, 1\], got \(0.7, 1.5\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(reduction, sentence):
    with pytest.raises(UserError, match=sentence):
        small(reduction=reduction)


def test_narrow_tokens_are_refused():
    with pytest.raises(UserError, match="judges tokens of 4 channels or more"):
        small(embed_dim=2, num_heads=1)


TOWERS = {
    "vit": TINY,
    "dynamic_vit": TINY | {"pruning": "none", "predictor": "linear"},
    "vit_base_patch16": TINY,
    "camera_vit": TINY | {"stride_size": 4},
    "clip_vit": {"h_resolution": 4, "w_resolution": 4, "patch_size": 4, "width": 16}
    | {"layers": 3, "heads": 2},
}


@pytest.mark.parametrize("name", TOWERS)
def test_conversion_has_the_predictors_keys_on_every_transformer(name):
    model = models.create(name, **TOWERS[name], reduction=SHORT)
    shapes = jax.eval_shape(model.init, jax.random.key(0), *model.example_inputs(1))
    random = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: random.random(leaf.shape).astype(np.float32), shapes
    )
    state = convert.to_torch(model, variables)
    plain = models.create(name, **TOWERS[name])
    own = {
        f"score_predictor.{stage}.{layer}.{part}"
        for stage in (0, 1)
        for layer in (
            "in_conv.0",
            "in_conv.1",
            "out_conv.0",
            "out_conv.2",
            "out_conv.4",
        )
        for part in ("weight", "bias")
    }
    without = jax.eval_shape(plain.init, jax.random.key(0), *plain.example_inputs(1))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), without)
    assert set(state) == set(convert.to_torch(plain, zeros)) | own
    back = convert.from_torch(model, state)
    jax.tree.map(np.testing.assert_array_equal, back, variables)


def test_two_predictors_of_one_key_have_no_state_dict():
    """CIFAR-ViT's DynamicViT with Rao et al.'s predictors, and the reduction's."""
    model = models.create("dynamic_vit", **TINY, pruning="none", reduction=SHORT)
    with pytest.raises(convert.ConversionError, match=r"the key score_predictor\.0"):
        convert.from_torch(model, {})
