"""What the product needs of Keras and Orbit that they do not offer openly, in one place: look here first when one of them is updated."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any


def all_layers(model: Any) -> Iterable[Any]:
    """The model and every layer inside it, however deep. Keras' `layers` are a model's outermost alone."""
    return model._flatten_layers()


def cached_variables(model: Any) -> list[Any]:
    """The variables that hold data and nothing learnt, such as item tables: those that layers name in `cached_variables`."""
    return [variable for layer in all_layers(model) for variable in getattr(layer, "cached_variables", ())]


def replace_value(variable: Any, value: Any) -> None:
    """Puts another TensorFlow variable behind one of Keras, whose own has a fixed shape."""
    variable._value = value


def full_kernel(layer: Any) -> Any:
    """The kernel of a layer without its low-rank update; Keras' `kernel` has the update added."""
    return layer._kernel


def optimizer_slots(optimizer: Any) -> Iterator[tuple[str, Any, Any]]:
    """Of a built Keras Adam or `TableAdam`: the name of a slot, the weight, and the variable that holds it; `average` under `use_ema`."""
    slots = {"momentum": "_momentums", "velocity": "_velocities", "accumulator": "_accumulators", "average": "_model_variables_moving_average"}
    for name, attribute in slots.items():
        for weight, variable in zip(optimizer._trainable_variables, getattr(optimizer, attribute, None) or (), strict=False):
            if variable is not None:
                yield name, weight, variable


def weight_paths(model: Any) -> dict[int, str]:
    """`id(weight)` -> its path through the attributes of the model's layers, the same in every process; Keras numbers the names of layers."""
    return {
        id(weight): f"{path}/{place}-{weight.name}"
        for path, layer in _layers_by_path(model)
        for place, weight in enumerate(layer._trainable_variables)
    }


def random_states(model: Any) -> dict[str, Any]:
    """The states of the model's random generators (dropout), by path. Weights on disk leave them out."""
    return {f"{path}/{place}": one.state for path, layer in _layers_by_path(model) for place, one in enumerate(layer._seed_generators)}


def count_saved(model: Any) -> int:
    """How many arrays Keras writes where it saves the model's weights."""
    stores: list[dict[str, Any]] = []
    for _, layer in _layers_by_path(model):
        stores.append({})
        layer.save_own_variables(stores[-1])
    return sum(map(len, stores))


def _layers_by_path(model: Any) -> Iterator[tuple[str, Any]]:
    """The model and every layer inside it, once, with the attributes that lead to it, as Keras saves weights by."""
    import keras
    from keras.src.saving.saving_lib import _walk_saveable

    seen: set[int] = set()

    def look(path: str, one: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(one, (list, tuple, dict)):
            for name, child in one.items() if isinstance(one, dict) else enumerate(one):
                yield from look(f"{path}.{name}", child)
        elif isinstance(one, keras.layers.Layer) and id(one) not in seen:
            seen.add(id(one))
            yield path, one
            for name, child in _walk_saveable(one):
                yield from look(f"{path}/{name}", child)

    return look("model", model)


@contextmanager
def averaged(optimizer: Any, variables: Sequence[Any]) -> Iterator[None]:
    """Lets the variables that a Keras optimizer with `use_ema` averages have their averages for a while. Keras can only overwrite them for good."""
    pairs = [(own, mean) for own, mean in zip(variables, optimizer._model_variables_moving_average, strict=True) if mean is not None]
    kept = [own.numpy() for own, _ in pairs]
    for own, mean in pairs:
        own.assign(mean)
    try:
        yield
    finally:
        for (own, _), value in zip(pairs, kept, strict=True):
            own.assign(value)


@contextmanager
def layers_may_change(layer: Any) -> Iterator[None]:
    """Lets a built layer get other children; Keras locks what it tracks."""
    layer._tracker.unlock()
    try:
        yield
    finally:
        layer._tracker.lock()


class _LossesOfThread(threading.local):
    """What Keras does with a layer's list of losses, for each thread by itself."""

    def __init__(self) -> None:
        self.losses: list[Any] = []

    def extend(self, losses: Iterable[Any]) -> None:
        self.losses.extend(losses)

    def clear(self) -> None:
        self.losses.clear()

    def __getitem__(self, place: slice) -> list[Any]:
        return self.losses[place]


def keep_losses_apart(model: Any) -> None:
    """Lets each thread see the losses that it added itself.

    TensorFlow runs each replica in a thread of its own, and changes between them wherever a layer waits for the others (`Dice`, for the
    means of its statistics). Keras keeps one list a layer, which the next replica would empty, or add to, before this one has read it.
    """
    for layer in all_layers(model):
        object.__setattr__(layer, "_losses", _LossesOfThread())


def iterator_of(trainer: Any) -> Any:
    """The iterator over an Orbit trainer's data, made once. Orbit makes its own at the first loop, too late for a checkpoint to restore it."""
    if trainer._train_iter is None:
        trainer._train_iter = iter(trainer.train_dataset)
    return trainer._train_iter
