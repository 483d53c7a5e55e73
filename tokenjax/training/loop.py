"""The training loop: one for all tasks.

Reads top to bottom: mesh, state (new, initialised or resumed), batches ahead of time on
the devices, step, log, evaluate, save; at the end the final evaluation and its figures.
The same (settings, device count) gives the same parameters bit for bit, cut or not.
"""

import contextlib
import dataclasses
import functools
import itertools
import pathlib
import threading
from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeAlias

import jax
import numpy as np
from flax.typing import VariableDict

from tokenjax import compiling, data, disk_errors
from tokenjax.card import Card
from tokenjax.errors import UserError
from tokenjax.training import evaluate, plateau
from tokenjax.training.checkpoints import Checkpoints
from tokenjax.training.distribution import cluster, devices
from tokenjax.training.distribution.agreement import agreed
from tokenjax.training.distribution.signals import StopRequest
from tokenjax.training.initialize import with_variables
from tokenjax.training.observation.look_frames import LookFrames, animate_run
from tokenjax.training.observation.metric_log import MetricLog
from tokenjax.training.observation.observer import Observer
from tokenjax.training.observation.progress import Progress, note, say
from tokenjax.training.remarks import find_remarks
from tokenjax.training.settings import Settings
from tokenjax.training.state import (
    Batch,
    Scalars,
    TrainState,
    make_init,
    make_train_step,
)
from tokenjax.training.tasks.task import Summary, Task, Watch

# What the programs of a run are, by their functions' names.
PROGRAMS = {
    "init": "the new weights",
    "step": "the training step",
    "call": "the evaluation",
}
Initial: TypeAlias = Callable[[VariableDict], VariableDict]


class Run:
    """One run: everything compiled, and the state where it stands."""

    def __init__(
        self,
        settings: Settings,
        task: Task,
        dataset: data.Dataset,
        checkpoints: Checkpoints,
        initial: Initial | None = None,
    ):
        self.settings, self.task, self.dataset = settings, task, dataset
        self.checkpoints = checkpoints
        self.num_examples = len(dataset.train)
        self.total_steps = settings.total_steps(self.num_examples)
        self.mesh = devices.make_mesh(settings)
        self.everywhere = devices.replicated(self.mesh)
        self.rows = devices.split_by_rows(self.mesh)
        optimizer, schedule = task.optimizer()
        self._init = make_init(task, optimizer, settings)
        self._like = jax.eval_shape(self._init, jax.random.key(settings.seed))
        fsdp = settings.fsdp
        self.sharding = devices.state_sharding(self.mesh, self._like, fsdp)
        split = self.sharding if fsdp else None
        step = jax.jit(
            make_train_step(task, optimizer, schedule, settings, split),
            in_shardings=(self.sharding, self.rows),
            out_shardings=(self.sharding, self.everywhere),
            donate_argnums=0,
        )
        self.train_step = devices.under_mesh(self.mesh, step)
        self.remarks = find_remarks(
            settings,
            self.num_examples,
            schedule,
            task.model,
            has_statistics=bool(self._like.model_state),
        )
        self.predict = task.compile_predict(self.mesh)
        self.state = self._restore_or_start(initial)

    @property
    def step(self) -> int:
        """Return how many updates are done."""
        return int(self.state.step)

    def _restore_or_start(self, initial: Initial | None) -> TrainState:
        state = self.checkpoints.restore_last(self._like, self.sharding)
        if state is not None:
            return state
        key = jax.random.key(self.settings.seed)
        state = jax.jit(self._init, out_shardings=self.sharding)(key)
        if initial is not None:
            own = {"params": state.params, **state.model_state}
            if self.settings.fsdp:  # what stays must be whole in every process
                own = jax.jit(lambda tree: tree, out_shardings=self.everywhere)(own)
            variables = initial(own)
            state = with_variables(state, variables, self.everywhere)
        state = self.task.start(state, self.everywhere)
        return devices.place(state, self.sharding) if self.settings.fsdp else state

    def batches(self) -> Generator[Batch, None, None]:
        """Yield training batches on the devices, from where the state stands on."""
        batch_size = self.settings.batch_size
        place = functools.partial(
            devices.put_batch, sharding=self.rows, batch_size=batch_size
        )
        own = devices.own_rows(self.rows, batch_size)
        split, first = self.dataset.train, self.step
        stream = self.task.train_batches(split, first, self.total_steps, own)
        return data.prefetch(stream, 2, place)

    def watch(self) -> Watch | None:
        """Return what shows over the run what the model looks at, if that is wanted."""
        count = self.settings.observation.looks if self.settings.figures else 0
        split = self.dataset.validation
        if not count or not len(split):  # which the first evaluation refuses
            return None
        return self.task.watch(split, count, self.mesh)

    def validate(self) -> dict[str, float]:
        """Return the scalars of the validation split."""
        outputs = evaluate.run_split(
            self.predict,
            self.state.variables(),
            self.dataset.validation,
            self.settings.batch_size,
            self.mesh,
        )
        return self.task.scalars(outputs)

    def take_in(self, metric: float) -> None:
        """Let a schedule that waits for a better metric know what there is."""
        opt_state = plateau.advance(
            self.state.opt_state,
            metric,
            self.settings.schedule,
            self.settings.optimizer.learning_rate,
        )
        self.state = dataclasses.replace(self.state, opt_state=opt_state)


def train(
    settings: Settings,
    task: Task,
    dataset: data.Dataset,
    workdir: pathlib.Path,
    config: dict[str, Any],
    claim: Callable[[int], None],
    card: Card | None = None,
    initial: Initial | None = None,
) -> Summary | None:
    """Train to the end, or until a signal asks to stop.

    Args:
      settings: of the run.
      task: what is learned, with its model.
      dataset: with "train", "validation" and "test".
      workdir: gets checkpoints, logs, evaluation and figures.
      config: nested dict of hyperparameters, for the log.
      card: of the run, for its checkpoints.
      claim: called with the step where the run stands, once it can go on from there
        and before anything but its directories is written.
      initial: makes the variables that a new run starts from of its own; None: it
        starts from its own.

    Returns: the final evaluation, or None if a signal stopped the run.

    Raises: UserError if the loss is no longer finite, or for a damaged checkpoint.
    """
    with (
        disk_errors.said(workdir),
        StopRequest() as stop,
        Checkpoints(workdir, settings.checkpoint, card=card) as checkpoints,
        cluster.ending_with_its_peers(),
        _telling_what_is_compiled(settings),
    ):
        run = Run(settings, task, dataset, checkpoints, initial)
        claim(run.step)
        log = MetricLog(workdir, run.step)
        try:
            if run.step < run.total_steps:
                if not stop.reached():
                    for remark in run.remarks:
                        note(remark)
                    _train_steps(run, log, stop, config)
            else:
                say(f"training is complete at step {run.step}; evaluating it again")
        finally:
            log.close()
        if run.step < run.total_steps:
            say(f"stopped and saved at step {run.step}; the same command goes on")
            return None
        return _finish(run, log, workdir)


def _telling_what_is_compiled(
    settings: Settings,
) -> contextlib.AbstractContextManager[None]:
    """Tell, in the first process, of programs that take long to compile."""
    if jax.process_index() > 0:
        return contextlib.nullcontext()
    of = f"{settings.model.get('name')}, batch {settings.batch_size}"
    return compiling.told(lambda name: f"{PROGRAMS.get(name, name)} of {of}")


def _train_steps(
    run: Run, log: MetricLog, stop: StopRequest, config: dict[str, Any]
) -> None:
    """Take steps, with a log row, an evaluation and a checkpoint when they are due."""
    settings, checkpoints = run.settings, run.checkpoints
    evaluate_every = _every(settings.evaluate_every_epochs, run)
    saving = settings.checkpoint
    save_every = saving.every_steps or _every(saving.every_epochs, run)
    first = run.step
    pending: list[Scalars] = []
    batches = run.batches()
    progress = Progress(first, run.total_steps)
    observer = Observer(settings, log.workdir, first)
    tensorboard = _open_tensorboard(run, log, config)
    looks = LookFrames(run.watch(), log, first, run.total_steps, evaluate_every)
    try:
        looks.start(first, run.state.variables())
        for step in itertools.count(first + 1):
            with observer.step(step):
                batch = observer.next_batch(batches)
                with jax.transfer_guard("disallow"):
                    run.state, scalars = run.train_step(run.state, batch)
            observer.dispatched(scalars)
            pending.append(scalars)
            if step == first + 1:
                jax.block_until_ready(scalars)
                observer.first_step()
            last = stop.reached() or step == run.total_steps
            due_evaluation = step % evaluate_every == 0 or step == run.total_steps
            due_save = step % save_every == 0 or last
            if step % settings.log_every_steps == 0 or due_evaluation or due_save:
                means = _mean_of_finite(pending, step)
                pending = []
                performance = observer.row()
                with observer.part("logging"):
                    tensorboard.join()
                    log.write_performance(step, performance)
                    log.write(step, _named("train", means))
                    progress.update(
                        step, means, observer.images_per_second, observer.input_share
                    )
            metric = None
            if due_evaluation:
                with observer.part("evaluation"):
                    validation = run.validate()
                    looks.draw(step, run.state.variables())
                name = run.task.best_metric
                metric, best = validation[name], log.best(f"validation/{name}")
                run.take_in(metric)
                # Processes that read different logs would not save alike.
                due_save |= agreed(lambda: bool(metric > best))  # noqa: B023
                log.write(step, _named("validation", validation))
                progress.validated(name, metric)
            if due_save:
                with observer.part("checkpoint"):
                    checkpoints.save(step, run.state, metric)
            if last:
                break
    finally:
        tensorboard.join()
        progress.close()
        observer.close()
        batches.close()


def _finish(run: Run, log: MetricLog, workdir: pathlib.Path) -> Summary:
    """Evaluate the checkpoint that the settings name, with figures."""
    which = run.settings.checkpoint.evaluate
    run.checkpoints.wait()
    step = run.checkpoints.pick(which)
    state = run.state
    if step is not None and step != run.step:
        state = run.checkpoints.restore(step, state, run.sharding)
    draw = run.settings.figures
    if draw and jax.process_index() == 0:
        animate_run(workdir)
        (workdir / "figures").mkdir(exist_ok=True)
        if rows := log.rows():
            run.task.curves(rows, workdir / "figures")
        else:
            say("metrics.jsonl holds no row of this run: no curves are drawn")
    return evaluate.final_evaluation(
        run.task,
        state.variables(),
        "test",
        run.dataset.test,
        run.settings.batch_size,
        run.mesh,
        workdir,
        draw,
        step=step,
        checkpoint=which,
    )


def _named(split: str, scalars: Mapping[str, float]) -> dict[str, float]:
    """Return the columns of a row of the log."""
    return {f"{split}/{key}": value for key, value in scalars.items()}


def _mean_of_finite(pending: list[Scalars], step: int) -> dict[str, float]:
    """Return the means since the last row, fetched from the devices.

    Raises: UserError if a loss or gradient was not finite; nothing is saved then.
    """
    rows = jax.device_get(pending)
    for offset, row in enumerate(rows):
        if not np.isfinite(row["loss"]) or not np.isfinite(row["gradient_norm"]):
            at = step - len(rows) + 1 + offset
            raise UserError(
                f"training diverged at step {at}: loss {row['loss']}, gradient norm "
                f"{row['gradient_norm']}; the last good checkpoint is kept. Lower "
                "optimizer.learning_rate, or set gradient_clip"
            )
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def _every(epochs: float, run: Run) -> int:
    return max(run.settings.in_steps(epochs, run.num_examples), 1)


def _open_tensorboard(
    run: Run, log: MetricLog, config: dict[str, Any]
) -> threading.Thread:
    """Import TensorFlow beside the first step's compilation; join before writing."""

    def start() -> None:
        if jax.process_index() > 0:
            return
        examples = run.task.augmented_examples(run.dataset.train, 8)
        log.start_tensorboard(config, examples)

    thread = threading.Thread(target=start)
    thread.start()
    return thread
