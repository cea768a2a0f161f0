"""The training harness: Orbit's controller around a Keras model, with checkpoints that continue bit for bit."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import orbit
import tensorflow as tf
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ppm_tf.config import EncoderFitSettings, FitSettings
from ppm_tf.layers.id_embedding import IdEmbedding
from ppm_tf.optimizers import dense_optimizer, sum_duplicates
from ppm_tf.storage import save_weights, size_of, writing

logger = logging.getLogger(__name__)

BEST_WEIGHTS = "best.weights.h5"
LOG = "train.jsonl"


class NonFiniteLoss(ValueError):
    """The loss became NaN or infinite; the message names the examples of the batch."""


class UndefinedCriterion(ValueError):
    """The validation figure that stops a training and chooses its weights is no number; the message names it."""


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended.

    Attributes:
        steps: steps taken.
        best_step: step of the best validation.
        best: what the validation gave there, in the figure that chooses.
        stopped_early: whether patience ended the run.
    """

    steps: int
    best_step: int
    best: float
    stopped_early: bool


def prepare_backend(settings: FitSettings, seed: int) -> tf.distribute.Strategy:
    """Seeds everything, makes ops deterministic, sets the precision and picks the devices. Call before building a model."""
    keras.utils.set_random_seed(seed)
    # Scatters into id tables have every row once; the deterministic kernel would copy whole tables to the host on a GPU.
    os.environ.setdefault("TF_DISABLE_SCATTER_OP_DETERMINISM", "1")
    tf.config.experimental.enable_op_determinism()
    gpus = tf.config.list_logical_devices("GPU")
    precision = settings.precision if settings.precision != "auto" else ("mixed_bfloat16" if gpus else "float32")
    keras.mixed_precision.set_global_policy(precision)
    strategy = tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()
    logger.info("devices: %s; precision: %s", f"{len(gpus)} GPU" if gpus else f"CPU, {os.cpu_count()} cores", precision)
    return strategy


def starting_rate(settings: EncoderFitSettings, pretrained: bool) -> EncoderFitSettings:
    """The settings with a learning rate: where none is set, 1e-3 for an encoder that starts from nothing, 5e-5 for a pretrained one."""
    return settings if settings.learning_rate else settings.model_copy(update={"learning_rate": 5e-5 if pretrained else 1e-3})


def total_steps(settings: FitSettings, records: int) -> int:
    """Steps of a run over `records` examples an epoch."""
    steps = math.ceil(records * settings.epochs / settings.batch_size)
    return min(steps, settings.max_step or steps)


def state_variables(model: keras.Model) -> list[tf.Variable]:
    """The variables a checkpoint needs: weights, statistics and random states, without cached item tables."""
    cached = {id(variable) for layer in model._flatten_layers() for variable in getattr(layer, "cached_variables", ())}
    return [variable.value for variable in model.variables if id(variable) not in cached]


def id_tables(model: keras.Model) -> list[keras.Variable]:
    """The tables of the model's `IdEmbedding`s, whose gradients stay sparse."""
    return [layer.table for layer in model._flatten_layers() if isinstance(layer, IdEmbedding)]


class Trainer(orbit.StandardTrainer):
    """One optimiser step a batch.

    The loss is the mean over all known labels of the global batch: with several replicas each adds its share. Gradients of
    id tables stay sparse on their way to the optimiser, with each row once, so that their norm counts as that of the dense
    gradient.

    Args:
        model: built Keras model; `model(batch, training=True)` gives its outputs, a tensor or several.
        loss: `loss(batch, outputs)`, a mean over `weight(batch)` labels.
        weight: `weight(batch)`, how many labels the loss is a mean of.
        optimizer: Keras optimizer.
        dataset: batches; a `tf.data.Dataset` or a distributed one.
        strategy: `tf.distribute.Strategy`.
        clip_norm: global norm the gradients are clipped to, or `None`.
        identify: `identify(batch, outputs)`, the ids that the message about a loss that is not finite names.
    """

    def __init__(self, model, loss, weight, optimizer, dataset, strategy, clip_norm=None, identify=None):
        super().__init__(dataset)
        self.model = model
        self.loss = loss
        self.weight = weight
        self.optimizer = optimizer
        self.strategy = strategy
        self.clip_norm = clip_norm
        self.identify = identify or bad_requests
        self.tables = {id(table) for table in id_tables(model)}
        self.global_step = orbit.utils.create_global_step()
        with strategy.scope():
            self.loss_sum = tf.Variable(0.0, trainable=False, synchronization=tf.VariableSynchronization.ON_READ, aggregation=tf.VariableAggregation.SUM)
            self.label_sum = tf.Variable(0.0, trainable=False, synchronization=tf.VariableSynchronization.ON_READ, aggregation=tf.VariableAggregation.SUM)
            optimizer.build(model.trainable_variables)

    def iterator(self):
        """The dataset's iterator, made once; a checkpoint saves and restores it."""
        if self._train_iter is None:
            self._train_iter = iter(self.train_dataset)
        return self._train_iter

    def train_loop_begin(self):
        self.loss_sum.assign(0.0)
        self.label_sum.assign(0.0)

    def train_step(self, iterator):
        self.strategy.run(self._replica_step, args=(next(iterator),))
        self.global_step.assign_add(1)

    def train_loop_end(self):
        labels = float(self.label_sum.read_value())
        return {"loss": float(self.loss_sum.read_value()) / max(labels, 1.0), "labels": labels}

    def _replica_step(self, batch):
        replicas = self.strategy.num_replicas_in_sync
        weight = tf.cast(self.weight(batch), tf.float32)
        total = weight
        if replicas > 1:
            total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, weight)
        with tf.GradientTape() as tape:
            outputs = self.model(batch, training=True)
            loss = self.loss(batch, outputs)
            share = loss * weight / tf.maximum(total, 1.0)
        # The check stops the graph, and the update waits for it, so that no weight ever turns NaN.
        checked = tf.debugging.Assert(tf.math.is_finite(loss), ["loss", loss, "step", self.global_step, "examples", self.identify(batch, outputs)], summarize=16)
        variables = self.model.trainable_variables
        found = tape.gradient(share, [variable.value for variable in variables])
        gradients = [self._whole(gradient, variable) for gradient, variable in zip(found, variables, strict=True)]
        with tf.control_dependencies([checked]):  # no update before the loss is known to be finite
            gradients = [tf.identity(gradient) for gradient in gradients]
        if replicas > 1:
            gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            gradients = [sum_duplicates(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient for gradient in gradients]
        if self.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self.clip_norm)
        # Keras sums the gradients over the replicas once more.
        self.optimizer.apply([_divided(gradient, replicas) for gradient in gradients], variables)
        self.loss_sum.assign_add(loss * weight)
        self.label_sum.assign_add(weight)

    def _whole(self, gradient, variable):
        """The gradient of an id table with each row once, that of any other variable as a dense tensor."""
        if id(variable) not in self.tables:
            # Small tables (positions, recencies) give sliced gradients; as dense ones their norm counts repeated rows rightly.
            return tf.zeros_like(variable.value) if gradient is None else tf.convert_to_tensor(gradient)
        if gradient is None:
            # Nothing for the padding row rather than no row: TensorFlow crashes when replicas sum slices without a row.
            return tf.IndexedSlices(tf.zeros([1, variable.shape[1]]), tf.zeros([1], tf.int32), tf.constant(variable.shape.as_list()))
        return sum_duplicates(gradient)


def _divided(gradient, replicas):
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(gradient.values / replicas, gradient.indices, gradient.dense_shape)
    return gradient / replicas


def bad_requests(batch, logits):
    """The requests whose logits or labels are not finite, or all of the batch; for models of `[R, N, K]` logits."""
    bad = tf.reduce_any(~tf.math.is_finite(tf.cast(logits, tf.float32)), axis=list(range(1, len(logits.shape))))
    bad |= tf.reduce_any(tf.math.is_nan(batch["labels"]), axis=[1, 2])
    return tf.cond(tf.reduce_any(bad), lambda: tf.boolean_mask(batch["request"], bad), lambda: batch["request"])


class ProgressBar:
    """Steps, examples a second, time left and the last loss, on standard error."""

    def __init__(self, total: int, start: int, title: str, unit: str = "candidates"):
        self.bar = tqdm(total=total, initial=start, desc=title, unit="step", dynamic_ncols=True, mininterval=1.0, smoothing=0.1)
        self.unit = unit
        self.time = time.monotonic()

    def update(self, steps: int, loss: float, examples: float) -> float:
        """Moves on by a loop; returns its examples a second."""
        now = time.monotonic()
        rate = examples / max(now - self.time, 1e-9)
        self.bar.set_postfix_str(f"loss {loss:.4f}, {rate:,.0f} {self.unit}/s")
        self.bar.update(steps)
        return rate

    def restart_clock(self) -> None:
        """Leaves out the time that validation and saving took."""
        self.time = time.monotonic()


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
    optimizer: keras.optimizers.Optimizer | None = None,
    title: str = "train",
    criterion: str = "auc",
    minimize: bool = False,
    identify: Callable[[dict, Any], Any] | None = None,
    unit: str = "candidates",
) -> TrainingResult:
    """Trains a model, keeps the weights that validate best, and survives being killed.

    Everything that the next step depends on is in the checkpoint: weights, optimiser, random states, step, the place in
    the data and the state of the early stopping. A run killed at any moment and started again with the same `folder`
    ends with the same weights, bit for bit on CPU, as one that was not killed.

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
        optimizer: default: Adam with the settings' linear decay.
        title: shown on the progress bar.
        criterion: the validation figure that stops the training and chooses the weights.
        minimize: whether a smaller figure is the better one.
        identify: `identify(batch, outputs)`, the ids that a message about a loss that is not finite names; default: requests.
        unit: what `weight` counts, for the progress bar.

    Returns:
        `TrainingResult`. The model holds the best weights.

    Raises:
        NonFiniteLoss: the loss became NaN or infinite. The weights on disk are from before it.
        UndefinedCriterion: `validate` gave NaN or infinity as `criterion`, which says nothing of the weights.
        DiskFull: there was no room for weights, a checkpoint or the log; the checkpoints before it stay.
    """
    strategy = strategy or tf.distribute.get_strategy()
    steps = total_steps(settings, records)
    loop = min(settings.steps_per_loop, steps)
    every = _whole_loops(settings.validate_every or min(math.ceil(steps / 8), math.ceil(records / settings.batch_size)), loop)
    checkpoint_every = _whole_loops(settings.checkpoint_every, loop)
    with strategy.scope():
        optimizer = optimizer or dense_optimizer(settings.learning_rate, settings.final_learning_rate, steps, settings.weight_decay, settings.warmup)
    several = strategy.num_replicas_in_sync > 1
    batches = strategy.experimental_distribute_dataset(dataset) if several else dataset
    trainer = Trainer(model, loss, weight or known_labels(), optimizer, batches, strategy, settings.clip_norm, identify)
    stopping = _Stopping(minimize)
    saved: dict[str, Any] = {
        "step": trainer.global_step,
        "weights": _Variables(state_variables(model)),
        "optimizer": _Variables([variable.value for variable in optimizer.variables]),
        "stopping": _Variables(stopping.variables),
    }
    if not several:  # a distributed iterator cannot be saved; its place is found again by skipping
        saved["iterator"] = trainer.iterator()
    checkpoint = tf.train.Checkpoint(**saved)
    manager = tf.train.CheckpointManager(checkpoint, str(folder / "checkpoints"), max_to_keep=2, step_counter=trainer.global_step)
    if manager.latest_checkpoint:
        checkpoint.restore(manager.latest_checkpoint).assert_existing_objects_matched()
        logger.info("continuing from step %d of %d (%s)", int(trainer.global_step), steps, manager.latest_checkpoint)
        if several:
            trainer.train_dataset = strategy.experimental_distribute_dataset(dataset.skip(int(trainer.global_step)))
    need = size_of(variable for part in saved.values() if isinstance(part, _Variables) for variable in part.items)
    with contextlib.ExitStack() as closing:
        closing.enter_context(writing(folder, need))
        closing.callback(_clear_half_written, folder / "checkpoints")
        log = _Log(folder / LOG, int(trainer.global_step))
        closing.callback(log.close)
        bar = ProgressBar(steps, int(trainer.global_step), title, unit)
        closing.callback(bar.bar.close)

        def after_loop(output: dict[str, float]) -> None:
            step = int(trainer.global_step)
            rate = bar.update(step - bar.bar.n, output["loss"], output["labels"])
            log.write(step=step, loss=output["loss"], **{f"{unit}_per_second": round(rate)}, learning_rate=float(optimizer.learning_rate))

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
            step = int(trainer.global_step)
            if step and step > stopping.validated and (step % every == 0 or step >= steps):
                scores = validate(model)
                log.write(step=step, **{f"valid_{name}": value for name, value in scores.items()})
                if not math.isfinite(scores[criterion]):
                    raise UndefinedCriterion(
                        f"The validation figure that chooses the weights must be a number. Received: {criterion} {scores[criterion]} at step {step} of {steps}, with "
                        f"{', '.join(f'{name} {value:.4f}' for name, value in scores.items() if name != criterion) or 'no other figure'}. "
                        "Remedy: look at the held-out part (an AUC needs positives and negatives there), or lower the learning rate if the scores themselves are no numbers."
                    )
                if stopping.look(step, scores[criterion]):
                    save_weights(model, folder / BEST_WEIGHTS)
                logger.info("step %d of %d: validation %s%s", step, steps, ", ".join(f"{name} {value:.4f}" for name, value in scores.items()), " (best)" if stopping.best_step == step else "")
                with controller.summary_manager.summary_writer().as_default():
                    for name, value in scores.items():
                        tf.summary.scalar(f"valid/{name}", value, step=step)
                manager.save()
            if step >= steps or stopping.misses >= settings.patience:
                break
            if step and step % checkpoint_every == 0 and step > _saved_step(manager):
                manager.save()
            bar.restart_clock()
            with contextlib.redirect_stdout(io.StringIO()):  # Orbit prints two lines a loop; the bar and the log say more
                try:
                    controller.train(min(step + loop, steps), checkpoint_at_completion=False)
                except tf.errors.InvalidArgumentError as error:
                    raise _explain(error) from None
    model.load_weights(folder / BEST_WEIGHTS)
    return TrainingResult(int(trainer.global_step), stopping.best_step, stopping.best, int(trainer.global_step) < steps)


class _Variables(tf.Module):
    """A list of variables as one checkpointable object."""

    def __init__(self, variables: list[tf.Variable]):
        super().__init__()
        self.items = list(variables)


class _Stopping:
    """Early stopping whose state lies in variables, so that a checkpoint holds it."""

    def __init__(self, minimize: bool = False):
        self._sign = -1.0 if minimize else 1.0
        self._validated = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._best_step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._best = tf.Variable(-math.inf, dtype=tf.float64, trainable=False)
        self._misses = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.variables = [self._validated, self._best_step, self._best, self._misses]

    validated = property(lambda self: int(self._validated))
    best_step = property(lambda self: int(self._best_step))
    best = property(lambda self: self._sign * float(self._best))
    misses = property(lambda self: int(self._misses))

    def look(self, step: int, value: float) -> bool:
        """Notes a validation, a finite figure; returns whether it is the best so far."""
        self._validated.assign(step)
        value = self._sign * value
        better = value > float(self._best)
        if better:
            self._best_step.assign(step)
            self._best.assign(value)
        self._misses.assign(0 if better else self.misses + 1)
        return better


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a training log, in order; a last line that a kill cut off is left out."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def keep_logs(work: Path, folder: Path) -> None:
    """Copies the training log and the TensorBoard events of a run's working folder into its artifact."""
    shutil.copy(work / LOG, folder / LOG)
    if (work / "tensorboard").is_dir():
        shutil.copytree(work / "tensorboard", folder / "tensorboard")


class _Log:
    """Metrics as one JSON object a line. On a restart, lines after the restored step are dropped."""

    def __init__(self, path: Path, step: int):
        lines = [json.dumps(line) for line in read_log(path) if line["step"] <= step]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        self.file = path.open("a", encoding="utf-8")

    def write(self, **values: Any) -> None:
        self.file.write(json.dumps({key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in values.items()}) + "\n")
        self.file.flush()

    def close(self) -> None:
        self.file.close()


def known_labels(num_tasks: int | None = None) -> Callable[[dict], tf.Tensor]:
    """Counts the labels of a batch that are there, in its first `num_tasks` tasks; `None` = all."""
    return lambda batch: tf.reduce_sum(tf.cast(batch["labels"][..., :num_tasks] >= 0, tf.float32))


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
    names = ", ".join(f"{number} (shard {number >> 40}, request {number & ((1 << 40) - 1)})" if number >> 40 else str(number) for number in numbers[:16])
    return NonFiniteLoss(
        f"The loss must stay finite. Received NaN or infinity from the batch with {names}. "
        "Look at these records, or lower the learning rate if the loss grew before."
    )
