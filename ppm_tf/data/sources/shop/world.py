"""The truth of the embedded shop: what its items are, what its users like, and how strongly they act on it.

Three things make a user click. Content: the user's tastes over attributes that text and image show, and the product type of
the moment. The item alone: quality, of which the text tells a part. And a product of a hidden user vector with a hidden item
vector, which no text or image shows, so that only a model that knows the ids can learn it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from ppm_tf.data.sources.shop.language import MATERIALS_OF, TYPES, WORDS, brand_names, shop_names

EPOCH = 1_704_067_200  # 2024-01-01 00:00 UTC, a Monday: the first second of the log
DAY = 86_400

GENDERS = ("female", "male", "unknown")
AGE_GROUPS = ("18-24", "25-34", "35-44", "45-59", "60+")
CATEGORIES = tuple(TYPES)
CATEGORY_OF = np.array([row for row, names in enumerate(TYPES.values()) for _ in names])  # type -> category
_LIKED_VALUES = {"type": 5, "colour": 2, "material": 3, "style": 2, "pattern": 1, "audience": 1}  # values of each that a user likes
TASTE_ATTRIBUTES = tuple(_LIKED_VALUES)

HIDDEN_DIM = 2
HIDDEN_AGE_SHARE = 0.5  # share of the hidden user vector's variance that the age group explains
MISSING_SHARE = 0.03  # items without text, and items without image
_MAIN_STYLE_SHARE = 0.65  # items of a brand in the brand's main style
_MAIN_SHOP_SHARE = 0.7  # items of a brand sold by its main shop
_HOME_SHARE = 0.85  # items of a brand in one of its two categories
_FIRST_ITEM, _FIRST_USER = 1_000_001, 500_001
_STREAMS = ("attributes", "texts", "images", "population", "users", "log", "queries", "shown", "pools", "answers", "policy")


@dataclass(frozen=True)
class Strengths:
    """Weights of the parts of the click logit, and the rates of the funnel.

    The weights are set so that content explains most of the variance of the logit: see `logit_variance` in `truth.json`.
    """

    intercept: float = -3.0
    type: float = 1.8  # weights of a liked value, by attribute, for a user to whom the attribute matters
    colour: float = 3.0
    material: float = 2.4
    style: float = 3.0
    pattern: float = 2.4
    audience: float = 2.4
    interest: float = 2.8  # the product type of the session; half of it for its category
    collaborative: float = 0.85  # hidden user vector . hidden item vector
    told_quality: float = 0.45  # the quality tier, which texts mention
    hidden_quality: float = 0.65
    price: float = 0.4  # distance of the price level from the user's budget
    user: float = 0.20  # how readily the user clicks at all
    context: float = 0.15  # hour and device

    examine_first: float = 0.95  # probability that the first slot is looked at
    examine_last: float = 0.45  # and the last one; geometric in between

    cart: float = -1.80  # logit of putting a clicked item into the cart
    order_with_cart: float = -0.60  # logit of ordering a clicked item that is in the cart
    order_without_cart: float = -4.0
    desire: float = 0.50  # slope of both on the click logit
    buying_price: float = 0.50  # and further slopes on price fit and quality
    buying_quality: float = 0.40


STRENGTHS = Strengths()


@dataclass(frozen=True)
class Items:
    """All items of the shop. V = number of items; rows are in the order of the item file.

    Attributes:
        item_id: int64 [V].
        born_day: int64 [V], the day from whose first second on the item can be shown.
        values: attribute -> int64 [V], indices into `WORDS[attribute]`.
        codes: int64 [V, A], columns of `Users.taste` of the item's value of each taste attribute.
        brand, shop: object [V], names.
        price: float64 [V].
        price_level: float64 [V], the price beside that of other items of the type, in standard deviations.
        quality: float64 [V], what it adds to the click logit.
        hidden: float64 [V, H], the hidden vector.
        popularity: float64 [V], weight with which the shop shows the item.
        has_text, has_image: bool [V].
    """

    item_id: np.ndarray
    born_day: np.ndarray
    values: dict[str, np.ndarray]
    codes: np.ndarray
    brand: np.ndarray
    shop: np.ndarray
    price: np.ndarray
    price_level: np.ndarray
    quality: np.ndarray
    hidden: np.ndarray
    popularity: np.ndarray
    has_text: np.ndarray
    has_image: np.ndarray


@dataclass(frozen=True)
class Users:
    """A block of users. U = users in the block.

    Attributes:
        user_id: int64 [U].
        gender, age_group: int64 [U], rows of `GENDERS` and `AGE_GROUPS`.
        taste: float64 [U, sum of the attributes' values], what a value adds to the click logit.
        favourites: bool [U, types], the product types that the user likes.
        budget: float64 [U], the price level the user looks for.
        eagerness: float64 [U], what the user adds to every click logit.
        hidden: float64 [U, H], the hidden vector.
    """

    user_id: np.ndarray
    gender: np.ndarray
    age_group: np.ndarray
    taste: np.ndarray
    favourites: np.ndarray
    budget: np.ndarray
    eagerness: np.ndarray
    hidden: np.ndarray


def generator(seed: int, stream: str, block: int = 0) -> np.random.Generator:
    """The random numbers of one block of one stream, independent of every other."""
    return np.random.default_rng([seed % 2**63, _STREAMS.index(stream), block])


def uniform(seed: int, stream: str, *numbers: np.ndarray) -> np.ndarray:
    """A number in [0, 1) for each combination of whole numbers, float64 of the shape that they broadcast to: the same whenever it is asked for.

    The bits are mixed as in SplitMix64 (Steele, Lea and Flood 2014).
    """
    state = _mixed(np.full(1, (seed % 2**63) * len(_STREAMS) + _STREAMS.index(stream) & 2**64 - 1, np.uint64))
    for number in numbers:
        state = _mixed(state ^ np.asarray(number).astype(np.uint64))
    return (state >> np.uint64(11)) * 2.0**-53


def _mixed(state: np.ndarray) -> np.ndarray:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ state >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ state >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return state ^ state >> np.uint64(31)


def make_items(seed: int, count: int, days: int) -> Items:
    """Draws the catalog: half of the items are there on day 0, the others are born uniformly over the days."""
    rng = generator(seed, "attributes")
    num_brands = int(np.clip(count // 40, 8, 400))
    num_shops = max(4, num_brands // 4)
    num_styles, num_tiers = len(WORDS["style"]), len(WORDS["tier"])
    brand_style = rng.integers(num_styles, size=num_brands)
    brand_tier = rng.choice(num_tiers, p=(0.25, 0.4, 0.25, 0.1), size=num_brands)
    brand_categories = np.argsort(rng.random((num_brands, len(CATEGORIES))), axis=1)[:, :2]
    brand_shop = rng.integers(num_shops, size=num_brands)
    brand_share = rng.gamma(1.0, size=num_brands) + 0.1

    brand = rng.choice(num_brands, p=brand_share / brand_share.sum(), size=count)
    at_home = rng.random(count) < _HOME_SHARE
    category = np.where(at_home, brand_categories[brand, rng.integers(2, size=count)], rng.integers(len(CATEGORIES), size=count))
    in_category = rng.integers(len(TYPES[CATEGORIES[0]]), size=count)
    materials = np.array([[list(WORDS["material"]).index(name) for name in MATERIALS_OF[name_of]] for name_of in CATEGORIES])
    material_form = np.minimum(rng.geometric(0.4, size=count) - 1, materials.shape[1] - 1)
    tier = brand_tier[brand] + rng.choice((-1, 0, 1), p=(0.2, 0.6, 0.2), size=count)
    values = {
        "category": category,
        "type": np.searchsorted(CATEGORY_OF, category) + in_category,
        "colour": rng.choice(len(WORDS["colour"]), p=_falling(len(WORDS["colour"]), rng), size=count),
        "material": materials[category, material_form],
        "style": np.where(rng.random(count) < _MAIN_STYLE_SHARE, brand_style[brand], rng.integers(num_styles, size=count)),
        "pattern": rng.choice(len(WORDS["pattern"]), p=(0.4, 0.18, 0.15, 0.15, 0.12), size=count),
        "audience": rng.choice(len(WORDS["audience"]), p=(0.35, 0.3, 0.12, 0.23), size=count),
        "tier": np.clip(tier, 0, num_tiers - 1),
    }
    shop = np.where(rng.random(count) < _MAIN_SHOP_SHARE, brand_shop[brand], rng.integers(num_shops, size=count))

    level = 0.45 * (values["tier"] - 1) + rng.normal(0, 0.3, size=count)
    type_price = np.exp(rng.normal(3.3, 0.5, size=len(WORDS["type"])))
    hidden_quality = rng.normal(size=count)
    # A long tail: a power of the rank in an order that is random, but in which quality helps.
    rank = np.argsort(np.argsort(-(0.5 * hidden_quality + rng.normal(size=count))))
    born_day = rng.integers(min(1, days - 1), days, size=count)
    born_day[rng.permutation(count)[: (count + 1) // 2]] = 0
    return Items(
        item_id=np.arange(_FIRST_ITEM, _FIRST_ITEM + count),
        born_day=born_day,
        values=values,
        codes=np.stack([values[name] + offset for name, offset in zip(TASTE_ATTRIBUTES, _offsets(), strict=True)], axis=1),
        brand=np.array(brand_names(num_brands, rng), dtype=object)[brand],
        shop=np.array(shop_names(num_shops, rng), dtype=object)[shop],
        price=np.round(type_price[values["type"]] * np.exp(level), 2),
        price_level=(level - level.mean()) / level.std(),
        quality=STRENGTHS.told_quality * (values["tier"] - 1.2) + STRENGTHS.hidden_quality * hidden_quality,
        hidden=rng.normal(size=(count, HIDDEN_DIM)),
        popularity=(rank + 5.0) ** -0.8,
        has_text=rng.random(count) >= MISSING_SHARE,
        has_image=rng.random(count) >= MISSING_SHARE,
    )


def make_users(seed: int, first: int, count: int, block: int) -> Users:
    """Draws `count` users, the first of whom is user number `first`: the users of one block."""
    fashions, age_vectors = _population(seed)
    rng = generator(seed, "users", block)
    gender = rng.choice(len(GENDERS), p=(0.48, 0.42, 0.1), size=count)
    age_group = rng.choice(len(AGE_GROUPS), p=(0.2, 0.3, 0.22, 0.18, 0.1), size=count)
    tastes = []
    for attribute, num_liked in _LIKED_VALUES.items():
        liking = rng.normal(size=(count, len(WORDS[attribute]))) + fashions[attribute]
        if attribute == "type":
            liking += 1.5 * rng.normal(size=(count, len(CATEGORIES)))[:, CATEGORY_OF]
        elif attribute == "audience":
            women, men = (list(WORDS["audience"]).index(name) for name in ("women", "men"))
            liking[:, women] += np.choose(gender, (2.0, -2.0, 0.0))
            liking[:, men] += np.choose(gender, (-2.0, 2.0, 0.0))
        rank = np.argsort(np.argsort(-liking, axis=1), axis=1)
        liked = (rank < num_liked) * rng.uniform(0.7, 1.3, size=liking.shape)
        importance = rng.beta(0.5, 0.5, size=(count, 1))  # to most users an attribute matters fully or hardly at all
        tastes.append(getattr(STRENGTHS, attribute) * importance * (liked - num_liked / liking.shape[1]))
    own = rng.normal(size=(count, HIDDEN_DIM))
    return Users(
        user_id=np.arange(_FIRST_USER + first, _FIRST_USER + first + count),
        gender=gender,
        age_group=age_group,
        taste=np.concatenate(tastes, axis=1),
        favourites=tastes[TASTE_ATTRIBUTES.index("type")] > 0,
        budget=0.35 * (age_group - 1.6) + rng.normal(0, 0.8, size=count),
        eagerness=STRENGTHS.user * rng.normal(size=count),
        hidden=np.sqrt(HIDDEN_AGE_SHARE) * age_vectors[age_group] + np.sqrt(1 - HIDDEN_AGE_SHARE) * own,
    )


def joined(blocks: Sequence[Users]) -> Users:
    """Several blocks of users as one."""
    return Users(*(np.concatenate([getattr(block, field.name) for block in blocks]) for field in fields(Users)))


def _population(seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What all users share: how fashionable each value is, and the hidden vector of each age group."""
    rng = generator(seed, "population")
    fashions = {attribute: 0.35 * rng.normal(size=len(WORDS[attribute])) for attribute in TASTE_ATTRIBUTES}
    return fashions, rng.normal(size=(len(AGE_GROUPS), HIDDEN_DIM))


def _offsets() -> list[int]:
    sizes = [len(WORDS[name]) for name in TASTE_ATTRIBUTES]
    return [0, *np.cumsum(sizes)[:-1].tolist()]


def _falling(count: int, rng: np.random.Generator) -> np.ndarray:
    """Probabilities of `count` values, some common and some rare, in random order."""
    shares = (np.arange(count) + 2.0) ** -0.7
    return rng.permutation(shares / shares.sum())
