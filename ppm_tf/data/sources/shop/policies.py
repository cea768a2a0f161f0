"""Who chooses what the live shop shows: a model, with some exploration; the truth, which no model can beat; or chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ppm_tf.data.sources.shop.live import Choose, Histories, LiveShop, Requests
from ppm_tf.data.sources.shop.log import NEW_DAYS
from ppm_tf.data.sources.shop.world import uniform

Score = Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]]  # inputs of a served model -> task -> probabilities [R, P]
_SLOT, _ITEM, _CHANCE = range(3)  # decisions, each with random numbers of its own


def by_model(shop: LiveShop, score: Score, rank_by: Mapping[str, float], explore: float, explore_from: str, pad_id: int) -> Choose:
    """The candidates of the highest scores, the best first, but in the slots that explore.

    Args:
        shop: the shop.
        score: the model.
        rank_by: task -> weight of its probability in the score.
        explore: probability that a slot explores.
        explore_from: what such a slot shows, of what the others leave: `any` candidate, or first the `new` arrivals.
        pad_id: item id that stands for no item.
    """

    def choose(requests: Requests, histories: Histories) -> np.ndarray:
        found = score(shop.inputs(requests, histories, pad_id))
        scores = sum(weight * found[task] for task, weight in rank_by.items())
        return _shown(requests, arrange(scores, *exploration(shop, requests, explore, explore_from)))

    return choose


def by_truth(shop: LiveShop) -> Choose:
    """The candidates of the highest true probability of a click, the highest first: the most clicks that can be expected of these pools."""
    return lambda requests, histories: _shown(requests, _best(shop.appeal(requests, requests.pool), shop.settings.candidates))


def by_list(requests: Requests, shown: np.ndarray) -> Choose:
    """What was chosen beforehand for each of some requests, item rows `[R, N]`."""
    return lambda some, histories: shown[np.searchsorted(requests.number, some.number)]


def by_chance(shop: LiveShop) -> Choose:
    """Candidates at random."""

    def choose(requests: Requests, histories: Histories) -> np.ndarray:
        draw = uniform(shop.settings.seed, "policy", requests.number[:, None], requests.pool, _CHANCE)
        return _shown(requests, _best(draw, shop.settings.candidates))

    return choose


def exploration(shop: LiveShop, requests: Requests, explore: float, explore_from: str) -> tuple[np.ndarray, np.ndarray]:
    """Which slots explore, bool [R, N], and the order in which candidates are taken for them, float64 [R, P], the highest first."""
    number, seed = requests.number[:, None], shop.settings.seed
    slots = uniform(seed, "policy", number, np.arange(shop.settings.candidates), _SLOT) < explore
    draw = uniform(seed, "policy", number, requests.pool, _ITEM)
    if explore_from == "new":
        draw = draw + (requests.visits.day[:, None] - shop.items.born_day[requests.pool] < NEW_DAYS)
    return slots, draw


def arrange(scores: np.ndarray, explores: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """Which candidate each slot shows, int64 [R, N].

    Args:
        scores: float [R, P], by which slots are filled that do not explore, the best first.
        explores: bool [R, N].
        draw: float [R, P], by which the others are filled from the candidates that are left.

    >>> arrange(np.array([[.1, .9, .5, .3]]), np.array([[False, True, False]]), np.array([[.2, .9, .8, .1]])).tolist()
    [[1, 0, 2]]
    """
    best = np.argsort(-scores, axis=1, kind="stable")
    kept = np.argsort(best, axis=1) < (~explores).sum(axis=1, keepdims=True)
    others = np.argsort(np.where(kept, np.inf, -draw), axis=1, kind="stable")

    def in_turn(order: np.ndarray, slots: np.ndarray) -> np.ndarray:
        return np.take_along_axis(order, np.maximum(np.cumsum(slots, axis=1) - 1, 0), axis=1)

    return np.where(explores, in_turn(others, explores), in_turn(best, ~explores))


def _best(scores: np.ndarray, slots: int) -> np.ndarray:
    return np.argsort(-scores, axis=1, kind="stable")[:, :slots]


def _shown(requests: Requests, places: np.ndarray) -> np.ndarray:
    return np.take_along_axis(requests.pool, places, axis=1)
