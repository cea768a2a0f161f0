"""The log of the embedded shop: which items a block of users was shown, and what they did.

A user comes in sessions, each with a product type of interest that drifts from session to session. The shop fills a request from
four channels (popularity, taste, new arrivals, exploration) and shows the candidates in random order, so the slot says nothing
about the item, only about how likely it is to be looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ppm_tf.data.sources.shop.world import CATEGORY_OF, DAY, EPOCH, STRENGTHS, Items, Users

DEVICES = ("phone", "desktop", "tablet")
TASKS = ("click", "order", "cart")

_SESSION_LENGTH = 5.0  # mean requests
_GAP_SECONDS = (20, 100)  # least and mean further seconds between two requests of a session
_FAVOURITE_LOG_ODDS = 1.3  # with which a new interest is one of the user's favourite types rather than any other
_KEEP_INTEREST = 0.4  # probability that a session takes over the interest of the one before
_HOURS = np.array([1, 0.5, 0.3, 0.2, 0.2, 0.4, 1, 2, 3, 3, 3, 3, 4, 4, 3, 3, 3, 4, 5, 6, 7, 7, 5, 2.5])
_CHANNELS = {"popular": 0.33, "taste": 0.36, "new": 0.05, "any": 0.26}  # shares of the candidates
_TASTE_DRAWS = 3  # items that the taste channel compares
NEW_DAYS = 3  # age up to which an item is a new arrival
_SURPLUS = 3  # candidates drawn for each one kept, because draws repeat


@dataclass(frozen=True)
class Visits:
    """The requests of a block of users, whatever they are shown; sorted by user, then time.

    Attributes:
        user: int64 [R], row in the block.
        time: int64 [R], seconds since 1970, strictly increasing for a user.
        device: int64 [R], row in `DEVICES`.
        interest: int64 [R], product type of the session's interest.
    """

    user: np.ndarray
    time: np.ndarray
    device: np.ndarray
    interest: np.ndarray

    @property
    def day(self) -> np.ndarray:
        """Days since the first day of the log, int64 [R]; a session begun in the last hour may end after the last day."""
        return (self.time - EPOCH) // DAY

    @property
    def hour(self) -> np.ndarray:
        """Hour of the day, int64 [R]."""
        return self.time % DAY // 3600

    def at(self, rows: np.ndarray) -> Visits:
        """Some of them, by a mask or by number."""
        return Visits(self.user[rows], self.time[rows], self.device[rows], self.interest[rows])


@dataclass(frozen=True)
class Block(Visits):
    """The log of one block of users: its visits, and what came of them. R requests, N candidates.

    Attributes:
        item: int64 [R, N], item rows by slot.
        parts: part of the click logit -> float64 [R, N].
        probability: task -> float64 [R, N], of the label where the slot is not known.
        labels: task -> bool [R, N].
    """

    item: np.ndarray
    parts: dict[str, np.ndarray]
    probability: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]


def examination(slots: int) -> np.ndarray:
    """Probability that each slot is looked at, [slots], falling from first to last."""
    return np.geomspace(STRENGTHS.examine_first, STRENGTHS.examine_last, slots)


class Shelf:
    """Items sorted by group and day of birth, from which those in stock on a day are drawn by weight.

    Args:
        born_day: int64 [V].
        weight: float64 [V], relative frequency of each item.
        group: int64 [V], e.g. the category; 0 for all where missing.
    """

    def __init__(self, born_day: np.ndarray, weight: np.ndarray, group: np.ndarray | None = None):
        group = np.zeros_like(born_day) if group is None else group
        self.span = int(born_day.max()) + 1
        key = group * self.span + born_day
        self.order = np.argsort(key, kind="stable")
        self.key = key[self.order]
        self.total = np.concatenate([[0.0], np.cumsum(weight[self.order])])

    def draw(self, uniform: np.ndarray, day: np.ndarray, group: np.ndarray | int = 0, days: int | None = None) -> np.ndarray:
        """Rows of items of `group` in stock on `day`, born within the last `days` if given; -1 where there is none."""
        day = np.minimum(day, self.span - 1)
        oldest = 0 if days is None else np.maximum(day - days + 1, 0)
        first = np.searchsorted(self.key, group * self.span + oldest)
        end = np.searchsorted(self.key, group * self.span + day, side="right")
        mark = self.total[first] + uniform * (self.total[end] - self.total[first])
        # Rounding can carry the mark over either edge of the stock.
        place = np.clip(np.searchsorted(self.total, mark, side="right") - 1, first, np.maximum(end - 1, first))
        return np.where(end > first, self.order[np.minimum(place, len(self.order) - 1)], -1)


class Policy:
    """What the shop shows: candidates of a request, without repetition, in random order."""

    def __init__(self, items: Items):
        self.items = items
        same = np.ones(len(items.item_id))
        self.by_popularity = Shelf(items.born_day, items.popularity)
        self.by_category = Shelf(items.born_day, np.sqrt(items.popularity), items.values["category"])
        self.by_birth = Shelf(items.born_day, same)

    def choose(self, users: Users, user: np.ndarray, day: np.ndarray, interest: np.ndarray, slots: int, rng: np.random.Generator) -> np.ndarray:
        """Item rows [R, slots] for requests of `user` (rows of `users`) on `day`."""
        shape = (len(user), _SURPLUS * slots)
        channel = rng.choice(len(_CHANNELS), p=list(_CHANNELS.values()), size=shape)
        rows, columns = np.nonzero(channel == list(_CHANNELS).index("taste"))
        drawn = np.select(
            [channel == list(_CHANNELS).index("popular"), channel == list(_CHANNELS).index("new")],
            [self.by_popularity.draw(rng.random(shape), day[:, None]), self.by_birth.draw(rng.random(shape), day[:, None], days=NEW_DAYS)],
            default=-1,
        )
        drawn[rows, columns] = self._to_taste(users, user[rows], day[rows], interest[rows], rng)
        anything = self.by_birth.draw(rng.random(shape), day[:, None])
        drawn = np.where(drawn < 0, anything, drawn)
        return rng.permuted(self._distinct(drawn, day, slots, rng), axis=1)

    def _to_taste(self, users: Users, user: np.ndarray, day: np.ndarray, interest: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Of three items of the session's category, or of the category of a favourite type, the one most to the user's taste."""
        favourite = np.argmax(users.favourites[user] * rng.random((len(user), users.favourites.shape[1])), axis=1)
        category = CATEGORY_OF[np.where(rng.random(len(user)) < 0.6, interest, favourite)]
        drawn = [self.by_category.draw(rng.random(len(user)), day, category) for _ in range(_TASTE_DRAWS)]
        scores = [np.where(item >= 0, affinity(users, user, self.items, item), -np.inf) for item in drawn]
        return np.choose(np.argmax(scores, axis=0), drawn)

    def _distinct(self, drawn: np.ndarray, day: np.ndarray, slots: int, rng: np.random.Generator) -> np.ndarray:
        """The first `slots` different items of each row; a row with fewer is filled from all items in stock."""
        order = np.argsort(drawn, axis=1, kind="stable")
        ordered = np.take_along_axis(drawn, order, axis=1)
        fresh = np.ones(drawn.shape, bool)
        np.put_along_axis(fresh, order[:, 1:], ordered[:, 1:] != ordered[:, :-1], axis=1)
        kept = np.take_along_axis(drawn, np.argsort(~fresh, axis=1, kind="stable")[:, :slots], axis=1)
        for row in np.flatnonzero(fresh.sum(axis=1) < slots):
            have = drawn[row][fresh[row]]
            stock = np.setdiff1d(np.flatnonzero(self.items.born_day <= day[row]), have)
            kept[row] = np.concatenate([have, rng.permutation(stock)[: slots - len(have)]])
        return kept


def affinity(users: Users, user: np.ndarray, items: Items, item: np.ndarray) -> np.ndarray:
    """Sum of the user's tastes over the item's attribute values; `user` and `item` are rows that broadcast."""
    return sum(users.taste[user, items.codes[item, column]] for column in range(items.codes.shape[1]))


@dataclass(frozen=True)
class Appeal:
    """How strongly users are drawn to items, float64 [R, N] each.

    Attributes:
        parts: part of the click logit -> its value.
        click: probability of a click on an item that is looked at.
        cart: probability of putting a clicked item into the cart.
        order_with_cart: probability of ordering a clicked item that is in the cart.
        order_without_cart: and of one that is not.
    """

    parts: dict[str, np.ndarray]
    click: np.ndarray
    cart: np.ndarray
    order_with_cart: np.ndarray
    order_without_cart: np.ndarray

    def probability(self, looks: np.ndarray | float) -> dict[str, np.ndarray]:
        """Of each label, given the probability that the item is looked at."""
        seen = looks * self.click
        order = seen * (self.cart * self.order_with_cart + (1 - self.cart) * self.order_without_cart)
        return {"click": seen, "order": order, "cart": seen * self.cart}


def simulate(users: Users, items: Items, policy: Policy, days: int, requests_per_user: int, slots: int, rng: np.random.Generator) -> Block:
    """The log of `users` over `days`."""
    visits = visit(users, days, requests_per_user, rng)
    item = policy.choose(users, visits.user, np.minimum(visits.day, days - 1), visits.interest, slots, rng)
    appeal = appeal_of(users, items, visits, item)
    looks = examination(slots)
    labels = react(appeal, looks, *rng.random((3, *item.shape)))
    return Block(visits.user, visits.time, visits.device, visits.interest, item, appeal.parts, appeal.probability(looks.mean()), labels)


def visit(users: Users, days: int, requests_per_user: int, rng: np.random.Generator) -> Visits:
    """When `users` come over `days`, and what they look for."""
    user, session, time = _visits(len(users.user_id), days, requests_per_user, rng)
    interest = _interests(users, user, session, rng)
    device = rng.choice(len(DEVICES), p=(0.6, 0.3, 0.1), size=len(users.user_id))[user]
    return Visits(user, time, np.where(rng.random(len(user)) < 0.15, rng.integers(len(DEVICES), size=len(user)), device), interest)


def appeal_of(users: Users, items: Items, visits: Visits, item: np.ndarray) -> Appeal:
    """What draws each visit's user to items, int64 [R, N]."""
    who, wanted, kind = visits.user[:, None], visits.interest[:, None], items.values["type"][item]
    # Users click a little more readily in the evening, and at a desk.
    mood = np.sin((visits.hour - 14) / 24 * 2 * np.pi) + np.array([-0.5, 0.8, 0.2])[visits.device]
    price_fit = 1.0 - np.abs(users.budget[who] - items.price_level[item])
    parts = {
        "taste": affinity(users, who, items, item),
        "interest": STRENGTHS.interest * np.where(kind == wanted, 1.0, np.where(CATEGORY_OF[kind] == CATEGORY_OF[wanted], 0.5, 0.0)),
        "collaborative": STRENGTHS.collaborative * (users.hidden[who] * items.hidden[item]).sum(axis=2) / np.sqrt(items.hidden.shape[1]),
        "quality": items.quality[item],
        "price": STRENGTHS.price * price_fit,
        "user_and_context": np.broadcast_to((users.eagerness[visits.user] + STRENGTHS.context * mood)[:, None], item.shape),
    }
    logit = STRENGTHS.intercept + sum(parts.values())
    extra = STRENGTHS.desire * logit + STRENGTHS.buying_price * price_fit + STRENGTHS.buying_quality * parts["quality"]
    bases = (STRENGTHS.cart, STRENGTHS.order_with_cart, STRENGTHS.order_without_cart)
    return Appeal(parts, _sigmoid(logit), *(_sigmoid(base + extra) for base in bases))


def react(appeal: Appeal, looks: np.ndarray, click: np.ndarray, cart: np.ndarray, order: np.ndarray) -> dict[str, np.ndarray]:
    """What users do, bool [R, N] by task: from uniform numbers [R, N], one for each decision."""
    clicked = click < looks * appeal.click
    in_cart = clicked & (cart < appeal.cart)
    return {"click": clicked, "order": clicked & (order < np.where(in_cart, appeal.order_with_cart, appeal.order_without_cart)), "cart": in_cart}


def _visits(num_users: int, days: int, requests_per_user: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """User row, session number and time of each request, [R] each."""
    activity = rng.gamma(2.0, 0.5, size=num_users)  # mean 1: some users come four times as often as others
    counts = 1 + rng.poisson((requests_per_user - 1) * activity)
    user = np.repeat(np.arange(num_users), counts)
    opens = rng.random(len(user)) < 1 / _SESSION_LENGTH
    opens[np.cumsum(counts) - counts] = True
    session = np.cumsum(opens) - 1

    of_user = user[opens]
    hour = rng.choice(24, p=_HOURS / _HOURS.sum(), size=len(of_user))
    start = rng.integers(days, size=len(of_user)) * DAY + hour * 3600 + rng.integers(3600, size=len(of_user))
    start = start[np.lexsort((start, of_user))]
    least, mean = _GAP_SECONDS
    gap = np.where(opens, 0, least + rng.exponential(mean, size=len(user)).astype(np.int64))
    since_first = np.cumsum(gap)
    time = start[session] + since_first - since_first[opens][session]
    # A session that begins before the last one ended is put behind it, so that a user's times rise by a second or more.
    count_up = np.arange(len(user))
    far = 4 * days * DAY + len(user)
    time = np.maximum.accumulate(time + user * far - count_up) + count_up - user * far
    return user, session, EPOCH + time


def _interests(users: Users, user: np.ndarray, session: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Product type of each request's session, [R]: kept from the session before, or drawn to the user's taste."""
    first = np.flatnonzero(np.diff(session, prepend=-1))  # request that opens each session
    of_user = user[first]
    log_odds = _FAVOURITE_LOG_ODDS * users.favourites[of_user]
    drawn = np.argmax(log_odds + rng.gumbel(size=log_odds.shape), axis=1)
    renewed = (rng.random(len(first)) >= _KEEP_INTEREST) | (np.diff(of_user, prepend=-1) != 0)
    source = np.maximum.accumulate(np.where(renewed, np.arange(len(first)), 0))
    return drawn[source][session]


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-logit))
