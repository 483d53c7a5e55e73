"""Recorded cases by the device check: they agree, and what is wrong is seen."""

import numpy as np
import pytest

from tokenjax.device_check import checkout
from tokenjax.device_check.parity import cases, classifiers
from tokenjax.device_check.parity.held import GRADIENT, OUTPUT, Held

CHEAP = "vdpa/alp"


def test_every_case_is_recorded_and_every_system_is_early():
    for name in cases.CASES:
        assert (checkout.GOLDEN / f"{name}.npz").is_file(), name
    systems = [name.partition("/")[0] for name in cases.names()[:5]]
    assert {"vdpa", "cifar_vit", "routing", "demo"} <= set(systems)
    assert set(cases.TINY) <= set(cases.names())


def test_a_case_that_agrees():
    held = cases.hold(CHEAP, checkout.GOLDEN)
    assert held.problems == []
    assert set(held.errors()) == {OUTPUT, GRADIENT}
    assert all(0 < error < 1e-5 for error in held.errors().values())


@pytest.mark.parametrize(
    ("changed", "kind", "array"),
    [("tokens", OUTPUT, "class token"), ("cotangent", GRADIENT, "tokens")],
)
def test_a_case_that_does_not(golden, changed, kind, array):
    """By a thousandth: cosines do not see the tokens' size, so gradients stay."""
    case, held = golden(CHEAP), Held()
    case.arrays[f"input/{changed}"] = case[f"input/{changed}"] * np.float32(1.001)
    classifiers.local_pooling(case, held)
    (problem,) = held.problems
    assert problem.startswith(f"{array}: relative error 1.00e-03 > ")
    assert held.largest[kind] == (pytest.approx(1e-3, rel=0.01), array)


def test_what_is_held():
    held = Held()
    held.close([1.0, 2.0], [1.0, 2.0, 3.0], OUTPUT, "cut")
    held.close([np.nan], [1.0], OUTPUT, "undefined")
    held.equal([1, 2], [1, 3], "indices")
    ones, nearly = np.ones(2), np.full(2, 1e-5)
    held.gradients(
        {"a": ones, "b": nearly, "c": nearly, "extra": ones},
        {"a": ones, "b": 0 * ones, "c": 0 * ones},
        without=["c"],
        vanishing=["b"],
    )
    held.gradients({"a": ones}, {"a": ones, "b": ones})
    assert [text.partition(":")[0] for text in held.problems] == [
        "cut",
        "undefined",
        "indices",
        "c",
        "no gradients of b",
    ]
    assert held.errors() == {OUTPUT: None, GRADIENT: 0.0}


@pytest.mark.long  # the suite holds these cases, each in its own tests
@pytest.mark.parametrize("name", [name for name in cases.names() if name != CHEAP])
def test_all_cases(name):
    if name == cases.ROUTING:
        pytest.importorskip("torch")
    assert cases.hold(name, checkout.GOLDEN).problems == []
