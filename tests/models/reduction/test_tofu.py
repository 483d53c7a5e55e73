"""ToFu against its own program, in a whole ViT and alone."""

import jax
import jax.numpy as jnp
import numpy as np
from helpers import reduced_models

from tokenjax.models.reduction.tofu import merge_by_norm
from tokenjax.ops import bipartite_matching, token_merging, token_selection


def test_a_whole_vit(golden, assert_close):
    case = golden("reduction/tofu_vit")
    recorded = reduced_models.build_recorded(case, "tofu", ("ratio",))
    computed = reduced_models.compute(recorded)
    reduced_models.check_outputs(recorded, computed, assert_close)
    reduced_models.check_gradients(recorded, computed, assert_close)


def test_the_operator(golden, assert_close):
    case = golden("reduction/tofu_operator")

    def loss(tokens):
        total, outputs = 0.0, {}
        for setting in case.meta["arguments"]["settings"]:
            plan = bipartite_matching.match_halves(
                case["input/metric"], setting["r"], 1
            )
            if setting["mode"] == "tofu":
                left = merge_by_norm(plan, tokens, kept=False)
            else:
                left = token_selection.gather_tokens(tokens, plan.kept)
            total += jnp.sum(left * case["input/cotangent"][:, : left.shape[1]])
            step = token_merging.find_outputs(plan, tokens.shape[1])
            outputs[setting["name"]] = (left, step)
        return total, outputs

    tokens = jnp.asarray(case["input/tokens"])
    gradient, outputs = jax.jit(jax.grad(loss, has_aux=True))(tokens)
    for name, (left, step) in outputs.items():
        assert_close(left, case[f"output/{name}/tokens"], 1e-5, name)
        np.testing.assert_array_equal(step, case[f"output/{name}/source_map"])
    assert_close(gradient, case["grad_input/tokens"], 1e-4, "tokens")


def test_the_norm_is_the_largest_of_the_group_if_asked():
    rng = np.random.default_rng(0)
    tokens = jnp.asarray(rng.normal(size=(2, 9, 4)), jnp.float32).at[0, 3].set(0.0)

    @jax.jit
    def compute(tokens):
        plan = bipartite_matching.match_halves(tokens, 3, 1)
        norms = jnp.sqrt(jnp.square(tokens).sum(axis=-1, keepdims=True))
        kept, pull = jax.vjp(lambda x: merge_by_norm(plan, x, kept=True), tokens)
        return kept, token_merging.take_largest(plan, norms), pull(kept)

    kept, expected, (gradient,) = compute(tokens)
    norms = np.linalg.norm(kept, axis=-1, keepdims=True)
    np.testing.assert_allclose(norms, expected, rtol=1e-5, atol=1e-6)
    assert np.isfinite(gradient).all()
