"""What a training needs beside weights to go on as if it had not ended: the optimiser's slots and steps, and the random states."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from ppm_tf.models.optimizer_file import read_arrays, with_rows, write_arrays
from ppm_tf.models.provenance import OPTIMIZER, require_optimizer
from ppm_tf.private_apis import optimizer_slots, random_states, weight_paths
from ppm_tf.storage import size_of

logger = logging.getLogger(__name__)

_STEPS, _TRAINED, _RANDOM = "steps", "trained", "random"
_LAYOUT = 1 << 10  # bytes of an array's header, name and entry


@dataclass(frozen=True)
class OptimizerStart:
    """The state of an earlier training's optimiser, and how it fits the weights of one that goes on.

    Attributes:
        folder: the earlier artifact.
        section: `"ppm"` or `"model"`, whose settings asked for it, for messages.
        rows: `id(table)` -> of each row that the earlier table has too, where it was there and where it is (`Carried.rows`).
        anew: `id(weight)` of weights that do not come from the earlier training: their slots begin anew.
        mixed: `id(weight)` of weights that come from it in part: their slots go on.
    """

    folder: Path
    section: str
    rows: Mapping[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    anew: frozenset[int] = frozenset()
    mixed: frozenset[int] = frozenset()

    def take_over(self, optimizer: keras.optimizers.Optimizer, model: keras.Model) -> int:
        """Puts the state into a built optimiser, and the random states into the model; returns the steps taken until then.

        Under `ema_momentum` the weights that were kept are averages. They go on as such, and the weights that train from what was
        averaged, where the earlier training averaged too.

        Raises:
            ValueError: there is none, or it is that of an optimiser of other settings.
        """
        require_optimizer(self.folder, self.section)
        paths = weight_paths(model)
        with read_arrays(self.folder / OPTIMIZER) as stored:
            names = set(stored)
            for slot, weight, variable in optimizer_slots(optimizer):
                name = f"{slot}/{paths[id(weight)]}"
                if slot == "average":
                    variable.assign(weight)
                    trained = f"{_TRAINED}/{paths[id(weight)]}"
                    if trained in names and id(weight) not in self.anew | self.mixed:
                        weight.assign(stored[trained])
                elif id(weight) not in self.anew:
                    if name not in names:
                        self._refuse(f"no {slot} of {paths[id(weight)]}")
                    try:
                        variable.assign(with_rows(np.array(variable), stored[name], self.rows.get(id(weight))))
                    except ValueError as error:
                        self._refuse(f"a {slot} of {paths[id(weight)]}, {error}")
            for path, state in random_states(model).items():
                if (name := f"{_RANDOM}/{path}") in names:
                    state.assign(stored[name])
            optimizer.iterations.assign(stored[_STEPS])
        steps = int(optimizer.iterations)
        logger.info("the optimiser goes on from step %s of %s%s", f"{steps:,}", self.folder, "; PPM's part of it begins anew" if self.anew else "")
        return steps

    def _refuse(self, what: str) -> None:
        raise ValueError(
            f"{self.section}.warm_start_optimizer needs the state of an optimiser of the same settings. Received: {self.folder}, which holds {what}."
            f" Remedy: {self.section}.warm_start_optimizer=false, or the settings of the earlier training."
        )


def save_optimizer(optimizer: keras.optimizers.Optimizer, model: keras.Model, path: Path) -> None:
    """Writes the state of an optimiser and the random states of its model, by the paths of the weights.

    Raises:
        DiskFullError: there is no room; an earlier file of that name is still there.
    """
    state = _state(optimizer, model)
    write_arrays(path, ((name, np.asarray(variable)) for name, variable in state.items()), _LAYOUT + len(state) * _LAYOUT + size_of(state.values()))


def _state(optimizer: keras.optimizers.Optimizer, model: keras.Model) -> dict[str, keras.Variable]:
    def slots() -> Iterator[tuple[str, keras.Variable]]:
        paths = weight_paths(model)
        for slot, weight, variable in optimizer_slots(optimizer):
            # An average is a weight that was kept; what is missing beside the weights is what was averaged.
            yield (f"{_TRAINED}/{paths[id(weight)]}", weight) if slot == "average" else (f"{slot}/{paths[id(weight)]}", variable)

    random = {f"{_RANDOM}/{path}": state for path, state in random_states(model).items()}
    return {_STEPS: optimizer.iterations, **dict(slots()), **random}
