"""Methods by name: how they are written, what is refused, and one of a user's own."""

import dataclasses
import sys
from typing import Annotated

import jax
import pytest
from helpers import documents
from helpers.entry_points import run_in_process
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax import models, plugins
from tokenjax.arguments import Written, check_all
from tokenjax.errors import UserError
from tokenjax.models import reduction
from tokenjax.models.reduction import EncoderFacts, Reducer, methods

SIZES = {"num_heads": 2, "depth": 4, "img_size": 16, "patch_size": 4, "embed_dim": 16}
BRIEF = "img_size=16,patch_size=4,embed_dim=16,depth=4,num_heads=2"
CONFIG = """
from tokenjax.training import default_config

def get_config():
    config = default_config()
    config.model.update(name="vit", embed_dim=16, depth=4, num_heads=2)
    config.data.source = "digits"
    return config
"""


@pytest.fixture
def registered():
    """Puts back what a test registers."""
    before = dict(methods.METHODS._things)
    yield
    methods.METHODS._things = before


SCHEDULES = st.one_of(
    st.integers(0, 16),
    st.lists(st.integers(0, 16), min_size=3, max_size=5),
    st.tuples(st.integers(0, 16), st.floats(-1, 1)),
)


@settings(max_examples=50)
@given(SCHEDULES, st.booleans())
def test_what_is_kept_reads_as_what_was_given(r, prop_attn):
    """As text, as a dict, and again."""
    given = {"name": "tome", "r": r, "prop_attn": prop_attn}
    kept = methods.write(given, "reduction")
    assert isinstance(kept, str)
    assert methods.write(kept, "reduction") == kept
    name, arguments = methods.read(kept)
    assert (name, arguments) == methods.read(given)
    assert arguments["prop_attn"] is prop_attn
    assert arguments["r"] == (tuple(r) if isinstance(r, list) else r)
    kinds = [type(each) for each in (r if isinstance(r, list | tuple) else [r])]
    found = arguments["r"] if isinstance(arguments["r"], tuple) else [arguments["r"]]
    assert [type(each) for each in found] == kinds


def test_a_model_keeps_the_text():
    by_text = models.create("vit", **SIZES, reduction=" tome : r = [1, 2] ")
    by_name = models.create("vit", **SIZES, reduction={"name": "tome", "r": (1, 2)})
    assert by_text.reduction == by_name.reduction == "tome:r=(1,2)"
    assert by_text == by_name
    assert hash(by_text) == hash(by_name)
    assert models.create("vit", **SIZES, reduction="tome").reduction == "tome"


def test_none_is_no_method():
    for nothing in (None, "none"):
        assert methods.write(nothing, "reduction") is None
        assert methods.build(nothing) is None
        assert models.create("vit", **SIZES, reduction=nothing).reduction is None


WRONG = [
    ("tom:r=3", "unknown method 'tom', did you mean 'tome'"),
    ("tome(r=3)", "unknown method 'tome(r=3)', did you mean 'tome'"),
    ("", "unknown method ''"),
    ("tome:R=3", "unknown argument of tome 'R', did you mean 'r'"),
    ("tome:keep=0.5", "unknown argument of tome 'keep'"),
    ("tome:", "tome takes key=value"),
    ("tome:r", "tome takes key=value[,key=value], got 'r'"),
    ("tome:r=(1,2", "a ')' is missing"),
    ("tome:r=1,r=2", "gives r twice"),
    ("tome:r=x", "tome: r must be int"),
    ("tome:r=-3", "tome: r must be at least"),
    ("tome:r=17", "cannot merge 17 tokens in one block, the image has 16 patches"),
    ("tome:r=(1,2,3,4,5)", "r has 5 entries, but the model has 4 blocks"),
    ("tome:r=(4,2.5)", "the inflection is from -1.0 to 1.0"),
    ("tome:keep_rate=0.5", "keep_rate and reduction_loc go together"),
    ("tome:keep_rate=(8,4),reduction_loc=(1,)", "keep_rate has 2 entries for 1 places"),
    ("tome:keep_rate=0.5,reduction_loc=(1,4)", "block 4, and the model has blocks 0 t"),
    ("tome:keep_rate=0.5,reduction_loc=(2,1)", "must be ascending blocks, got (2, 1)"),
    ("tome:keep_rate=0.5,reduction_loc=(1,1)", "must be ascending blocks, got (1, 1)"),
    ("tome:keep_rate=(8,9),reduction_loc=(1,2)", "of 16 patches grow"),
    ("tofu:ratio=0.4", "tofu: ratio must be within [0.5, 1], got 0.4"),
    ("ats", "ATS acts at block 6, and the model has blocks 0 to 3"),
    ("ats:keep_rate=(6,1),reduction_loc=(1,2)", "1 samples no patch"),
    ({"r": 3}, "{'r': 3} does not say which method it is of"),
    ({"name": "tome", "q": 3}, "unknown argument of tome 'q'"),
    (3, "reduction must be str"),
    (["tome"], "reduction must be str"),
]


@pytest.mark.parametrize(("written", "part"), WRONG)
def test_what_does_not_fit_is_a_sentence(written, part):
    with pytest.raises(UserError) as error:
        models.create("vit", **SIZES, reduction=written)
    assert part in str(error.value)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("written", "part"),
    [
        ("tom:r=3", "vit: reduction: unknown method 'tom', did you mean 'tome'"),
        ("tome:q=3", "vit: reduction: unknown argument of tome 'q'"),
        ("tome:r=99", "cannot merge 99 tokens in one block"),
        ("tome:r=(1,2,3,4,5)", "r has 5 entries, but the model has 4 blocks"),
    ],
)
def test_it_is_status_2_from_the_command_line(tmp_path, written, part):
    config = tmp_path / "mine.py"
    config.write_text(CONFIG)
    flags = ("--config", config, f"--config.model.reduction={written}")
    trained = run_in_process("train", *flags, "--workdir", tmp_path / "run")
    measured = run_in_process("bench", f"--models=vit({BRIEF},reduction={written!r})")
    for finished in (trained, measured):
        assert finished.returncode == 2
        assert part in finished.stderr
        assert len(finished.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_method_that_asks_a_class_token_which_is_not_there():
    facts = EncoderFacts(
        depth=4,
        patches=16,
        protected=0,
        class_token=False,
        distilled=False,
        width=16,
        num_heads=2,
    )
    method = methods.build("ats:keep_rate=0.5,reduction_loc=(1,)")
    assert set(method.places(facts._replace(protected=1, class_token=True))) == {1}
    with pytest.raises(UserError, match="ATS chooses by the attention"):
        method.places(facts)
    assert set(methods.build("tome:r=2").places(facts)) == {0, 1, 2, 3}
    sizes = SIZES | {"class_token": False, "global_pool": "avg"}
    with pytest.raises(UserError, match="TopK chooses by the attention"):
        models.create("vit_base_patch16", **sizes, reduction="topk")
    assert models.create("vit_base_patch16", **sizes, reduction="tome:r=2").reduction


def test_register(registered):
    class Mine(Reducer):
        rate: float = 0.5

    reduction.register("mine", Mine)
    reduction.register("mine", Mine)  # a cell that is run again
    assert "mine" in reduction.names()
    assert reduction.build("mine:rate=0.25") == Mine(rate=0.25, parent=None)

    class Other(Reducer):
        pass

    with pytest.raises(UserError, match="there is a reduction 'mine' already"):
        reduction.register("mine", Other)
    for name in ("none", "my-method", "a:b", "", 3):
        with pytest.raises(UserError, match="a reduction's name is a word"):
            reduction.register(name, Other)
    for thing in (object, lambda: None, Other(parent=None)):
        with pytest.raises(UserError, match="'thing' must be a class derived from"):
            reduction.register("thing", thing)

    class Wrong(Reducer):
        rate: float = "half"

    with pytest.raises(UserError, match="'wrong': the default of rate must be float"):
        reduction.register("wrong", Wrong)


def test_a_method_in_a_file_of_ones_own(registered, tmp_path, monkeypatch):
    """The one that docs/extend.md shows."""
    programs = documents.programs(documents.read("docs/extend.md"))
    (program,) = [each for each in programs if "reduction.register" in each]
    (tmp_path / "my_method.py").write_text(program)
    monkeypatch.chdir(tmp_path)
    flags = (f"--models=vit({BRIEF},reduction='longest_values:drop=2')", "--import")
    try:
        finished = run_in_process("bench", *flags, "my_method.py")
        plugins.import_modules(["my_method.py"])
    finally:
        sys.modules.pop("my_method", None)
    assert finished.returncode == 2
    assert "longest_values: drop must be within [0, 1), got 2" in finished.stderr
    written = "longest_values:blocks=(1,3)"
    model = models.create("vit", **SIZES, reduction=written)
    images = model.example_inputs(2)
    logits, aux = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), *images)[0]
    )
    assert logits.shape == (2, 10)
    assert aux["tokens"].shape == (2, 1 + 9, 16)  # 16, 12, 9 patches
    found = [each and each["map"].shape for each in aux["reduction"]]
    assert found == [None, (2, 17), None, (2, 13)]
    assert aux["reduction"][3]["scores"].shape == (2, 12)


def test_a_written_argument_is_kept_as_it_is_written():
    def double(value, where):
        if value < 0:
            raise UserError(f"{where} is below 0")
        return 2 * value

    @dataclasses.dataclass
    class Holder:
        amount: Annotated[int, Written(double), "how much"] = 1

    assert check_all({"amount": 3}, Holder, "argument", "holder: ") == {"amount": 6}
    with pytest.raises(UserError, match=r"^holder: amount is below 0"):
        check_all({"amount": -3}, Holder, "argument", "holder: ")
    with pytest.raises(UserError, match=r"^holder: amount must be int"):
        check_all({"amount": "x"}, Holder, "argument", "holder: ")
