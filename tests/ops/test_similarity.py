"""Who is most like whom: no gradient, no NaN, the first of equals."""

import jax
import jax.numpy as jnp
import numpy as np

from tokenjax.ops import similarity


def test_unit_vectors_have_no_gradient_and_zeros_stay():
    values = jax.random.normal(jax.random.key(0), (2, 3)).at[1].set(0)
    unit = similarity.unit_vectors(values)
    np.testing.assert_allclose(jnp.linalg.norm(unit, axis=-1), [1, 0], rtol=1e-6)
    jacobian = jax.jacobian(similarity.unit_vectors)(values)
    assert not np.asarray(jacobian).any()


def test_pairs_and_nearest_agree():
    senders, receivers = (
        similarity.unit_vectors(jax.random.normal(jax.random.key(seed), (2, 5, 3)))
        for seed in (1, 2)
    )
    cosines, to = similarity.find_most_similar(senders, receivers)
    pairs = similarity.pair_most_similar(senders, receivers, 2)
    ranked = np.argsort(-np.asarray(cosines), axis=-1)
    np.testing.assert_array_equal(pairs.going, ranked[:, :2])
    np.testing.assert_array_equal(pairs.staying, ranked[:, 2:])
    np.testing.assert_array_equal(
        pairs.to, np.take_along_axis(np.asarray(to), ranked[:, :2], axis=1)
    )


def test_of_equal_ones_the_first():
    same = jnp.ones((1, 4, 1))
    assert similarity.find_most_similar(same, same, 1)[1].tolist() == [[1] * 4]
    pairs = similarity.pair_most_similar(same, same, 2)
    assert (pairs.going.tolist(), pairs.to.tolist()) == ([[0, 1]], [[0, 0]])
