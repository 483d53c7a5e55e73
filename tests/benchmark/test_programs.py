"""bench.py --programs: rows of what programs hold, for platforms that are not here."""

import csv

import pytest
from absl import flags

from tokenjax.benchmark import bench, command_line, lowering, programs
from tokenjax.errors import UserError

SMALL = "--set=patch_size=8,depth=2,embed_dim=16,num_heads=2"


def run(*arguments):
    values = flags.FlagValues()
    command_line.define_bench_flags(values)
    values(["bench.py", "--image_size=16", SMALL, *arguments])
    bench.main(["bench.py"], values)


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_for_every_platform_and_way(tmp_path, capsys):
    path = tmp_path / "rows.csv"
    run(
        *("--model=vit_tiny_patch16", "--programs=cuda,tpu,cuda", "--dtype=bfloat16"),
        *("--reduction=tome:r=1", f"--csv={path}"),
    )
    rows = read(path)
    named = [(row["Model"], row["Platform"]) for row in rows]
    name = "vit_tiny_patch16"
    assert named == [
        (name, "cuda"),
        (name, "tpu"),
        (f"{name} tome:r=1", "cuda"),
        (f"{name} tome:r=1", "tpu"),
    ]
    plain, merged = rows[0], rows[2]
    # A patch embedding, six products in each block of which none differ, and the head.
    assert (plain["Products"], plain["Distinct"]) == ("14", "8")
    assert int(merged["Distinct"]) > 8
    assert (plain["Sorts"], plain["Loops"], plain["float32"]) == ("0", "0", "0")
    assert int(merged["Sorts"]) > 0
    printed = capsys.readouterr().out
    assert "Nothing was compiled or run." in printed
    assert all(row["Model"] in printed for row in rows)


def test_what_is_in_float32_is_said_with_its_place(capsys):
    run("--model=linear_vit", "--programs=tpu", "--dtype=bfloat16")
    (line,) = (
        line
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("linear_vit, inference, bfloat16: in float32 ")
    )
    assert "1x2x5x8xbf16 · 1x2x8xf32 x2, " in line
    assert line.endswith("blocks/blocks.attend/attn/bhnd,bhd->bhn (tpu)")


def test_training_is_another_program(tmp_path):
    path = tmp_path / "rows.csv"
    run("--model=vit", "--programs=tpu", f"--csv={path}", "--train")
    (row,) = read(path)
    assert row["Mode"] == "training"
    assert int(row["Products"]) > 2.5 * 14
    assert row["of_FLOPs(%)"] == ""


def test_a_platform_without_it_has_a_row_that_says_so(capsys, monkeypatch):
    lower = lowering.lower

    def on_tpus_alone(traced, platform):
        if platform == "cuda":
            raise lowering.CannotLower("calls what cuda does not have: a_kernel")
        return lower(traced, platform)

    monkeypatch.setattr(programs.lowering, "lower", on_tpus_alone)
    run("--model=vit", "--programs=cuda,tpu")
    problem = "vit, inference, float32: calls what cuda does not have: a_kernel (cuda)"
    assert problem in capsys.readouterr().out
    with pytest.raises(UserError, match="vit calls what cuda does not have: a_kernel"):
        run("--model=vit", "--programs=cuda")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--programs=cudda"], "unknown platform 'cudda', did you mean 'cuda'"),
        (["--programs=tpu", "--peer=torch"], "runs nothing: leave --peer out"),
        (["--programs=tpu", "--json=run.json"], "runs nothing: leave --json out"),
        (["--programs=tpu", "--batch_size=auto"], "replace auto"),
        (["--programs=tpu", "--csv=/no/such/place.csv"], "does not exist"),
    ],
)
def test_what_does_not_go_with_it(arguments, message):
    with pytest.raises(UserError, match=message):
        run("--model=vit", *arguments)
