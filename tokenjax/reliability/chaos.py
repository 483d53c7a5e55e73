"""Kill a training run many times at random moments; it must end as if undisturbed.

    python -m tokenjax.reliability.chaos --kills 50 --workdir runs/chaos
    python -m tokenjax.reliability.chaos --kills 50 --workdir runs/chaos2 --processes 2

One run goes undisturbed. Another is killed (`kills` tells when and how) and started
again with the same command, until no kill is left, and then to its end. A kill is
survived if all checkpoints that it left are whole, and if the run that went on from
them logged, step by step, the very losses and gradient norms of the undisturbed one. At
the end both states, optimiser and averages included, are held to each other bit by bit.

Writes chaos.json and chaos.md to the workdir; the exit status is 1 if a kill was not
survived. Output of the killed processes: killed/log-*.txt.
"""

import dataclasses
import json
import pathlib
import runpy
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import tqdm
from absl import flags

from tokenjax import path_flags, storage, tables
from tokenjax.errors import UserError
from tokenjax.reliability import kills
from tokenjax.reliability.processes import RunningProcesses
from tokenjax.tables import Column

WORKDIR = "runs/chaos"
COMPARED = ("train/loss", "train/gradient_norm")


@dataclasses.dataclass(frozen=True)
class Plan:
    """Settings of a chaos run."""

    config: str
    overrides: list[str]
    kills: int
    processes: int
    steps: int
    save_every: int
    seed: int
    patience: float

    def start(self, workdir: pathlib.Path) -> RunningProcesses:
        """Start the run's command, for the first time or again."""
        settings = [
            *self.overrides,
            f"steps={self.steps}",
            "log_every_steps=1",
            "evaluate_every_epochs=1e9",  # at the end alone
            f"checkpoint.every_steps={self.save_every}",
        ]
        arguments = ["--config", self.config, "--workdir", str(workdir)]
        arguments += [f"--config.{setting}" for setting in settings]
        return RunningProcesses(self.processes, arguments, workdir, join_seconds=120)


def define_flags(values: flags.FlagValues) -> None:
    """Define the run, and its kills."""
    options: Any = {"flag_values": values}
    flags.DEFINE_string(
        "config", "configs/vdpa.py", "configs/NAME.py[:variant]", **options
    )
    flags.DEFINE_list(
        "overrides",
        "data.image_size=16,model.embed_dim=16,model.depth=1,model.num_heads=2,"
        "model.drop=0.1,ema_decay=0.9,schedule.warmup_epochs=0",
        "laid over the configuration, to make it small and quick: key=value,...",
        **options,
    )
    flags.DEFINE_integer("kills", 50, "how many", 1, **options)
    path_flags.define("workdir", "", f"default: {WORKDIR}; must not exist yet", values)
    flags.DEFINE_integer("processes", 1, "of the run, on this machine", 1, **options)
    flags.DEFINE_integer("steps", 0, "of the run; 0: 20 for every kill", 0, **options)
    flags.DEFINE_integer("save_every", 5, "steps", 1, **options)
    flags.DEFINE_integer("seed", 0, "of the kills", **options)
    flags.DEFINE_float(
        "patience",
        300.0,
        "seconds until a process that survived the other is ended",
        **options,
    )


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Run, kill, print the verdict; exit status 1 if a kill was not survived.

    Raises: UserError for whatever a user can mend.
    """
    plan = Plan(
        config=values.config,
        overrides=values.overrides,
        kills=values.kills,
        processes=values.processes,
        steps=values.steps or 20 * values.kills,
        save_every=values.save_every,
        seed=values.seed,
        patience=values.patience,
    )
    report = run(plan, pathlib.Path(values.workdir or WORKDIR))
    print(table(report))
    if not report["passed"]:
        sys.exit(1)


def run(plan: Plan, root: pathlib.Path) -> dict[str, Any]:
    """Do both runs and report them; write chaos.json and chaos.md.

    Raises: UserError if the directory is in use, or a run fails unkilled.
    """
    if root.exists() and any(root.iterdir()):
        raise UserError(f"{root} is not empty; name another --workdir, or delete it")
    calm, killed = root / "undisturbed", root / "killed"
    print(f"{plan.steps} steps undisturbed, in {calm}", flush=True)
    _to_the_end(plan, calm)
    expected = _fingerprints(calm)
    planned = kills.plan(plan.kills, plan.steps, plan.processes, plan.seed)
    outcomes: list[kills.Outcome] = []
    same: list[bool] = []  # whether what a kill was dealt to had gone as it should
    for kill in tqdm.tqdm(planned, unit="kill"):
        outcomes.append(kills.strike(kill, plan.start(killed), killed, plan.patience))
        same.append(_agree(_fingerprints(killed), expected))
    _to_the_end(plan, killed)
    same.append(_fingerprints(killed) == expected)
    rows = [
        _row(kill, outcome, before, after)
        for kill, outcome, before, after in zip(
            planned, outcomes, same[:-1], same[1:], strict=True
        )
    ]
    identical = _same_state(calm, killed)
    survived = sum(row["survived"] for row in rows)
    report = {
        "plan": dataclasses.asdict(plan),
        "survived": survived,
        "hit": sum(row["hit"] for row in rows),
        "identical": identical,
        "passed": survived == len(rows) and identical,
        "kills": rows,
    }
    storage.write_json(root / "chaos.json", report)
    with storage.replacing(root / "chaos.md") as temporary:
        temporary.write_text(table(report), encoding="utf-8")
    return report


def _statuses(row: dict[str, Any]) -> str:
    ended = ", ".join(map(str, row["statuses"]))
    return ended + " (a survivor was ended)" * (row["ended_by"] == "launcher")


COLUMNS: tuple[Column[dict[str, Any]], ...] = (
    Column("kill", lambda row: row["number"], "d"),
    Column("kind", lambda row: row["kind"]),
    Column("moment", lambda row: row["moment"]),
    Column("step", lambda row: row["logged"], "d"),
    Column("while saving", lambda row: _yes(row["during_save"])),
    Column("exit", _statuses),
    Column("after, s", lambda row: row["seconds"], ".1f"),
    Column(
        "checkpoints found", lambda row: ", ".join(map(str, row["found"])) or "none"
    ),
    Column("half-written left", lambda row: _yes(row["leftover"])),
    Column("survived", lambda row: _yes(row["survived"])),
)


def table(report: dict[str, Any]) -> str:
    """Return the report as Markdown, the verdict last."""
    count = len(report["kills"])
    verdict = "bit-identical" if report["identical"] else "NOT identical"
    lines = [
        tables.markdown(report["kills"], COLUMNS),
        f"{report['survived']} of {count} kills survived ({report['hit']} met a run "
        f"at work); the final state is {verdict} to that of the undisturbed run.",
    ]
    return "\n".join(lines) + "\n"


def _row(
    kill: kills.Kill, outcome: kills.Outcome, before: bool, after: bool
) -> dict[str, Any]:
    return {
        **dataclasses.asdict(kill),
        "kind": kill.kind,
        **dataclasses.asdict(outcome),
        # If it went wrong before, this kill is not to blame; nor is it proven innocent.
        "survived": outcome.whole and before and after,
    }


def _to_the_end(plan: Plan, workdir: pathlib.Path) -> None:
    """Start the run and wait for its end.

    Raises: UserError if the run fails.
    """
    processes = plan.start(workdir)
    try:
        while (statuses := processes.wait(3600)) is None:
            pass
    finally:
        processes.end()
    if any(statuses):
        raise UserError(f"the run failed without a kill:\n{processes.output()}")


def _fingerprints(workdir: pathlib.Path) -> dict[int, tuple[float, ...]]:
    """Return loss and gradient norm by step, as metrics.jsonl has them."""
    found = {}
    path = workdir / "metrics.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:  # a kill cut it short
            break
        if COMPARED[0] in row:
            found[row["step"]] = tuple(row[key] for key in COMPARED)
    return found


def _agree(found: dict[int, tuple], expected: dict[int, tuple]) -> bool:
    return all(expected.get(step) == values for step, values in found.items())


def _same_state(first: pathlib.Path, second: pathlib.Path) -> bool:
    """Return whether the newest states have the same arrays, bit for bit."""
    import jax

    trees: list[dict] = []
    for workdir in (first, second):
        files = kills.CheckpointFiles(workdir / kills.FOLDER)
        newest = files.steps()[-1]
        tree = storage.read_arrays(files.directory(newest) / "state")
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        trees.append(
            {
                (newest, jax.tree_util.keystr(path)): (x.shape, x.dtype, x.tobytes())
                for path, x in ((path, np.asarray(leaf)) for path, leaf in leaves)
            }
        )
    return trees[0] == trees[1]


def _yes(value: bool) -> str:
    return "yes" if value else "no"


if __name__ == "__main__":
    runpy.run_module("tokenjax.commands.chaos", run_name="__main__")
