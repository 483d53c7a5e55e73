"""When two groups of runs differ by more than their seeds do."""

import numpy as np
import pytest

from tokenjax.reproduction.differences import apart, paired


def test_welch():
    found = apart(np.array([0.80, 0.82]), np.array([0.70, 0.72]))
    # Two degrees of freedom: p = 1 - t / sqrt(t^2 + 2), t = 0.1 / sqrt(0.0002).
    assert found.mean == pytest.approx(0.1)
    assert found.p == pytest.approx(1 - 50**0.5 / 52**0.5)
    assert found.known
    assert found.told() == "beyond the seeds' spread (p = 0.019)"
    assert found.points() == "+10.00"
    hidden = apart(np.array([0.70, 0.80]), np.array([0.80, 0.82]))
    assert not hidden.known
    assert hidden.points() == "-6.00"
    assert hidden.told().startswith("within the seeds' spread (p = 0.")


def test_pairs_find_what_groups_do_not():
    one = np.array([0.5, 0.6, 0.7, 0.8])
    other = one + np.array([0.01, 0.02, 0.01, 0.02])
    assert not apart(other, one).known
    found = paired(other - one)
    assert found.known
    assert found.mean == pytest.approx(0.015)
    # t = 3 sqrt(3); three degrees: p = 1 - 2 / pi (angle + sine cosine), tangent 3.
    assert found.p == pytest.approx(1 - 2 / np.pi * (np.arctan(3) + 0.3))


def test_one_group_without_spread():
    found = apart(np.array([0.5, 0.5]), np.array([0.7, 0.9]))
    # One degree of freedom: p = 1 - 2 / pi angle, of the tangent t = 0.3 / 0.1.
    assert found.p == pytest.approx(1 - 2 / np.pi * np.arctan(3))
    assert not found.known


def test_one_seed_tells_nothing():
    for found in (apart(np.array([0.9]), np.array([0.1])), paired(np.array([0.8]))):
        assert found.mean == pytest.approx(0.8)
        assert found.p is None
        assert not found.known
        assert "one seed" in found.told()


def test_no_spread_at_all():
    same = np.array([0.5, 0.5])
    assert apart(same, same).p == 1
    assert apart(same, same - 0.1).known
    assert not paired(np.zeros(3)).known
    assert paired(np.full(3, 0.1)).known
    assert paired(np.full(3, 0.1)).told().endswith("(p < 0.0001)")
