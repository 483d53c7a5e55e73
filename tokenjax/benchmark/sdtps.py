"""What SDTPS costs in DeMo: `bench.py --model sdtps`.

After the rows of the module and of the whole model follow the stages of the model
(`sdtps_stages`), compiled apart and timed in turns. Each is compared with the backbone:
the median over the rounds of the ratios within a round, and the ratio of FLOPs.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import jax
from tqdm import tqdm

from tokenjax import tables
from tokenjax.benchmark import (
    flops,
    latency,
    measure,
    memory,
    sdtps_stages,
    table,
    turns,
)
from tokenjax.errors import UserError
from tokenjax.models.demo.demo_model import DeMo
from tokenjax.tables import Column

NAME, MODEL = measure.SDTPS, measure.SDTPS_MODEL
MOST_WARMUP = 3  # rounds before the first timed one


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageRow(measure.Row):
    """A stage, and what it takes compared with the backbone."""

    time_ratio: float
    flops_ratio: float


def _percent(name: str) -> Callable[[measure.Row], float | None]:
    def value(row: measure.Row) -> float | None:
        return 100 * getattr(row, name) if isinstance(row, StageRow) else None

    return value


RATIOS: tuple[Column[measure.Row], ...] = (
    Column("Time/backbone(%)", _percent("time_ratio"), ".2f"),
    Column("FLOPs/backbone(%)", _percent("flops_ratio"), ".2f"),
)
COLUMNS = (*table.COLUMNS, *RATIOS)
STAGE_COLUMNS: tuple[Column[measure.Row], ...] = (
    Column("Stage", lambda row: row.model.removeprefix(f"{MODEL}: "), "s"),
    *table.chosen_columns(
        *["Params(M)", "Batch", "GFLOPs", "Latency_median(ms)"],
        *["Latency_std(ms)", "Latency_p90(ms)"],
    ),
    *RATIOS,
)


def check(arguments: Mapping[str, object], dtype: str, image_size: int) -> None:
    """Refuse arguments that DeMo does not take with both fusions.

    Raises: UserError.
    """
    if "fusion" in arguments:
        raise UserError("--set fusion: with --model sdtps the benchmark sets it")
    _, control = _models(arguments, dtype, image_size)
    if control:
        control.make_fusion()


def _models(
    arguments: Mapping[str, object], dtype: str, image_size: int
) -> tuple[DeMo, DeMo | None]:
    """Build DeMo with SDTPS, and the control if its fusion takes the modalities."""

    def build(arguments: Mapping[str, object]) -> DeMo:
        return cast(DeMo, measure.build(MODEL, arguments, dtype, image_size)[0])

    model = build(arguments)
    if len(model.modalities) != 3:
        return model, None
    return model, build({**arguments, "fusion": "hdm_atm"})


def measure_stages(
    arguments: Mapping[str, object],
    batch_size: int,
    dtype: str,
    image_size: int,
    timing: latency.Timing,
) -> list[StageRow]:
    """Measure the stages under a progress bar; repeats and warm-ups are rounds.

    Raises:
      UserError: a batch too big for the device.
    """
    model, control = _models(arguments, dtype, image_size)
    label = f"stages, batch {batch_size}"
    with measure.fitting(MODEL, batch_size):
        with tqdm(unit="stage", desc=f"compiling {label}") as bar:
            stages = sdtps_stages.make_stages(model, control, batch_size, bar.update)
        with tqdm(total=timing.repeats, unit="round", desc=label) as bar:
            in_turns = dataclasses.replace(
                timing, warmup=min(timing.warmup, MOST_WARMUP), on_call=bar.update
            )
            rows = _time(stages, batch_size, dtype, in_turns)
            bar.update(timing.repeats - bar.n)  # the time budget may skip rounds
    return rows


def _time(
    stages: Sequence[sdtps_stages.Stage],
    batch_size: int,
    dtype: str,
    timing: latency.Timing,
) -> list[StageRow]:
    contestants = [
        turns.Contestant(each.name, each.flops / batch_size, each.compiled, each.calls)
        for each in stages
    ]
    device = jax.devices()[0]
    costs = turns.compare(MODEL, contestants, batch_size, timing)
    return [
        StageRow(
            model=f"{MODEL}: {stage.name}",
            parameters=stage.parameters,
            batch_size=batch_size,
            inputs=stage.inputs,
            flops=stage.flops,
            latency=dataclasses.replace(
                cost.latency, compile_seconds=stage.compile_seconds
            ),
            memory=memory.peak_memory(
                stage.compiled, device, memory.device_peak(device)
            ),
            dtype=dtype,
            device=device.device_kind,
            queued=cost.queued,
            time_ratio=cost.ratio,
            flops_ratio=cost.ideal,
        )
        for stage, cost in zip(stages, costs, strict=True)
    ]


def format_stages(rows: Sequence[StageRow]) -> str:
    """Return the table of the stages, how it was found, and what SDTPS adds."""
    rounds = "-".join(
        map(str, sorted({row.latency.repeats for row in rows if row.latency}))
    )
    both = [row for row in rows if row.model == f"{MODEL}: {sdtps_stages.BOTH}"]
    lines = [
        f"Stages of {MODEL} in inference, each compiled apart and timed in turns "
        f"({rounds} rounds after at most {MOST_WARMUP} to warm up):",
        "",
        *tables.text_lines(rows, STAGE_COLUMNS),
        "",
        f"{flops.CONVENTION}. One image is one of every modality.",
        "Time/backbone: median over the rounds.",
        "heads: for training; whole, which is for retrieval, is without them.",
        "HDM + ATMoE: what the control has in place of selection + aggregation.",
    ]
    lines += [
        f"SDTPS, batch {row.batch_size}: {row.time_ratio:.2%} of the backbone's time, "
        f"{row.flops_ratio:.2%} of its FLOPs."
        for row in both
    ]
    return "\n".join(lines)
