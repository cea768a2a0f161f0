"""The words of the embedded shop: its attributes, and how titles, descriptions and search queries speak of them.

Every attribute value has synonyms, the first of which is the most frequent, and a text mentions only some of an item's attributes:
material, style, audience and quality often, colour and pattern seldom, because those are left to the image.
"""

from __future__ import annotations

import numpy as np

# category -> type -> words. Every word in this file's tables is a single one and belongs to one value only.
TYPES: dict[str, dict[str, tuple[str, ...]]] = {
    "clothing": {"dress": ("dress", "gown"), "shirt": ("shirt", "blouse"), "jacket": ("jacket", "blazer"), "trousers": ("trousers", "slacks")},
    "shoes": {
        "sneakers": ("sneakers", "trainers"), "boots": ("boots", "bootees"), "sandals": ("sandals", "slides"), "slippers": ("slippers", "mules"),
    },
    "bags": {
        "backpack": ("backpack", "rucksack"), "handbag": ("handbag", "tote"), "suitcase": ("suitcase", "trolley"), "wallet": ("wallet", "purse"),
    },
    "living": {"lamp": ("lamp", "light"), "rug": ("rug", "carpet"), "cushion": ("cushion", "pillow"), "vase": ("vase", "urn")},
    "kitchen": {"mug": ("mug", "cup"), "kettle": ("kettle", "teapot"), "pan": ("pan", "skillet"), "bowl": ("bowl", "dish")},
    "outdoor": {"tent": ("tent", "shelter"), "bottle": ("bottle", "flask"), "umbrella": ("umbrella", "parasol"), "hammock": ("hammock", "swing")},
}  # fmt: skip
MATERIALS_OF: dict[str, tuple[str, ...]] = {
    "clothing": ("cotton", "linen", "wool", "denim"),
    "shoes": ("leather", "canvas", "suede", "rubber"),
    "bags": ("leather", "canvas", "nylon", "cork"),
    "living": ("linen", "wool", "wood", "glass"),
    "kitchen": ("steel", "glass", "ceramic", "wood"),
    "outdoor": ("nylon", "canvas", "steel", "bamboo"),
}
WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "category": {
        "clothing": ("clothing", "apparel"), "shoes": ("shoes", "footwear"), "bags": ("bags", "luggage"),
        "living": ("living", "decoration"), "kitchen": ("kitchen", "cooking"), "outdoor": ("outdoor", "camping"),
    },
    "type": {name: words for group in TYPES.values() for name, words in group.items()},
    "colour": {
        "red": ("red", "crimson", "scarlet"), "yellow": ("yellow", "lemon"), "green": ("green", "emerald"), "teal": ("teal", "turquoise"),
        "blue": ("blue", "navy", "azure"), "pink": ("pink", "fuchsia"), "black": ("black", "ebony"), "white": ("white", "ivory"),
    },
    "material": {
        "cotton": ("cotton", "jersey"), "linen": ("linen", "flax"), "wool": ("wool", "merino"), "denim": ("denim",),
        "leather": ("leather", "cowhide"), "canvas": ("canvas", "sailcloth"), "suede": ("suede", "nubuck"),
        "rubber": ("rubber", "latex"), "nylon": ("nylon", "ripstop"), "cork": ("cork",), "wood": ("wood", "oak", "walnut"),
        "glass": ("glass", "crystal"), "steel": ("steel", "stainless"), "ceramic": ("ceramic", "porcelain"), "bamboo": ("bamboo", "rattan"),
    },
    "style": {
        "minimalist": ("minimalist", "understated", "sleek"), "vintage": ("vintage", "retro", "nostalgic"),
        "sporty": ("sporty", "athletic"), "bohemian": ("bohemian", "boho"), "elegant": ("elegant", "refined", "graceful"),
        "rustic": ("rustic", "farmhouse"), "playful": ("playful", "whimsical", "quirky"), "urban": ("urban", "metropolitan", "edgy"),
    },
    "pattern": {
        "plain": ("plain", "unicolour"), "striped": ("striped", "stripy"), "dotted": ("dotted", "spotted"),
        "checked": ("checked", "plaid", "gingham"), "zigzag": ("zigzag", "chevron"),
    },
    "audience": {"women": ("women", "ladies"), "men": ("men", "gentlemen"), "kids": ("kids", "children"), "everyone": ("everyone", "unisex")},
    "tier": {
        "basic": ("basic", "budget", "economy"), "standard": ("reliable", "everyday"),
        "premium": ("premium", "superior"), "luxury": ("luxury", "deluxe", "exquisite"),
    },
}  # fmt: skip

_SYLLABLES = (
    ("Al", "Bre", "Cor", "Dal", "Eri", "Fen", "Gal", "Hol", "Ista", "Jor", "Kel", "Lun", "Mar", "Nor", "Oli", "Pel", "Quin", "Ros", "Sol", "Tav"),
    ("ba", "den", "dra", "fast", "gard", "havn", "kin", "lio", "mont", "nel", "para", "rell", "sen", "tis", "vara", "vik", "wen", "xa", "ya", "zo"),
)
_SHOPS = (
    ("Harbour", "Maple", "Orchard", "Lantern", "Meadow", "Corner", "River", "Summit", "Garden", "Station"),
    ("Store", "Outlet", "Market", "Bazaar", "Warehouse", "Depot", "Gallery", "House", "Emporium", "Arcade"),
)

_TITLE_RATE = {"style": 0.6, "colour": 0.25, "material": 0.6, "pattern": 0.15, "audience": 0.5, "tier": 0.45, "brand": 0.6}
_BODY_RATE = {"category": 0.7, "style": 0.7, "colour": 0.15, "material": 0.7, "pattern": 0.15, "audience": 0.6, "tier": 0.6, "brand": 0.2}
_QUERY_RATE = {"type": 0.85, "style": 0.3, "colour": 0.4, "material": 0.3, "pattern": 0.15, "audience": 0.25, "brand": 0.12}
_QUERY_WORDS = 4
_OTHER_COLOUR_RATE = 0.08  # share of descriptions that name a colour the item does not have

_SENTENCES = {
    "category": ("More in {}.", "From our {} department."),
    "style": ("The look is {}.", "The design is {}."),
    "colour": ("Comes in {}.", "Shown in {}."),
    "material": ("Made of {}.", "We use only {}."),
    "pattern": ("With a {} finish.", "The surface is {}."),
    "audience": ("Designed for {}.", "A gift for {}."),
    "tier": ("Expect {} workmanship.", "Our {} line."),
    "brand": ("Another find from {}.", "By the people of {}."),
}
_FILLERS = (
    "Ships in two days.", "Free returns.", "New arrival.", "Our customers asked for it.", "Limited stock.",
    "Packed without plastic.", "Tested in daily use.", "Read the care label.", "Size as pictured.",
)  # fmt: skip


def brand_names(count: int, rng: np.random.Generator) -> list[str]:
    """`count` different invented names, at most 400."""
    return _pairs(_SYLLABLES, "", count, rng)


def shop_names(count: int, rng: np.random.Generator) -> list[str]:
    """`count` different invented names, at most 100."""
    return _pairs(_SHOPS, " ", count, rng)


def write_texts(values: dict[str, np.ndarray], brands: np.ndarray, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Titles and descriptions of items.

    Args:
        values: attribute -> int array [B], the value of each item in the order of `WORDS[attribute]`.
        brands: object array [B] of brand names.
        rng: source of synonyms, mentions and order.
    """
    words = _choose_words(values, brands, rng)
    titles = _mentioned(words, {"type": 1.0, **_TITLE_RATE}, rng)
    words = _choose_words(values, brands, rng)  # the description may use another synonym than the title
    bodies = _mentioned(words, _BODY_RATE, rng)
    forms = rng.integers(3, size=len(brands))
    return [_title(words, form) for words, form in zip(titles, forms, strict=True)], [_description(words, rng) for words in bodies]


def write_queries(values: dict[str, np.ndarray], brands: np.ndarray, rng: np.random.Generator) -> list[str]:
    """Search queries of one to four words, each true of its item; the image may be the only place that shows it."""
    queries = []
    for row, words in enumerate(_mentioned(_choose_words(values, brands, rng), _QUERY_RATE, rng)):
        if not words:
            name = list(WORDS["type"])[values["type"][row]]
            words = {"type": WORDS["type"][name][0]}
        order = rng.permutation(len(words))[:_QUERY_WORDS]
        chosen = list(words.values())
        queries.append(" ".join(chosen[index] for index in order).lower())
    return queries


def _pairs(parts: tuple[tuple[str, ...], ...], glue: str, count: int, rng: np.random.Generator) -> list[str]:
    first, second = parts
    chosen = rng.choice(len(first) * len(second), size=count, replace=False)
    return [first[index // len(second)] + glue + second[index % len(second)] for index in chosen]


def _choose_words(values: dict[str, np.ndarray], brands: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """attribute -> object array [B]: one of the synonyms of each item's value."""
    chosen = {"brand": brands}
    for attribute, synonyms in WORDS.items():
        table = list(synonyms.values())
        draws = rng.random(len(brands)) ** 2  # favours the first synonym
        said = [table[value][int(draw * len(table[value]))] for value, draw in zip(values[attribute], draws, strict=True)]
        chosen[attribute] = np.array(said, dtype=object)
    return chosen


def _mentioned(words: dict[str, np.ndarray], rates: dict[str, float], rng: np.random.Generator) -> list[dict[str, str]]:
    """For each item the words that its text mentions, by attribute."""
    count = len(words["brand"])
    masks = {attribute: rng.random(count) < rate for attribute, rate in rates.items()}
    return [{attribute: words[attribute][row] for attribute, mask in masks.items() if mask[row]} for row in range(count)]


def _title(words: dict[str, str], form: int) -> str:
    def say(*attributes: str) -> str:
        return " ".join(words[attribute] for attribute in attributes if attribute in words)

    audience = f"for {words['audience']}" if "audience" in words else ""
    if form == 0:
        parts = [say("brand", "tier", "style", "pattern", "colour", "material", "type"), audience]
    elif form == 1:
        inside = say("colour", "pattern", "material")
        parts = [say("tier", "style", "type"), audience, f"in {inside}" if inside else "", f"by {words['brand']}" if "brand" in words else ""]
    else:
        details = [say(attribute) for attribute in ("material", "colour", "pattern", "tier") if attribute in words]
        parts = [say("brand", "style", "type"), f"- {', '.join(details)}" if details else "", audience]
    title = " ".join(part for part in parts if part)
    return title[0].upper() + title[1:]


def _description(words: dict[str, str], rng: np.random.Generator) -> str:
    sentences = [_SENTENCES[attribute][rng.integers(len(_SENTENCES[attribute]))].format(word) for attribute, word in words.items()]
    if rng.random() < _OTHER_COLOUR_RATE:
        colours = list(WORDS["colour"])
        sentences.append(f"Also available in {colours[rng.integers(len(colours))]}.")
    sentences += [_FILLERS[index] for index in rng.choice(len(_FILLERS), size=rng.integers(2), replace=False)]
    return " ".join(sentences[index] for index in rng.permutation(len(sentences)))
