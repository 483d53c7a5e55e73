"""ATS against TokenReduction's program, in a whole ViT and alone."""

import jax
import jax.numpy as jnp
import numpy as np
from helpers import reduced_models

from tokenjax.models.reduction import ats


def test_a_whole_vit(golden, assert_close):
    """Ours has a row for every sample, the original as many as the fullest image."""
    case = golden("reduction/ats_vit")
    recorded = reduced_models.build_recorded(
        case, "ats", ("keep_rate", "reduction_loc")
    )
    computed = reduced_models.compute(recorded)
    assert_close(computed.logits, case["output/logits"], 1e-5, "logits")
    present = np.ones(computed.aux["tokens"].shape[:2])
    for block, entry in enumerate(computed.aux["reduction"]):
        if entry is None:
            assert f"output/layer{block}/indices" not in case.arrays
            continue
        indices = case[f"output/layer{block}/indices"]
        reduced_models.check_indices(entry["map"], indices)
        kept = (np.asarray(entry["map"]) >= 0).sum(axis=1)
        np.testing.assert_array_equal(kept, 1 + (indices >= 0).sum(axis=1))
        np.testing.assert_array_equal(entry["sizes"].sum(axis=1), kept)
        present = np.asarray(entry["sizes"])
    expected = case["output/tokens"]
    rows = expected.shape[1]
    assert present.shape == computed.aux["tokens"].shape[:2]
    assert not present[:, rows:].any()
    there = present[:, :rows, None]
    assert_close(computed.aux["tokens"][:, :rows] * there, expected * there, 1e-5)
    reduced_models.check_gradients(recorded, computed, assert_close)


def test_the_operator(golden, assert_close):
    case = golden("reduction/ats_operator")

    def mix(values, logits, present, cotangent, count):
        both = present[:, None, :, None] * present[:, None, None, :] > 0
        lowest = jnp.finfo(jnp.float32).min
        weights = jax.nn.softmax(jnp.where(both, logits, lowest), axis=-1)
        scores = ats.score_patches(weights[:, :, 0], values)[:, 1:]
        chosen = ats.sample_patches(scores, present[:, 1:], count)
        rows, filled = ats.list_rows(chosen, 1, len(ats.quantiles(count)))
        mixed = jnp.take_along_axis(weights, rows[:, None, :, None], 2) @ values
        kept = mixed * filled[:, None, :, None]
        width = min(rows.shape[1], cotangent.shape[2])
        return jnp.sum(kept * cotangent[:, :, :width]), (rows, filled, mixed)

    def loss(values):
        total, outputs = 0.0, {}
        for setting in case.meta["arguments"]["settings"]:
            present = jnp.asarray(case["input/present"])
            present = present if setting["masked"] else jnp.ones_like(present)
            logits, cotangent = case["input/attention_logits"], case["input/cotangent"]
            more, out = mix(values, logits, present, cotangent, setting["count"])
            total += more
            outputs[setting["name"]] = out
        return total, outputs

    gradient, outputs = jax.jit(jax.grad(loss, has_aux=True))(case["input/values"])
    for name, (rows, filled, mixed) in outputs.items():
        indices, present = (
            case[f"output/{name}/indices"],
            case[f"output/{name}/present"],
        )
        width = indices.shape[1]
        np.testing.assert_array_equal(rows[:, :width], indices, err_msg=name)
        np.testing.assert_array_equal(filled[:, :width], present, err_msg=name)
        assert not filled[:, width:].any()
        assert_close(mixed[:, :, :width], case[f"output/{name}/mixed"], 1e-5, name)
    assert_close(gradient, case["grad_input/values"], 1e-4, "values")


def test_the_number_of_quantiles(golden):
    case = golden("reduction/ats_quantiles")
    for count, number, largest in zip(
        case["output/count"],
        case["output/quantiles"],
        case["output/largest"],
        strict=True,
    ):
        points = ats.quantiles(int(count))
        assert len(points) == number
        np.testing.assert_allclose(points[-1], largest, rtol=1e-6)
