"""The training loop: Orbit's controller around a Keras model, with checkpoints that continue bit for bit."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import orbit
import tensorflow as tf
from tqdm.contrib.logging import logging_redirect_tqdm

from ppm_tf.config import FitSettings
from ppm_tf.metrics.standing import Standing, standing_of
from ppm_tf.private_apis import averaged
from ppm_tf.storage import save_weights, size_of, write_json, writing
from ppm_tf.training.log import LOG, ProgressBar, TrainingLog, read_log
from ppm_tf.training.optimizer_state import OptimizerStart, save_optimizer
from ppm_tf.training.optimizers import dense_optimizer
from ppm_tf.training.rates import RiseHoldFall, steps_between_looks
from ppm_tf.training.start import state_variables
from ppm_tf.training.stopping import Stopping
from ppm_tf.training.trainer import Trainer, id_tables, known_labels
from ppm_tf.training.trunk import BEST_OPTIMIZER, BEST_WEIGHTS, Trunk
from ppm_tf.workspace import SUMMARY

logger = logging.getLogger(__name__)


class NonFiniteLossError(ValueError):
    """The loss became NaN or infinite; the message names the examples of the batch."""


class UndefinedCriterionError(ValueError):
    """The validation figure that stops a training and chooses its weights is no number; the message names it."""


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended.

    Attributes:
        steps: steps taken.
        best_step: step of the best validation.
        best: what the validation gave there, in the figure that chooses.
        stopped_early: whether patience ended the run.
        standing: whether it was done.
        figures: all that the validation gave there.
        seconds: what it took, looks at the validation part and checkpoints included, over all processes that it went on in.
        examples: examples that it stepped through, those of steps that it went back from too.
        trainable_weights: weights that it trained.
        id_table_weights: those of them in id tables.
    """

    steps: int
    best_step: int
    best: float
    stopped_early: bool
    standing: Standing = Standing("unknown")
    figures: dict[str, float] = field(default_factory=dict)
    seconds: float = field(default=0.0, compare=False)
    examples: int = 0
    trainable_weights: int = 0
    id_table_weights: int = 0

    def summary(self) -> dict[str, Any]:
        """How it ended and what it cost, for the `summary.json` of what was trained."""
        return {
            "best_step": self.best_step, "steps": self.steps, "stopped_early": self.stopped_early,
            "standing": self.standing.state, "gained": self.standing.gained, "risen": self.standing.risen,
            "seconds": self.seconds, "examples": self.examples,
            "trainable_weights": self.trainable_weights, "id_table_weights": self.id_table_weights,
        }  # fmt: skip

    def write(self, folder: Path, **more: Any) -> None:
        """Writes `summary.json` into the artifact of what was trained: `summary()`, and `more` of the stage's own."""
        write_json(folder / SUMMARY, {**more, **self.summary()})

    def line(self, figure: str) -> str:
        """How it ended, in words; `figure` names the one that chose the weights."""
        return f"best validation {figure} {self.best:.4f} at step {self.best_step} of {self.steps}{' (stopped early)' if self.stopped_early else ''}"


def fit(
    model: keras.Model,
    loss: Callable[[dict, Any], Any],
    dataset: tf.data.Dataset,
    records: int,
    validate: Callable[[keras.Model], dict[str, float]],
    settings: FitSettings,
    folder: Path,
    strategy: tf.distribute.Strategy | None = None,
    weight: Callable[[dict], Any] | None = None,
    optimizer: Callable[[RiseHoldFall], keras.optimizers.Optimizer] | None = None,
    title: str = "train",
    criterion: str = "auc",
    minimize: bool = False,
    identify: Callable[[dict, Any], Any] | None = None,
    unit: str = "candidates",
    section: str | Callable[[str], str] = "train",
    start: OptimizerStart | None = None,
    keep_optimizer: bool = False,
) -> TrainingResult:
    """Trains a model, keeps the weights that validate best, and survives being killed.

    Everything that the next step depends on is in the checkpoint: weights, optimiser, random states, step, the place in
    the data and the state of the early stopping. A run killed at any moment and started again with the same `folder`
    ends with the same weights, bit for bit on CPU, as one that was not killed.

    `settings.epochs` is a bound. Where the learning rate is held (`settings.cooldown` below 1) and `settings.patience` looks bring
    nothing better, the training goes back to its best look and the rate falls from there; where the rate falls already, or never
    (`settings.cooldown` 0), it stops. The
    state from before the fall stays in `folder/trunk`, from which a longer training goes on (`ppm_tf.training.trunk`) and ends with the
    weights of one that was that long from the start.

    With `settings.ema_momentum` the weights that are validated and kept are moving averages of those that are trained.

    Args:
        model: built model, made under `strategy.scope()`; `model(batch, training)` gives its outputs.
        loss: `loss(batch, outputs)`, a mean over `weight(batch)` labels.
        dataset: batches of `settings.epochs` passes, in an order that depends on the seed alone.
        records: examples an epoch.
        validate: `validate(model)` gives figures by name, `criterion` among them, on held-out data only.
        settings: `FitSettings`.
        folder: working folder: checkpoints, logs and the best weights.
        strategy: default: the current one.
        weight: `weight(batch)`, how many labels the loss is a mean of; default: the known labels.
        optimizer: `optimizer(schedule)`, made under `strategy.scope()`; default: Adam, or AdamW with the settings' weight decay.
        title: shown on the progress bar.
        criterion: the validation figure that stops the training and chooses the weights.
        minimize: whether a smaller figure is the better one.
        identify: `identify(batch, outputs)`, the ids that a message about a loss that is not finite names; default: requests.
        unit: what `weight` counts, for the progress bar.
        section: the section of the settings, for the remedy where the training was not done; or what says where each is, see
             `ppm_tf.config.places_of`.
        start: the state of an earlier training's optimiser, which this one goes on with: slots, steps (which Adam corrects its moments
            by) and random states. The schedule begins anew.
        keep_optimizer: whether that state is kept beside the best weights, as it was when they were, in `folder/best.optimizer.npz`.

    Returns:
        `TrainingResult`. The model holds the best weights.

    Raises:
        NonFiniteLossError: the loss became NaN or infinite. The weights on disk are from before it.
        UndefinedCriterionError: `validate` gave NaN or infinity as `criterion`, which says nothing of the weights.
        DiskFullError: there was no room for weights, a checkpoint or the log; the checkpoints before it stay.
        ValueError: `start` holds no state, or that of an optimiser of other settings.
    """
    strategy = strategy or tf.distribute.get_strategy()
    schedule = RiseHoldFall.of(settings, records)
    between = steps_between_looks(settings, records)
    loop = min(settings.steps_per_loop, between)
    every = _whole_loops(between, loop)
    checkpoint_every = _whole_loops(settings.checkpoint_every, loop)
    with strategy.scope():
        made = optimizer(schedule) if optimizer else dense_optimizer(schedule, settings.weight_decay)
        made.use_ema, made.ema_momentum = settings.ema_momentum > 0, settings.ema_momentum  # the trainer builds it
    several = strategy.num_replicas_in_sync > 1
    batches = strategy.experimental_distribute_dataset(dataset) if several else dataset
    trainer = Trainer(model, loss, weight or known_labels(), made, batches, strategy, settings.clip_norm, identify)
    if start is not None:
        schedule.begins = start.take_over(made, model)
    stopping = Stopping(minimize)
    saved: dict[str, Any] = {
        "step": trainer.global_step,
        "weights": _Variables(state_variables(model)),
        "optimizer": _Variables([variable.value for variable in made.variables]),
        "stopping": _Variables(stopping.variables),
        "schedule": _Variables(schedule.variables),
    }
    if not several:  # a distributed iterator cannot be saved; its place is found again by skipping
        saved["iterator"] = trainer.iterator()
    checkpoint = tf.train.Checkpoint(**saved)
    manager = tf.train.CheckpointManager(checkpoint, str(folder / "checkpoints"), max_to_keep=2)
    trunk = Trunk(checkpoint, folder, trainer.global_step)

    def restore(path: str) -> None:
        checkpoint.restore(path).assert_existing_objects_matched()
        if several:
            trainer.train_dataset = strategy.experimental_distribute_dataset(dataset.skip(int(trainer.global_step)))

    if latest := manager.latest_checkpoint or trunk.latest:
        restore(latest)
        logger.info("continuing from step %d of %d (%s)", int(trainer.global_step), schedule.steps, latest)
    need = size_of(variable for part in saved.values() if isinstance(part, _Variables) for variable in part.items)
    with contextlib.ExitStack() as closing:
        closing.enter_context(writing(folder, need))
        closing.callback(_clear_half_written, folder / "checkpoints")
        log = TrainingLog(folder / LOG, int(trainer.global_step))
        closing.callback(log.close)
        bar = ProgressBar(schedule.ends, int(trainer.global_step), title, unit)
        closing.callback(bar.bar.close)

        def after_loop(output: dict[str, float]) -> None:
            step = int(trainer.global_step)
            log.examples += (step - bar.bar.n) * settings.batch_size
            rate = bar.update(step - bar.bar.n, output["loss"], output["labels"])
            log.write(step=step, loss=output["loss"], **{f"{unit}_per_second": round(rate)}, learning_rate=float(made.learning_rate))

        controller = orbit.Controller(
            strategy=strategy,
            trainer=trainer,
            global_step=trainer.global_step,
            steps_per_loop=loop,
            summary_dir=str(folder / "tensorboard"),
            train_actions=[after_loop],
        )
        closing.enter_context(logging_redirect_tqdm())
        while True:
            step, falling = int(trainer.global_step), int(trainer.global_step) >= schedule.falling_from
            if step and step > stopping.validated and (step % every == 0 or step >= schedule.ends):
                with averaged(made, model.trainable_variables) if made.use_ema else contextlib.nullcontext():
                    scores = validate(model)
                    log.write(step=step, **{f"valid_{name}": value for name, value in scores.items()})
                    _require_number(scores, criterion, step, schedule.steps)
                    if better := stopping.look(step, scores[criterion]):
                        save_weights(model, folder / BEST_WEIGHTS)
                if better and keep_optimizer:
                    save_optimizer(made, model, folder / BEST_OPTIMIZER)
                logger.info(
                    "step %d of %d: validation %s%s",
                    step,
                    schedule.ends,
                    ", ".join(f"{name} {value:.4f}" for name, value in scores.items()),
                    " (best)" if better else "",
                )
                with controller.summary_manager.summary_writer().as_default():
                    for name, value in scores.items():
                        tf.summary.scalar(f"valid/{name}", value, step=step)
                if better and schedule.holds and not falling:
                    trunk.save()
                manager.save(checkpoint_number=trainer.global_step)
            if step >= schedule.ends or (stopping.misses >= settings.patience and (falling or not schedule.holds or not schedule.falls)):
                break
            if stopping.misses >= settings.patience:
                looks = [(line["step"], line[f"valid_{criterion}"]) for line in read_log(folder / LOG) if f"valid_{criterion}" in line]
                restore(trunk.latest)  # the best look; what came after it brought nothing
                back = int(trainer.global_step)
                schedule.fall_now(back)
                log.go_back(back)
                log.write(step=back, falls="patience", left=[look for look in looks if look[0] > back])
                logger.info(
                    "step %d: %d looks brought nothing better than %s %.4f; back to step %d, from where the learning rate falls to step %d",
                    step, settings.patience, criterion, stopping.best, back, schedule.ends,
                )  # fmt: skip
                bar.move(back, schedule.ends)
                manager.save(checkpoint_number=trainer.global_step)
                continue
            if step == schedule.falls_from == schedule.falling_from and schedule.holds:
                trunk.save()
                log.write(step=step, falls="bound")
                stopping.forgive()  # what is still to come is better than what was
            if step and step % checkpoint_every == 0 and step > _saved_step(manager):
                manager.save(checkpoint_number=trainer.global_step)
            bar.restart_clock()
            until = min((step // loop + 1) * loop, schedule.ends, *([schedule.falls_from] if step < schedule.falls_from else []))
            with contextlib.redirect_stdout(io.StringIO()):  # Orbit prints two lines a loop; the bar and the log say more
                try:
                    controller.train(until, checkpoint_at_completion=False)
                except tf.errors.InvalidArgumentError as error:
                    raise _explain(error) from None
        standing = standing_of(read_log(folder / LOG), criterion, minimize)
        log.write(step=int(trainer.global_step), standing=standing.state, gained=standing.gained, risen=standing.risen)
        logger.info("%s is %s", title, standing.line(criterion, section))
    model.load_weights(folder / BEST_WEIGHTS)
    figures = {}
    for line in read_log(folder / LOG):
        if line["step"] == stopping.best_step and f"valid_{criterion}" in line:
            figures = {name.removeprefix("valid_"): math.nan if value is None else value for name, value in line.items() if name.startswith("valid_")}
    ended = int(trainer.global_step)
    trained, tables = (sum(variable.shape.num_elements() for variable in some) for some in (model.trainable_variables, id_tables(model)))
    return TrainingResult(
        ended, stopping.best_step, stopping.best, ended < schedule.steps, standing, figures, log.seconds, log.examples, trained, tables
    )


class _Variables(tf.Module):
    """A list of variables as one checkpointable object."""

    def __init__(self, variables: list[tf.Variable]):
        super().__init__()
        self.items = list(variables)


def _require_number(scores: dict[str, float], criterion: str, step: int, steps: int) -> None:
    if not math.isfinite(scores[criterion]):
        raise UndefinedCriterionError(
            f"The validation figure that chooses the weights must be a number. Received: {criterion} {scores[criterion]} at step {step}"
            f" of {steps}, with"
            f" {', '.join(f'{name} {value:.4f}' for name, value in scores.items() if name != criterion) or 'no other figure'}. Remedy:"
            " look at the held-out part (an AUC needs positives and negatives there), or lower the learning rate if the scores"
            " themselves are no numbers."
        )


def _whole_loops(steps: int, loop: int) -> int:
    return max(1, math.ceil(steps / loop)) * loop


def _saved_step(manager: tf.train.CheckpointManager) -> int:
    return int(manager.latest_checkpoint.rsplit("-", 1)[1]) if manager.latest_checkpoint else 0


def _clear_half_written(checkpoints: Path) -> None:
    """Removes what a checkpoint that could not be finished has left, beside the whole ones."""
    for folder in checkpoints.glob("*_temp"):
        shutil.rmtree(folder, ignore_errors=True)


def _explain(error: tf.errors.InvalidArgumentError) -> Exception:
    text = error.message
    if "[loss]" not in text:
        return error
    listed = " ".join(text.split()).split("[examples]")[-1].split("[[{{")[0]
    numbers = [int(number) for number in re.findall(r"\d+", listed)]
    names = ", ".join(
        f"{number} (shard {number >> 40}, request {number & ((1 << 40) - 1)})" if number >> 40 else str(number) for number in numbers[:16]
    )
    return NonFiniteLossError(
        f"The loss must stay finite. Received NaN or infinity from the batch with {names}. "
        "Look at these records, or lower the learning rate if the loss grew before."
    )
