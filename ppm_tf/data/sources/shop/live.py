"""The embedded shop as something that can be asked: requests come day by day, and users answer what they are shown.

Users, items, visits and candidates are drawn once from the seed, and every answer from a random number of its own, by request, item and
slot. So two policies that show the same get the same answers, and what differs between them comes of what they show alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ppm_tf.config import SyntheticData
from ppm_tf.data.sources.shop.log import DEVICES, Block, Policy, Visits, appeal_of, examination, react, visit
from ppm_tf.data.sources.shop.synthetic import user_blocks
from ppm_tf.data.sources.shop.world import AGE_GROUPS, GENDERS, generator, joined, make_items, uniform

NO_ITEM = -1
_LOOK, _CLICK, _CART, _ORDER = range(4)  # decisions, each with random numbers of its own


@dataclass(frozen=True)
class Requests:
    """Some requests of one day. R requests, P candidates.

    Attributes:
        number: int64 [R], ids of the requests, unique over all days.
        visits: who makes them, when, and looking for what.
        turn: int64 [R], how many requests the user made earlier that day.
        pool: int64 [R, P], rows of the items that may be shown, all different.
    """

    number: np.ndarray
    visits: Visits
    turn: np.ndarray
    pool: np.ndarray

    def at(self, rows: np.ndarray) -> Requests:
        """Some of them, by a mask or by number."""
        return Requests(self.number[rows], self.visits.at(rows), self.turn[rows], self.pool[rows])


class Histories:
    """The newest clicks of each user, newest first; U users, T clicks.

    Attributes:
        item: int64 [U, T], item rows; `NO_ITEM` where there are fewer.
        time: int64 [U, T], seconds since 1970; 0 where there are fewer.
    """

    def __init__(self, users: int, length: int):
        self.item = np.full((users, length), NO_ITEM, np.int64)
        self.time = np.zeros((users, length), np.int64)

    def add(self, user: np.ndarray, time: np.ndarray, item: np.ndarray, clicked: np.ndarray) -> None:
        """Puts clicks before those that are there; of one request, the last slot's is the newest, as in prepared data.

        Args:
            user: int64 [R], rows of users, all different.
            time: int64 [R], seconds since 1970, later than what is there.
            item: int64 [R, N], item rows by slot.
            clicked: bool [R, N].
        """
        length = self.item.shape[1]
        items = np.concatenate([np.where(clicked, item, NO_ITEM)[:, ::-1], self.item[user]], axis=1)
        times = np.concatenate([np.broadcast_to(time[:, None], item.shape), self.time[user]], axis=1)
        order = np.argsort(items == NO_ITEM, axis=1, kind="stable")[:, :length]
        self.item[user] = np.take_along_axis(items, order, axis=1)
        self.time[user] = np.where(self.item[user] == NO_ITEM, 0, np.take_along_axis(times, order, axis=1))

    def save(self, path: Path) -> None:
        """Writes them as an `.npz` file."""
        np.savez_compressed(path, item=self.item, time=self.time)

    @classmethod
    def load(cls, path: Path) -> Histories:
        """Reads what `save` wrote."""
        with np.load(path) as arrays:
            found = cls(*arrays["item"].shape)
            found.item, found.time = arrays["item"], arrays["time"]
        return found


Choose = Callable[[Requests, Histories], np.ndarray]  # what a policy is: -> item rows by slot, int64 [R, N]


class LiveShop:
    """The shop over all its days.

    Args:
        settings: its size, seed and days; `candidates` are the slots of a request.
        pool: how many items a policy may choose from in a request, drawn as the shop draws what it shows.

    Raises:
        ValueError: there are too few items to fill a pool on the first day, or fewer candidates than slots.
    """

    def __init__(self, settings: SyntheticData, pool: int):
        if settings.items < 2 * pool or pool < settings.candidates:
            raise ValueError(
                "simulate.pool must be at least data.candidates and at most half of data.items, because half of the items are there on day 0."
                f" Received: simulate.pool={pool}, data.candidates={settings.candidates}, data.items={settings.items}."
            )
        self.settings, self.pool = settings, pool
        self.items = make_items(settings.seed, settings.items, settings.days)
        blocks = list(user_blocks(settings))
        self.users = joined(blocks)
        visits, first = [], 0
        for number, users in enumerate(blocks):
            one = visit(users, settings.days, settings.requests_per_user, generator(settings.seed, "log", number))
            visits.append(Visits(one.user + first, one.time, one.device, one.interest))
            first += len(users.user_id)
        self.visits = Visits(*(np.concatenate([getattr(one, name) for one in visits]) for name in ("user", "time", "device", "interest")))
        self._policy = Policy(self.items)

    def requests(self, day: int) -> Requests:
        """All requests of a day, 0 the first, by user, then time."""
        number = np.flatnonzero(self.visits.day == day)
        visits = self.visits.at(number)
        opens = np.diff(visits.user, prepend=-1) != 0
        turn = np.arange(len(number)) - np.maximum.accumulate(np.where(opens, np.arange(len(number)), 0))
        return Requests(number, visits, turn, self._chosen(visits, day, self.pool, "pools"))

    def usual(self, day: int) -> np.ndarray:
        """What the shop itself shows in the requests of a day, item rows [R, N]: its channels in random order, whatever was clicked before."""
        return self._chosen(self.visits.at(self.visits.day == day), day, self.settings.candidates, "shown")

    def _chosen(self, visits: Visits, day: int, slots: int, stream: str) -> np.ndarray:
        rng = generator(self.settings.seed, stream, day)
        return self._policy.choose(self.users, visits.user, visits.day, visits.interest, slots, rng)

    def appeal(self, requests: Requests, item: np.ndarray) -> np.ndarray:
        """The true probability of a click on each item that is looked at, float64 [R, N]."""
        return appeal_of(self.users, self.items, requests.visits, item).click

    def answer(self, requests: Requests, item: np.ndarray) -> Block:
        """What users do with item rows [R, N], by slot."""
        looks, number, visits = examination(item.shape[1]), requests.number[:, None], requests.visits
        appeal = appeal_of(self.users, self.items, visits, item)
        seen = uniform(self.settings.seed, "answers", number, np.arange(item.shape[1]), _LOOK) < looks
        draws = (uniform(self.settings.seed, "answers", number, item, decision) for decision in (_CLICK, _CART, _ORDER))
        labels = react(appeal, seen, *draws)
        return Block(visits.user, visits.time, visits.device, visits.interest, item, appeal.parts, appeal.probability(looks.mean()), labels)

    def inputs(self, requests: Requests, histories: Histories, pad_id: int) -> dict[str, np.ndarray]:
        """The requests as a served model takes them, with their whole pools as candidates: raw ids, the newest click first, nothing of the truth."""
        users, visits = self.users, requests.visits
        history = histories.item[visits.user]
        return {
            "candidate_ids": self.items.item_id[requests.pool],
            "history_ids": np.where(history == NO_ITEM, pad_id, self.items.item_id[history]),
            "history_times": histories.time[visits.user],
            "time": visits.time,
            "user_id": users.user_id[visits.user],
            "user_gender": _words(GENDERS, users.gender[visits.user]),
            "user_age_group": _words(AGE_GROUPS, users.age_group[visits.user]),
            "context_hour": _words([str(hour) for hour in range(24)], visits.hour),
            "context_device": _words(DEVICES, visits.device),
        }


def live(shop: LiveShop, requests: Requests, histories: Histories, choose: Choose) -> Block:
    """A day: each user's first request, then each one's second, and so on, so that a request knows the clicks of those before it.

    Args:
        shop: the shop.
        requests: all requests of the day.
        histories: the clicks of earlier days; those of the day are added.
        choose: what is shown.
    """
    shown = np.zeros((len(requests.number), shop.settings.candidates), np.int64)
    for turn in range(int(requests.turn.max(initial=-1)) + 1):
        rows = np.flatnonzero(requests.turn == turn)
        some = requests.at(rows)
        shown[rows] = choose(some, histories)
        block = shop.answer(some, shown[rows])
        histories.add(block.user, block.time, block.item, block.labels["click"])
    return shop.answer(requests, shown)


def _words(names: list[str] | tuple[str, ...], rows: np.ndarray) -> np.ndarray:
    return np.array([name.encode() for name in names], object)[rows][:, None]
