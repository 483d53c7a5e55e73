"""Models and arguments as they are written on a command line."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.errors import UserError
from tokenjax.written_arguments import (
    WrittenModel,
    read_arguments,
    read_model,
    read_value,
    split_list,
    split_pair,
    write_arguments,
)

NAMES = st.from_regex(r"[a-z][a-z_0-9]{0,6}", fullmatch=True)
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3).map(tuple))


def test_arguments():
    texts = ["depth=4, depths=(2, 2),rate=1e-3", "pool=gem,names=['a','b=c'],flag=True"]
    assert read_arguments(texts, "--set") == {
        "depth": 4,
        "depths": (2, 2),
        "rate": 1e-3,
        "pool": "gem",
        "names": ["a", "b=c"],
        "flag": True,
    }
    assert read_arguments(["depths=2,2, name='a,b=c(',last=None"], "--set") == {
        "depths": (2, 2),
        "name": "a,b=c(",
        "last": None,
    }
    assert read_arguments(["who=O'Brien,depth=1"], "--set") == {
        "who": "O'Brien",
        "depth": 1,
    }


def test_models():
    text = "dynamic_vit(embed_dim=384,num_heads=6), swin-transformer ,vit(depths=(1,2))"
    assert [read_model(each, "--models") for each in split_list(text, "--models")] == [
        WrittenModel("dynamic_vit", {"embed_dim": 384, "num_heads": 6}),
        WrittenModel("swin-transformer", {}),
        WrittenModel("vit", {"depths": (1, 2)}),
    ]
    assert read_model("vit()", "--models") == WrittenModel("vit", {})


def test_labels_are_what_was_written_without_spaces():
    model = read_model("vit( depth = 3, depths=2,2, name='a b', who='a,b')", "--models")
    assert model.label == "vit(depth=3,depths=(2,2),name=a b,who='a,b')"
    assert read_model("vit", "--models").label == "vit"


@settings(max_examples=50)
@given(NAMES, st.dictionaries(NAMES, VALUES, max_size=3))
def test_a_label_is_read_as_what_it_is_of(name, arguments):
    model = WrittenModel(name, arguments)
    (text,) = split_list(model.label, "--models")
    assert read_model(text, "--models") == model
    assert list(map(type, read_model(text, "--models").arguments.values())) == list(
        map(type, arguments.values())
    )


NESTED = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3))


@settings(max_examples=50)
@given(st.dictionaries(NAMES, NESTED | VALUES, min_size=1, max_size=3))
def test_what_is_written_reads_as_it_was(arguments):
    """Lists as lists, tuples as tuples."""
    text = write_arguments(arguments)
    assert read_arguments([text], "--set") == arguments
    assert write_arguments(read_arguments([text], "--set")) == text


def test_arguments_are_written_without_what_need_not_be():
    written = write_arguments({"r": (8, -1.0), "k": [1, 2], "t": "a,b", "n": None})
    assert written == "r=(8,-1.0),k=[1,2],t='a,b',n=None"


@settings(max_examples=50)
@given(st.text(alphabet="ab1(),='[] \\", max_size=12))
def test_whatever_is_written_is_read_or_refused_in_a_sentence(text):
    said = "--models"
    try:
        for piece in split_list(text, "--models"):
            read_model(piece, "--models")
    except UserError as error:
        said = str(error)
    assert said.startswith("--models")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vit(depth=12", r"a '\)' is missing in 'vit\(depth=12'"),
        ("vit(depths=(1,2)", r"a '\)' is missing"),
        ("vit(depths=[1,2)", r"a '\)' too many"),
        ("vitdepth=12)", r"a '\)' too many"),
        ("vit(name='a)", "the quote ' is not closed"),
        ("vit(depth=1)(depth=2)", r"a '\)' too many"),
        ("vit(depth=1)2", "takes name or name"),
        ("(depth=1)", "takes name or name"),
        ("", "takes name or name"),
        ("vit depth=1", "takes name or name"),
        ("vit=a", "takes name or name"),
        ("vit(12)", r"vit\(\.\.\.\) takes key=value\[,key=value\], got '12'"),
        ("vit(depth=1,depth=2)", "gives depth twice"),
    ],
)
def test_mistakes_in_a_model(text, message):
    with pytest.raises(UserError, match=f"^--models.*{message}"):
        read_model(text, "--models")


@pytest.mark.parametrize("bad", ["depth", "=3", "2x=3", ""])
def test_mistakes_in_arguments(bad):
    with pytest.raises(UserError, match=r"--set takes key=value\[,key=value\], got"):
        read_arguments([bad], "--set")
    with pytest.raises(UserError, match="--set gives depth twice"):
        read_arguments(["depth=1", "depth=2"], "--set")


def test_pairs_are_split_where_no_bracket_is_open():
    text = "vit(depth=12)=a/b=c.json"
    assert split_pair(text, "--workdirs") == ("vit(depth=12)", "a/b=c.json")
    assert split_pair("vit", "--workdirs") == ("vit", "")


def test_values():
    assert read_value("(1, 'a', None)") == (1, "a", None)
    assert read_value("{[]: 1}") == "{[]: 1}"
    assert read_value("tome:r=8") == "tome:r=8"
