"""The one spelling of a value, inside a graph: as `ppm_tf.data.raw.column_forms.canonical` writes it for the trainer."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from ppm_tf.data.raw.column_forms import FALSE, NEGATIVE_ZERO, TRUE, ZERO_FRACTION

_LITERAL = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?"
_CLOSING_ZEROS = r"^(-?(?:0|[1-9][0-9]*)\.[0-9]*[1-9])0+$"
_MAX_EXACT = 2.0**53


def canonical_words(words: tf.Tensor, missing: Sequence[str], numeric: bool = False) -> tf.Tensor:
    """Strings of any shape in their one spelling; "" where they mean that nothing is here.

    Args:
        words: string tensor `[...]`.
        missing: words for "nothing is here"; white space around them does not count.
        numeric: whether the field holds numbers, so that `1e3` is 1000. A number with an exponent is read up to 2^53.
    """
    for pattern, spelling in ((ZERO_FRACTION, r"\1"), (NEGATIVE_ZERO, "0"), (TRUE, "true"), (FALSE, "false")):
        words = tf.strings.regex_replace(words, pattern, spelling)
    if numeric:
        words = _plain_numbers(words)
    stripped = tf.strings.strip(words)
    gone = tf.zeros_like(stripped, tf.bool)
    for word in missing:
        gone |= stripped == word.strip()
    return tf.where(gone, "", words)


def _plain_numbers(words: tf.Tensor) -> tf.Tensor:
    words = tf.strings.regex_replace(words, _CLOSING_ZEROS, r"\1")
    power = tf.strings.regex_full_match(words, _LITERAL) & tf.strings.regex_full_match(words, r".*[eE].*")
    value = tf.strings.to_number(tf.where(power, words, "0"), tf.float64)
    whole = power & (value == tf.floor(value)) & (tf.abs(value) < _MAX_EXACT)
    return tf.where(whole, tf.strings.as_string(tf.cast(tf.where(whole, value, 0.0), tf.int64)), words)
