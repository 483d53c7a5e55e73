"""Names that anybody may add to."""

import pytest

from tokenjax.errors import UserError
from tokenjax.registry import Registry


def test_register_and_find():
    registry = Registry("schedule")

    @registry.register("linear")
    def linear():
        return 1

    registry.add("cosine", 2)
    assert registry["linear"] is linear
    assert registry.names() == list(registry) == ["cosine", "linear"]
    assert "linear" in registry
    assert registry.get("square") is None


def test_unknown_names_are_told_with_the_nearest():
    registry = Registry("schedule")
    registry.add("cosine", 1)
    with pytest.raises(UserError, match=r"unknown schedule 'cosin', .*'cosine'"):
        registry["cosin"]


@pytest.mark.parametrize("name", ["", "  ", None, 3])
def test_no_name(name):
    with pytest.raises(UserError, match="a schedule needs a name"):
        Registry("schedule").add(name, 1)


def test_a_name_is_taken_once():
    registry = Registry("schedule")
    registry.add("cosine", 1)
    with pytest.raises(UserError, match="there is a schedule 'cosine' already"):
        registry.add("cosine", 2)
    assert registry["cosine"] == 1


def test_a_definition_that_is_run_again_replaces_itself():
    registry = Registry("model")
    for _ in range(2):

        class Mine:
            pass

        registry.add("mine", Mine)
    assert registry["mine"] is Mine


def test_a_tuple_is_what_its_parts_are():
    registry = Registry("figure")
    for _ in range(2):

        def draw():
            pass

        registry.add("mine", (draw, 1))
    assert registry["mine"] == (draw, 1)
    with pytest.raises(UserError, match="already"):
        registry.add("mine", (draw, 2))
    with pytest.raises(UserError, match="already"):
        registry.add("mine", (draw, 1, 1))
