"""The one form that texts are read in: by what learns words from them, by encoders in training and after it, by queries.

Unicode form NFKC; a run of white space and control characters of any kind is one space, none at the ends; characters of no width
(byte order marks, soft hyphens) are taken out, but for the joiners that make letters and emoji.

NFKC, because tokenizers that lower case fold by it: in NFKC no character is left that becomes white space inside a word when its case
is folded, as no-break spaces and accents that stand alone do, after the words were split.
"""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf
import tensorflow_text as tf_text

FORM = "NFKC 1"  # enters the version of every text encoder; another form is another number
_NO_WIDTH = r"[^\P{Cf}\x{200c}\x{200d}]"
_SPACES = r"[\p{Z}\p{Cc}]+"
_AT_ONCE = 4096


def normalize(texts: tf.Tensor) -> tf.Tensor:
    """Texts (UTF-8, any shape) in the one form; works in a graph.

    >>> normalize(tf.constant(["red\\u00a0lamp", " \\u00b4 \\t ﬁne\\u00ad "])).numpy().tolist()
    [b'red lamp', b'\\xcc\\x81 fine']
    """
    texts = tf_text.normalize_utf8(tf.strings.regex_replace(texts, _NO_WIDTH, ""), "NFKC")
    return tf.strings.strip(tf.strings.regex_replace(texts, _SPACES, " "))


def normalized(texts: Iterable[str]) -> list[str]:
    """Texts in the one form, in their order.

    >>> normalized(["red\\u00a0 lamp", ""])
    ['red lamp', '']
    """
    texts, found = list(texts), []
    for start in range(0, len(texts), _AT_ONCE):
        found += [text.decode() for text in normalize(tf.constant(texts[start : start + _AT_ONCE], tf.string)).numpy().tolist()]
    return found
