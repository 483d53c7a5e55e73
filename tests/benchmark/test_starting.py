"""The time to a first result by parts: what the events mean, and real processes."""

import signal

import pytest

from tokenjax import timed_process
from tokenjax.benchmark import starting, starting_cases
from tokenjax.benchmark.starting import Case, Ended
from tokenjax.errors import UserError

VDPA = Case("vdpa", "bench", ("--models=vdpa",))


def event(kind, name, start, end):
    return {"kind": kind, "name": name, "start": start, "end": end}


EVENTS = [
    event("begun", "", 102.0, 102.0),
    event("import", "jax", 102.0, 103.0),
    event("trace", "init", 103.0, None),
    event("import", "jax.experimental", 103.25, 103.5),  # within: it counts as tracing
    event("trace", "init", 103.0, 104.0),
    event("trace", "step", 106.0, 107.0),
    event("lower", "step", 107.0, 107.5),
    event("compile", "step", 107.5, None),
    event("read", "", 107.5, 109.0),
    event("compile", "step", 107.5, 110.0),
    event("result", "NVIDIA H100", 111.0, 111.0),
]


def test_the_parts_make_up_the_whole():
    row = starting.summarize(VDPA, True, Ended(100.0, 111.5, 9.0, 0, ""), EVENTS)
    assert row.parts == {
        "python": 2.0,
        "import": 1.0,
        "trace": 2.0,
        "lower": 0.5,
        "compile": 2.5,
        "other": 3.0,
    }
    assert row.seconds == sum(row.parts.values()) == 11.0
    assert (row.programs, row.read, row.processor) == (1, 1, 9.0)
    assert row.device == "NVIDIA H100"
    assert row.problem == ""
    assert row.longest == {
        "step": {"trace": 1.0, "lower": 0.5, "compile": 2.5},
        "init": {"trace": 1.0},
    }
    assert row.gaps[:2] == [
        (2.0, "trace init", "trace step"),
        (1.0, "compile step", "first result"),
    ]
    line = starting.table([row]).splitlines()[-1]
    shown = "vdpa bench warm 11.0 9.0 2.0 1.0 2.0 0.5 2.5 3.0 1 1 step 4.0"
    assert " ".join(line.split()) == shown


def test_what_is_ended_says_what_it_was_at():
    """While it compiled: the end of that never came."""
    ended = Ended(100.0, 160.0, 30.0, -signal.SIGKILL, "")
    row = starting.summarize(VDPA, False, ended, EVENTS[:8])
    assert row.problem == "no result in 60 s, for 52 s at: compile step"
    assert row.parts["compile"] == 52.5
    assert row.seconds == 60.0
    assert "step 54.0" in starting.table([row])
    before = starting.summarize(VDPA, False, ended, [])
    assert before.problem == "no result in 60 s"
    assert before.parts["python"] == 60.0


def test_what_fails_says_why():
    said = "note: x\nerror: unknown model 'vpda'\n"
    ended = Ended(100.0, 103.0, 3.0, 2, said)
    row = starting.summarize(VDPA, False, ended, EVENTS[:2])
    assert row.problem == "ended with status 2: error: unknown model 'vpda'"


def test_what_is_started(tmp_path):
    options = {
        "models": ["sdtps", "vit(depth=2)"],
        "configs": ["configs/vdpa.py:digits"],
        "train": True,
        "batch_size": 8,
        "dtype": "bfloat16",
        "image_size": 0,
    }
    cases = starting_cases.choose(options | {"configs": ["configs/vdpa.py"]})
    assert [(case.name, case.command) for case in cases] == [
        ("sdtps", "bench"),
        ("vit(depth=2)", "bench"),
        ("configs/vdpa.py", "train"),
    ]
    assert {"--models=sdtps", "--batch_size=8", "--train"} <= set(cases[0].flags)
    assert cases[2].flags == ("--config=configs/vdpa.py",)
    only = starting_cases.choose(
        options | {"models": [], "configs": ["configs/vit.py"]}
    )
    assert [case.name for case in only] == ["configs/vit.py"]
    every = starting_cases.choose(options | {"models": [], "configs": []})
    names = [case.name for case in every]
    assert {"vdpa", "vit", "sdtps", "demo", "resnet50"} <= set(names)
    assert not {"maxvit", "swin", "lightweight_vit"} & set(names), "names of others"
    for wrong, sentence in (
        ({"dtype": "float8"}, "--dtype must be one of"),
        ({"models": ["vpda"]}, "did you mean"),
        ({"models": [], "configs": ["configs/none.py"]}, "none.py"),
    ):
        with pytest.raises(UserError, match=sentence):
            starting_cases.choose(options | {"configs": []} | wrong)


def test_time_that_is_over():
    """Nothing is started, and nothing said of it but that."""
    assert starting.measure([VDPA], True, 10.0, 0.0, pytest.fail) == []


def test_imports_are_timed(tmp_path, monkeypatch):
    """The outermost, and only what takes time."""
    moments = iter([1.0, 1.5, 2.0, 2.0])
    monkeypatch.setattr(timed_process.time, "time", lambda: next(moments))
    path = tmp_path / "events.jsonl"
    with open(path, "w") as file:
        recorder = timed_process.Recorder(file)

        def load(name, inner=None):
            return inner and inner("within")

        timed = recorder.timed(load)
        timed("outer", timed)
        timed("quick")
    assert starting._read(path.read_text().splitlines()) == [
        event("import", "outer", 1.0, 1.5)
    ]


TINY = "vit(img_size=16,patch_size=8,embed_dim=16,depth=1,num_heads=2)"


@pytest.mark.long  # two processes that import and compile
def test_real_processes(tmp_path):
    """Cold and warm; and one that is not given the time."""
    flags = (f"--models={TINY}", *starting_cases.ONE_CALL)
    case = Case(TINY, "bench", flags)
    told = []
    rows = starting.measure(
        [case], True, 200.0, 1e12, lambda rows: told.append(len(rows))
    )
    assert told == [1, 2]
    cold, warm = rows
    assert [row.problem for row in rows] == ["", ""]
    assert (cold.read, cold.warm, warm.warm) == (0, False, True)
    for row in rows:
        assert row.parts["other"] > 0
        assert row.parts["import"] > 0.1
        assert row.programs == 1, row.longest
        assert 0 < row.parts["compile"] < row.seconds
    [short] = starting.measure([case], False, 0.5, 1e12, lambda _: None)
    assert short.problem.startswith("no result in 0 s")
