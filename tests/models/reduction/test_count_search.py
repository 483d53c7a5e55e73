"""DiffRate's search: the recorded pass and its gradients, and what it finds."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import reduced_models

from tokenjax import convert, models
from tokenjax.errors import UserError
from tokenjax.models.reduction import EncoderFacts, count_search

FACTS = EncoderFacts(3, 8, 1, True, False, 8, 2)


def _key(block, name):
    """What PyTorch calls the scores of a block."""
    return f"blocks.{block}.{name.split('_')[0]}_ddp.selected_probability"


@pytest.fixture(scope="module")
def recorded(golden):
    return golden("reduction/diffrate_train")


@pytest.fixture(scope="module")
def computed(recorded):
    """(loss, (logits, aux)), gradients of all variables and of the images."""
    given = recorded.meta["arguments"]
    sizes = {key: given[key] for key in (*reduced_models.SIZES, "num_classes")}
    method = {
        "name": "diffrate",
        "search": True,
        "counted": "recorded",
        **{key: given[key] for key in ("granularity", "target_gflops", "flops_weight")},
    }
    model = models.create("vit_base_patch16", **sizes, reduction=method)
    state = recorded.group("state")
    for block in (1, 2, 3):
        for name in count_search.SCORES:
            state[_key(block, name)] = recorded[f"input/{name}{block}"]
    variables = convert.from_torch(model, state)

    def loss(variables, images):
        logits, aux = model.apply(variables, images, train=True)
        total = optax.softmax_cross_entropy_with_integer_labels(
            logits, recorded["input/labels"]
        ).mean()
        return total + aux["losses"]["flops"], (logits, aux)

    images = jnp.asarray(recorded["input/images"].transpose(0, 2, 3, 1))
    found, gradients = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(
        variables, images
    )
    return model, variables, found, gradients


def test_what_the_pass_computes(recorded, computed, assert_close):
    _, _, (total, (logits, aux)), _ = computed
    assert_close(logits, recorded["output/logits"], 1e-5)
    assert_close(total, recorded["output/loss/total"], 1e-5)
    weight = recorded.meta["arguments"]["flops_weight"]
    assert_close(aux["losses"]["flops"], weight * recorded["output/loss/flops"], 1e-5)
    whole = None
    for block, entry in enumerate(aux["reduction"]):
        then = recorded.group(f"output/layer{block}")
        for key in ("prune_kept", "merge_kept"):
            assert entry[key] == then[key]
        left = int(then["mask"][0].sum())
        step = np.asarray(entry["map"])
        for row in step:
            assert sorted(set(row.tolist()) - {-1}) == list(range(left))
        assert_close(entry["sizes"][:, :left], then["size"][:, :left], 1e-5)
        whole = reduced_models.compose(whole, step)
        np.testing.assert_array_equal(entry["mask"], whole[:, 1:] >= 0)


def test_gradients(recorded, computed, assert_close):
    model, _, _, (by_variables, by_images) = computed
    expected = recorded["grad_input/images"].transpose(0, 2, 3, 1)
    assert_close(by_images, expected, 1e-4)
    found = convert.to_torch(model, by_variables)
    learned = recorded.group("grad")
    assert len(learned) == 6
    for key, expected in learned.items():
        assert_close(found[key], expected, 1e-4, key)


def test_what_was_found(recorded, computed):
    model, variables, _, _ = computed
    assert model.found_arguments(variables) == {
        "reduction": "diffrate:prune_kept=(26,19,13,10),merge_kept=(26,16,11,11)"
    }
    assert model.clone(reduction="evit").found_arguments(variables) == {}


def test_blocks_without_a_choice():
    assert [count_search.has_choice(block, FACTS) for block in range(3)] == [0, 1, 1]
    pooled = FACTS._replace(pool="avg")
    assert [count_search.has_choice(block, pooled) for block in range(3)] == [0, 1, 0]


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("diffrate:search=True", "search needs target_gflops"),
        (
            "diffrate:search=True,target_gflops=1,prune_kept=(9,),merge_kept=(9,)",
            "search finds prune_kept and merge_kept",
        ),
        ("diffrate:search=True,target_gflops=0", "target_gflops must be above 0"),
    ],
)
def test_bad_input(written, sentence):
    with pytest.raises(UserError, match=sentence):
        models.create("vit_tiny_patch16", reduction=written)


def test_a_single_block_has_nothing_to_find():
    written = "diffrate:search=True,target_gflops=1"
    with pytest.raises(UserError, match="this model has none"):
        models.create("vit_tiny_patch16", depth=1, reduction=written)
