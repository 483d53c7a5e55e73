"""Statistics of a whole batch inside a loss that sees it part by part."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax.ops.batch_parts import given, over_parts, recorded


def loss(scale, rows):
    """Ratios, of one the parameter makes the weights, and the square of a mean."""
    weights = jnp.exp(scale * rows)
    ratio = over_parts((weights * rows).sum()) / over_parts(weights.sum())
    fixed = jnp.abs(rows)
    plain = (fixed * jnp.sin(scale * rows)).sum() / over_parts(fixed.sum())
    return ratio + plain + jnp.square(over_parts((scale * rows).mean()) - 0.3)


def in_parts(scale, rows, parts):
    pieces = rows.reshape(parts, -1)
    found = []
    for piece in pieces:
        with recorded() as statistics:
            loss(scale, piece)
        found.append(statistics)
    whole = [sum(each) / parts for each in zip(*found, strict=True)]
    results = []
    for piece in pieces:
        with given(whole):
            results.append(jax.value_and_grad(loss)(scale, piece))
    return np.mean(np.array(results), axis=0)


@pytest.mark.parametrize("parts", [1, 2, 3, 6])
def test_the_mean_over_parts_is_the_whole(parts):
    rows = jnp.asarray(np.random.default_rng(0).normal(size=6), jnp.float32)
    expected = jax.value_and_grad(loss)(0.7, rows)
    np.testing.assert_allclose(in_parts(0.7, rows, parts), expected, rtol=1e-5)


def test_without_parts_it_is_the_statistic_itself():
    statistic = jnp.arange(3.0)
    assert over_parts(statistic) is statistic
    with recorded() as found:
        assert over_parts(statistic) is statistic
    assert found == [statistic]
    assert over_parts(statistic) is statistic


def test_as_many_must_be_asked_for_as_were_recorded():
    ones = [jnp.ones(()), jnp.ones(())]
    sentence = "2 statistics were recorded, 1 asked"
    with pytest.raises(RuntimeError, match=sentence), given(ones):
        over_parts(jnp.zeros(()))
    assert over_parts(statistic := jnp.zeros(())) is statistic
