"""`RuleCleaner`: takes contact data, markup and boilerplate out of item texts, by rules."""

from __future__ import annotations

import hashlib
import html.entities
import json
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from ppm_tf.storage import write_json

logger = logging.getLogger(__name__)

FILE_NAME = "cleaner.json"
_MOST_PASSES = 8

# === What is taken out ===
# Each pattern takes time in proportion to the text: it starts at few places, and what repeats in it is bounded or unambiguous.

_BLOCK_TAGS = (
    "address article blockquote br caption dd div dl dt footer form h1 h2 h3 h4 h5 h6 header hr li main nav ol p pre section table tbody td tfoot th"
    " thead tr ul"
)
_INLINE_TAGS = (
    "a abbr b big body button center cite code del em embed font head html i iframe img input ins label link meta noscript object option param q s"
    " select small span strike strong sub sup title tt u var video wbr"
)
# An attribute has a value: "a<b and c>d" is no tag.
_ATTRIBUTES = r"""(?:\s+[\w:-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+))*\s*/?>"""
_HIDDEN = re.compile(r"<!--(?:(?!<!--).)*?-->|<!doctype[^<>]*>|<(script|style)\b[^<>]*>(?:(?!<\1\b).)*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_BLOCK = re.compile(rf"</?(?:{'|'.join(_BLOCK_TAGS.split())}){_ATTRIBUTES}", re.IGNORECASE)
_INLINE = re.compile(rf"</?(?:{'|'.join(_INLINE_TAGS.split())}){_ATTRIBUTES}", re.IGNORECASE)
_AMPERSAND = re.compile(r"&(?:(?:amp|#0{0,5}38|#x0{0,4}26);)+", re.IGNORECASE)  # however often it was escaped
_ENTITY = re.compile(r"&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([A-Za-z][A-Za-z0-9]{1,31}));")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\((?:https?://|www\.|mailto:|/)[^\s()]*\)")  # [text](address) keeps its text

_URL_END = r"""[^\s.,;:!?()\[\]{}"'<>]"""
_URL = re.compile(
    rf"(?:\b(?:https?|ftp)://|\bwww\.(?=\w)|(?<![\w.-])(?:[\w-]{{1,63}}\.){{1,6}}(?:com|net|org|edu|gov|info|biz)/)\S*{_URL_END}", re.IGNORECASE
)
_EMAIL = re.compile(r"(?<![\w.+-])(?:mailto:)?[\w.+-]+@[\w-]+(?:\.[\w-]+)+", re.IGNORECASE)

# A number is a telephone number by its form or by its label; never as part of a price, model number, date or measure.
_BEFORE, _AFTER = r"(?<![\w$€£#.,/+-])", r"(?![\w%\"'”″]|[-/.,]\w)"
_LABEL = r"\b(?:tel|fax|call|hotline|whatsapp|(?:tele)?phone|mobile)\b"
_DIGITS = r"\+?\(?\d(?:[ ().-]{0,2}\d){6,14}"
_NUMBERS = re.compile(
    "|".join(
        (
            rf"{_BEFORE}(?:\+?1[ .-]?)?\(\d{{3}}\) ?\d{{3}}[ .-]\d{{4}}{_AFTER}",  # (555) 010-0199
            rf"{_BEFORE}(?:\+?1[ .-])?[2-9]\d\d(?P<mark>[.-])[2-9]\d\d(?P=mark)\d{{4}}{_AFTER}",  # 555-210-0199
            rf"{_BEFORE}(?=\+(?:[ ().-]{{0,2}}\d){{8}})\+[1-9]\d{{0,2}}(?:[ .-]?\(0\))?(?:[ .-]?\d{{2,4}}){{2,5}}{_AFTER}",  # +44 20 7946 0958
            # "Phone" and "mobile" are also goods, so that a colon or the like must follow, or the grouping of North America.
            rf"\b(?:tel|fax|call|hotline|whatsapp)\b(?: (?:us|now|today|toll[ -]free|no|number))*\.?(?: ?[:#]| at\b| on\b)? ?{_DIGITS}{_AFTER}",
            rf"\b(?:(?:tele)?phone|mobile)\b(?: (?:no|number))?(?:\.? ?[:#]| at\b|\.) ?{_DIGITS}{_AFTER}",
            rf"\b(?:(?:tele)?phone|mobile)\b (?:1[ .-])?\(?\d{{3}}\)?[ .-]\d{{3}}[ .-]\d{{4}}{_AFTER}",
        )
    ),
    re.IGNORECASE,
)
_SEVEN_DIGITS = re.compile(r"\d(?:[ ().-]{0,2}\d){6}")
_DATE = re.compile(r"(?:19|20)\d\d ?[-–] ?(?:19|20)\d\d|\b\d{4}-\d{2}-\d{2}\b|\b\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}\b")

# "\0" stands where something was taken out, until what it leaves behind is gone too: labels, brackets, punctuation.
_LEFT_BEHIND = (
    (re.compile(rf"(?:{_LABEL}|\be-?mail\b)(?: us)?(?: at)?\.? ?[:#]? ?(?=\0)", re.IGNORECASE), ""),
    (re.compile(r"[(\[] ?\0 ?[)\]]"), "\0"),
    (re.compile(r"\0(?:[ ,;:/|-]{0,3}\0)+"), "\0"),
    (re.compile(r"^\s*\0[\s,;:.!?-]*"), ""),
    (re.compile(r"(?<=[.!?])\s*\0[ ,;:-]{0,2}[.!?]"), ""),
    (re.compile(r" ?\0(?=\s*[,;:.!?])"), ""),
    (re.compile(r" ?\0 ?"), " "),
)

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[^\Wa-z_])|\n+|\s+•\s+")
_SPACES = re.compile(r"\s+")
_MARKUP = {"tags": (_BLOCK, _INLINE), "entities": (_ENTITY,)}
_MOST_LOOKED_AT = 100_000  # texts in which markup is looked for


class RuleCleaner:
    """Takes out contact data, links, markup and sentences that recur from item to item.

    Rules: HTML tags, comments and entities, control characters and repeated white space; e-mail addresses; URLs; telephone
    numbers, with the label before them ("Tel.:"); and boilerplate, sentences that `fit` found in many items. Numbers count as
    a telephone number only by their form (an international prefix, or the grouping of North America) or by a label, so that
    prices, sizes, dates and part numbers stay.

    A text of which nothing would be left stays as it was. Cleaning twice is cleaning once.

    Args:
        boilerplate: sentences to take out, compared without case and white space.

    Example:

    >>> RuleCleaner().clean(["Oak door, 31-1/2 in. x 80 in. Call 555-010-0199 or <b>visit</b> www.doors.example!"])
    ['Oak door, 31-1/2 in. x 80 in. or visit!']
    """

    kind = "rules"

    def __init__(self, boilerplate: Iterable[str] = ()):
        self.boilerplate = frozenset(_key(sentence) for sentence in boilerplate) - {""}

    @classmethod
    def fit(cls, texts: Iterable[str], max_share: float = 0.05, min_items: int = 50, min_words: int = 4) -> RuleCleaner:
        """Learns the boilerplate of a catalog.

        A sentence is boilerplate if it recurs verbatim, but for case and white space, in more than `max_share` of the items
        and in at least `min_items` of them, and has at least `min_words` words of letters: in a small catalog, or where the
        sentence is a short attribute ("Made of steel."), recurring says little.

        Args:
            texts: the item texts; empty ones do not count.
            max_share: float. Defaults to 0.05; a hundredth of MovieLens' films are "Directed by Alfred Hitchcock."
            min_items: int. Defaults to 50.
            min_words: int. Defaults to 4.
        """
        if not 0 < max_share < 1 or min_items < 2:
            raise ValueError(f"max_share must lie between 0 and 1, and min_items be at least 2. Received: {max_share}, {min_items}.")
        cleaner, seen, items = cls(), Counter(), 0
        for text in texts:
            if text and text.strip():
                items += 1
                seen.update({_key(sentence) for sentence in _sentences(cleaner._rules(text))})
        least = max(min_items, max_share * items)
        found = (sentence for sentence, count in seen.items() if count >= min_items and count >= least and _num_words(sentence) >= min_words)
        return cls(found)

    @property
    def version(self) -> str:
        """`rules-` and 12 digits of a hash of the rules and the boilerplate."""
        patterns = (_HIDDEN, _BLOCK, _INLINE, _ENTITY, _LINK, _URL, _EMAIL, _NUMBERS, _DATE, *(pattern for pattern, _ in _LEFT_BEHIND), _SENTENCE)
        content = json.dumps([[pattern.pattern for pattern in patterns], sorted(self.boilerplate)], ensure_ascii=False)
        return f"{self.kind}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"

    def clean(self, texts: Sequence[str]) -> list[str]:
        """The texts, cleaned, in their order."""
        return [self._clean(text) for text in texts]

    def save(self, folder: str | Path) -> None:
        """Writes the boilerplate; makes the folder."""
        content = {"kind": self.kind, "version": self.version, "boilerplate": sorted(self.boilerplate)}
        Path(folder).mkdir(parents=True, exist_ok=True)
        write_json(Path(folder, FILE_NAME), content)

    @classmethod
    def load(cls, folder: str | Path) -> RuleCleaner:
        """The cleaner that was saved into `folder`."""
        return cls(json.loads(Path(folder, FILE_NAME).read_text(encoding="utf-8"))["boilerplate"])

    def _clean(self, text: str) -> str:
        if not text or not text.strip():
            return ""
        cleaned = text
        # What one pass leaves can be a tag or a sentence to the next ("&lt;b&gt;").
        for _ in range(_MOST_PASSES):
            before = cleaned
            cleaned = " ".join(sentence for sentence in _sentences(self._rules(cleaned)) if _key(sentence) not in self.boilerplate)
            if cleaned == before:
                return cleaned if any(map(str.isalnum, cleaned)) else text
        return text

    def _rules(self, text: str) -> str:
        """The text without markup and contact data; line breaks stay, since they end sentences."""
        if "&" in text:
            text = _ENTITY.sub(_character, _AMPERSAND.sub("&", text))
        text = _without_controls(text)
        if "<" in text:
            text = _INLINE.sub("", _BLOCK.sub("\n", _HIDDEN.sub(" ", text)))
        if "](" in text:
            text = _LINK.sub(r"\1", text)
        if "/" in text or "." in text:
            text = _URL.sub("\0", text)
        if "@" in text:
            text = _EMAIL.sub("\0", text)
        if _SEVEN_DIGITS.search(text):
            text = _NUMBERS.sub(_unless_a_date, text)
        if "\0" in text:
            for pattern, replacement in _LEFT_BEHIND:
                text = pattern.sub(replacement, text)
        return text


def hint_at_markup(texts: Sequence[str]) -> None:
    """Logs how many of the texts hold HTML tags or entities that no cleaning takes out, and the setting that does; nothing where none does."""
    sample = texts[:: -(-len(texts) // _MOST_LOOKED_AT)] if texts else []
    first, counts = "", Counter()
    for text in sample:
        kinds = [kind for kind, patterns in _MARKUP.items() if any(pattern.search(text) for pattern in patterns)]
        counts.update([*kinds, *(["either"] if kinds else [])])
        first = first or (text if kinds else "")
    if counts:
        logger.info(
            "%s of %s texts hold HTML: %s with tags, %s with entities, such as %r; they are encoded as they stand. "
            "text.cleaning=rules takes both out",
            *(f"{count:,}" for count in (counts["either"], len(sample), counts["tags"], counts["entities"])), first[:80],
        )  # fmt: skip


# === Parts of a text ===


def _sentences(text: str) -> list[str]:
    return [sentence for sentence in (_SPACES.sub(" ", part).strip() for part in _SENTENCE.split(text)) if sentence]


def _key(sentence: str) -> str:
    return _SPACES.sub(" ", sentence).strip(" .!?").casefold()


def _num_words(sentence: str) -> int:
    return sum(len(word) > 1 for word in re.findall(r"[^\W\d_]+", sentence))


def _character(match: re.Match) -> str:
    """What an entity stands for; one that is not known stays."""
    decimal, hexadecimal, name = match.groups()
    if name:
        return html.entities.html5.get(f"{name};", match[0])
    code = int(decimal) if decimal else int(hexadecimal, 16)
    return chr(code) if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000 else match[0]


def _without_controls(text: str) -> str:
    """Control characters become spaces; characters of no width go (but for joiners, which make letters and emoji)."""
    if text.isascii() and text.isprintable():
        return text
    kept = []
    for character in text:  # a NUL would be taken for the mark of something taken out
        category = unicodedata.category(character)
        if category == "Cc":
            kept.append("\n" if character in "\n\r\v\f" else " ")
        elif category != "Cf" or character in "\u200c\u200d":
            kept.append(" " if category == "Zs" else "\n" if category in ("Zl", "Zp") else character)
    return "".join(kept)


def _unless_a_date(match: re.Match) -> str:
    return match[0] if _DATE.search(match[0]) else "\0"
