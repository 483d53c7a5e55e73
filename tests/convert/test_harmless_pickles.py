"""What trainers store beside weights is read past; what could run code is refused."""

import argparse
import collections
import datetime
import functools
import os
import pathlib
import pickle
import random
import types
import uuid

import numpy as np
import pytest

from tokenjax import convert
from tokenjax.convert import inert_globals
from tokenjax.convert.checkpoint_files import read_state_dict
from tokenjax.convert.pickle_files import read_pickle

torch = pytest.importorskip("torch", minversion="2.10")

HARMLESS = {
    "arguments": argparse.Namespace(lr=1e-3, output=pathlib.Path("runs/x"), type=float),
    "score": np.float64(0.9),
    "scores": [np.float32(1), np.int64(2), np.bool_(True), np.str_("a")],
    "classes": np.arange(10),
    "names": np.array(["cat", "dog"]),
    "objects": np.array([1, None, "x"], object),
    "empty": np.zeros((0, 3), np.float16),
    "types": [np.dtype("f4"), np.float64, torch.float16, torch.Size([2])],
    "ordered": collections.OrderedDict(a=1),
    "lists": collections.defaultdict(list, {"loss": [0.5, 0.4]}),
    "recent": collections.deque([1, 2], maxlen=3),
    "milestones": collections.Counter([30, 60]),
    "paths": [pathlib.Path("/a/b"), pathlib.PureWindowsPath("C:/a")],
    "when": [
        datetime.datetime(2024, 1, 2, 3, 4, tzinfo=datetime.UTC),
        datetime.date(2024, 1, 2),
        datetime.timedelta(1),
    ],
    "random": [random.getstate(), np.random.RandomState(0).get_state()],
    "generator": np.random.default_rng(0),
    "torch": torch.__version__,
    "more": [types.SimpleNamespace(a=1), uuid.UUID(int=3), {1, 2}, range(3), 1j, b"a"],
}


def tensors(state):
    return {key: torch.from_numpy(array) for key, array in state.items()}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("kind", HARMLESS)
def test_harmless_things_beside_the_weights(tmp_path, state, kind, old):
    content = {kind: HARMLESS[kind], "model": tensors(state), "after": HARMLESS[kind]}
    path = tmp_path / "weights.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    read = read_state_dict(path)
    assert read.keys() == state.keys()
    for key, array in state.items():
        np.testing.assert_array_equal(read[key], array)


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_the_names_of_both_numpys(tmp_path, state, module):
    """Pickles of numpy 1 and 2 differ in one name of a module."""
    content = {"model": tensors(state), "best": np.float64(0.9), "a": np.arange(3)}
    raw = tmp_path / "weights.pth"
    torch.save(content, raw, _use_new_zipfile_serialization=False)
    changed = raw.read_bytes().replace(b"numpy._core.multiarray", module.encode())
    raw.write_bytes(changed)
    assert b"c" + module.encode() in changed
    assert read_state_dict(raw).keys() == state.keys()


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def refused(tmp_path):
    """Things that a pickle may call, by the name that must be said."""
    proof = str(tmp_path / "code_ran")
    code = f"__import__('os').mkdir({proof!r})"
    return {
        "posix.mkdir": Call(os.mkdir, proof),
        "eval": Call(eval, code),
        "exec": Call(exec, code),
        "getattr": Call(getattr, argparse.Namespace(a=1), "a"),
        "functools.partial": functools.partial(os.mkdir, proof),
        "numpy.fromfile": Call(np.fromfile, proof),
        "pathlib.Path.mkdir": Call(pathlib.Path.mkdir, pathlib.Path(proof)),
        "torch.nn.modules.linear.Linear": torch.nn.Linear(2, 2),
    }


NAMES = [*refused(pathlib.Path("unused"))]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("writer", ["torch", "old torch", "pickle"])
def test_all_else_is_refused_by_name(tmp_path, name, writer):
    hostile = refused(tmp_path)[name]
    holders = [
        hostile,
        argparse.Namespace(x=hostile),
        collections.defaultdict(list, {"x": hostile}),
        np.array([hostile, 1], object),
    ]
    for holder in holders:
        content = {"model": {"a": np.ones(2, np.float32)}, "args": holder}
        path = tmp_path / "weights.pth"
        if writer == "pickle":
            path.write_bytes(pickle.dumps(content, protocol=2))
        else:
            new = writer == "torch"
            torch.save(content, path, _use_new_zipfile_serialization=new)
        with pytest.raises(convert.ConversionError) as caught:
            read_state_dict(path)
        said = str(caught.value)
        assert "refused" in said
        assert "could run code" in said
        if (
            name != "pathlib.Path.mkdir"
        ):  # by getattr in one protocol, dotted in another
            assert name in said
    assert not (tmp_path / "code_ran").exists()


@pytest.mark.parametrize(
    "kind", ["arguments", "score", "paths", "when", "generator", "torch", "more"]
)
def test_stand_ins_are_made_not_what_bears_the_name(tmp_path, kind):
    thing = HARMLESS[kind][0] if isinstance(HARMLESS[kind], list) else HARMLESS[kind]
    torch.save({"a": torch.ones(2), "x": thing}, tmp_path / "weights.pth")
    before = set(torch.serialization.get_safe_globals())
    made = read_pickle(tmp_path / "weights.pth")["x"]
    assert not isinstance(made, type(thing))
    assert type(made).__mro__[1].__module__ == inert_globals.__name__
    again = read_pickle(tmp_path / "weights.pth")["x"]
    assert type(again) is not type(made)  # what a pickle sets on a class ends with it
    assert set(torch.serialization.get_safe_globals()) == before


ARRAYS = {
    "w": np.arange(6, dtype=np.float32).reshape(2, 3),
    "columns": np.arange(6.0).reshape(2, 3).T,
    "half": np.arange(3, dtype=np.float16),
    "big endian": np.arange(3, dtype=">f4"),
    "scalar": np.array(1.5),
    "none": np.zeros((0, 2)),
    "part": np.arange(12).reshape(3, 4)[:, ::2],
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "wrap",
    [
        dict,
        collections.OrderedDict,
        lambda arrays: {
            "model": arrays,
            "epoch": np.int64(3),
            "date": HARMLESS["when"],
        },
    ],
)
def test_numpy_arrays_that_pickle_wrote(tmp_path, protocol, wrap):
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps(wrap(ARRAYS), protocol=protocol))
    read = read_state_dict(path)
    assert read.keys() == ARRAYS.keys()
    for key, array in ARRAYS.items():
        assert read[key].dtype == array.dtype
        np.testing.assert_array_equal(read[key], array)


def test_numpy_arrays_that_torch_wrote(tmp_path):
    torch.save({"model": ARRAYS}, tmp_path / "weights.pth")
    read = read_state_dict(tmp_path / "weights.pth")
    for key, array in ARRAYS.items():
        np.testing.assert_array_equal(read[key], array)


class Lying:
    """Pickles as a numpy array whose state is any."""

    def __init__(self, *state):
        self.state = state

    def __reduce__(self):
        function, arguments, _ = np.ones(2).__reduce__()
        return function, arguments, self.state


@pytest.mark.parametrize(
    ("state", "part"),
    [
        ((1, (3,), np.dtype("f4"), False, bytes(8)), "claims the shape (3,) for 2"),
        ((1, (-2,), np.dtype("f4"), False, bytes(8)), "claims the shape (-2,)"),
        ((1, (2**40,), np.dtype("f4"), False, bytes(8)), "for 2 numbers"),
        ((1, (2,), np.dtype("f4"), False, bytes(7)), "no ordinary tensor"),
        ((1, (1,), np.dtype("O"), False, [None]), "other things than numbers"),
        ((1, (1,), "f4", False, bytes(4)), "other things than numbers"),
        ((1, "ab", np.dtype("f4"), False, bytes(8)), "no tuple of numbers"),
        ((1, 2), "unpack"),
    ],
)
def test_numpy_arrays_that_lie(tmp_path, state, part):
    for writer in (torch.save, lambda x, path: path.write_bytes(pickle.dumps(x))):
        writer({"a": np.ones(2), "b": Lying(*state)}, tmp_path / "weights.pkl")
        with pytest.raises(convert.ConversionError) as caught:
            read_state_dict(tmp_path / "weights.pkl")
        assert part in str(caught.value)


def test_tensors_that_pickle_wrote_are_refused(tmp_path):
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps({"a": torch.ones(2)}))
    with pytest.raises(convert.ConversionError, match=r"by torch\.save, or \.safete"):
        read_state_dict(tmp_path / "weights.pkl")


def test_a_name_in_a_refusal_fits_its_line(tmp_path):
    names = b"".join(
        b"X" + len(name).to_bytes(4, "little") + name
        for name in (b"os\nx\x1b", b"a" * 1000)
    )
    (tmp_path / "weights.pkl").write_bytes(b"\x80\x04" + names + b"\x93.")
    with pytest.raises(convert.ConversionError) as caught:
        read_state_dict(tmp_path / "weights.pkl")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700
