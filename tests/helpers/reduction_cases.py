"""What the tests of recorded operators that make fewer tokens of many share."""

import jax
import jax.numpy as jnp
import numpy as np


def holds_settings(case, assert_close, apply):
    """Hold an operator to every setting of a recorded case, gradients included.

    `apply(setting, tokens)` returns tokens, and a dict of what else was recorded of
    the setting: numbers to 1e-5, whole numbers exactly.
    """
    cotangent = case["input/cotangent"]

    def total(tokens):
        loss, found = 0.0, {}
        for setting in case.meta["arguments"]["settings"]:
            reduced, others = apply(setting, tokens)
            loss += jnp.sum(reduced * cotangent[:, : reduced.shape[1]])
            found[setting["name"]] = {"tokens": reduced, **others}
        return loss, found

    gradient = jax.jit(jax.grad(total, has_aux=True))
    slopes, found = gradient(jnp.asarray(case["input/tokens"]))
    for name, arrays in found.items():
        recorded = case.group(f"output/{name}")
        assert set(arrays) == set(recorded), name
        for key, wanted in recorded.items():
            if wanted.dtype.kind == "i":
                np.testing.assert_array_equal(arrays[key], wanted, f"{name} {key}")
            else:
                assert_close(arrays[key], wanted, 1e-5, f"{name} {key}")
    assert_close(slopes, case["grad_input/tokens"], 1e-4, "gradient")


def holds_together(plan, num_tokens, num_protected):
    """Every output begins with an input of its own; the protected stay and lead."""
    kept = np.asarray(plan.kept)
    leading = np.arange(num_protected)
    for row in range(kept.shape[0]):
        used = kept[row]
        np.testing.assert_array_equal(used[:num_protected], leading)
        if plan.merged is not None:
            used = np.concatenate([used, plan.merged[row]])
            assert (np.asarray(plan.receivers[row]) >= num_protected).all()
            assert (np.asarray(plan.receivers[row]) < kept.shape[1]).all()
        assert len(set(used.tolist())) == used.size
        assert used.min() >= 0
        assert used.max() < num_tokens
