"""What --sweep is given: a name and values, in two forms."""

import pytest

from tokenjax.errors import UserError
from tokenjax.study.sweep_values import parse


@pytest.mark.parametrize(
    ("given", "name", "values"),
    [
        ("threshold=0.1:0.9:9", "threshold", [n / 10 for n in range(1, 10)]),
        ("threshold=0.9:0.1:3", "threshold", [0.9, 0.5, 0.1]),
        ("threshold=-1:1:2", "threshold", [-1.0, 1.0]),
        ("budget=0.125,.5,1", "budget", [0.125, 0.5, 1]),
        ("model.budget=1e-1", "budget", [0.1]),
        ("execution=gathered, masked", "execution", ["gathered", "masked"]),
        ("return_attention=True,False", "return_attention", [True, False]),
    ],
)
def test_both_forms(given, name, values):
    found = parse([given])
    assert found == (name, values)
    assert [type(value) for value in found[1]] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("threshold", "--sweep threshold: it is NAME=FIRST:LAST:COUNT or NAME=VALUE"),
        ("threshold=", "it is NAME=FIRST:LAST:COUNT"),
        ("=0.1", "it is NAME=FIRST:LAST:COUNT"),
        ("", "it is NAME=FIRST:LAST:COUNT"),
        ("threshold=0.1:0.9", "FIRST:LAST:COUNT, two numbers and how many values"),
        ("threshold=0.1:0.9:1", "at least 2"),
        ("threshold=0.1:0.9:2.5", "FIRST:LAST:COUNT"),
        ("threshold=0.1:high:3", "FIRST:LAST:COUNT"),
        ("threshold=0:inf:3", "FIRST:LAST:COUNT"),
        ("threshold=nan:1:3", "FIRST:LAST:COUNT"),
        ("threshold=0:1:101", "101 values are more than 100"),
        ("threshold=0:1:1000000000000", "1000000000000 values are more than 100"),
    ],
)
def test_other_forms_are_a_sentence(given, sentence):
    with pytest.raises(UserError) as caught:
        parse([given])
    assert sentence in str(caught.value)
