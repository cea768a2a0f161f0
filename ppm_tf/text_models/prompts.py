"""`Prompts`: requests as sentences, made of tokens that were computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from ppm_tf.data.schema import Field, Schema
from ppm_tf.rows import FIRST_ROW, PADDING_ROW

HISTORY, CANDIDATE, UNKNOWN = "history:", "candidate:", "unknown"
_AT_ONCE = 8192  # texts tokenized together


def words_of(name: str) -> str:
    """A field's name in words.

    >>> words_of("user_age.group")
    'user age group'
    """
    return name.replace("_", " ").replace(".", " ")


class Prompts:
    """Prompts of a data set, from batches of rows, in the graph.

    A field is the sentence `name: value;`, with a further `value;` for each further value; a row of a vocabulary is its word, one that is
    missing leaves its field out. A whole prompt is

        <user fields> <request fields> history: <text>; <text>; ... candidate: <item fields> <text>; <question>

    with the newest behavior first, each as its text, or as its fields where it has none. What an item is comes from the catalog: no id is in
    a prompt. Each text, word and header is tokenized once, when this is made; a prompt is put together from their tokens. One that is longer
    than `max_tokens` loses tokens at the end of the history first, which are those of the oldest behaviors, then the end of the candidate.

    Args:
        schema: `Schema` of the data set.
        fields: dict of item field -> vocabulary rows, int `[V, values]`, as in the catalog.
        numbers: dict of numeric item column -> float `[V]`, NaN where missing.
        texts: texts of the items in catalog order, `V - FIRST_ROW` of them; "" where there is none.
        tokenize: list of strings -> ragged int32 `[B, None]`, without special tokens.
        start: id of the token that opens a prompt, or `None`.
        end: id of the token that closes it, or `None`.
        pad: id of the padding token.
        max_tokens: int. Most tokens of a prompt, special ones included.
        behaviors: int. Behaviors that are told, the newest ones; 0 leaves the history out.
        item_tokens: int. Most tokens of a behavior.
        candidate_tokens: int. Most tokens of a candidate's text.
        question: string. Closes the prompts of `pairs`; it is never cut. Defaults to `""`.

    Each method returns a dict of `"token_ids"` and `"padding_mask"`, int32 `[B, L]`, and `"cut"` bool `[B]`, whether the prompt was too long.
    """

    def __init__(
        self,
        schema: Schema,
        fields: Mapping[str, np.ndarray],
        numbers: Mapping[str, np.ndarray],
        texts: Sequence[str],
        tokenize: Callable[[list[str]], tf.RaggedTensor],
        start: int | None,
        end: int | None,
        pad: int,
        max_tokens: int,
        behaviors: int,
        item_tokens: int,
        candidate_tokens: int,
        question: str = "",
    ):
        self._tokenize, self._ends, self._pad = tokenize, (start, end), pad
        self.max_tokens, self._behaviors = max_tokens, behaviors
        self._fields = {side: [self._table_of(field) for field in schema.side(side)] for side in ("user", "context")}
        self._history, self._candidate = self._table(["", HISTORY]), self._table([CANDIDATE])
        self._question, self._nothing = self._table([question]), self._table([""])
        self._stop = self._table([";"])
        parts = [_sentence(self._table_of(field), tf.constant(fields[field.name], tf.int32)) for field in schema.side("item")]
        parts += [self._table(_number_words(name, numbers[name])) for name in schema.numbers]
        texts = self._table(["", UNKNOWN, *texts])
        told = tf.concat(parts, axis=1) if parts else texts[:, :0]
        has_text = texts.row_lengths() > 0
        stop = tf.gather(self._stop, tf.zeros_like(has_text, tf.int32))
        behavior = tf.concat([texts[:, :item_tokens], tf.ragged.boolean_mask(told, _spread(~has_text, told))[:, :item_tokens]], axis=1)
        # One table a row of the catalog: what a behavior adds, and what a candidate is.
        self._items = tf.concat([behavior, _where(has_text, stop)], axis=1)
        self._candidates = tf.concat([told, texts[:, :candidate_tokens], _where(has_text, stop)], axis=1)

    # === Prompts ===

    def pairs(self, batch):
        """One prompt for each real candidate, `[P, L]`, in the order of `places(batch)`."""
        places = self.places(batch)
        user, history = (tf.gather(part, places[:, 0]) for part in self._of_user(batch))
        candidate = self._candidate_of(tf.gather_nd(batch["item"], places))
        question = _repeated(self._question, tf.shape(places)[0])
        return self._whole([user, history, candidate, question], ranks=[1, 3, 2, 0])

    def users(self, batch):
        """One prompt a request, `[R, L]`, without candidate."""
        return self._whole(list(self._of_user(batch)), ranks=[0, 1])

    def items(self, rows):
        """One prompt for each catalog row of `rows` `[I]`, `[I, L]`: the candidate alone."""
        return self._whole([self._candidate_of(rows)], ranks=[0])

    @staticmethod
    def places(batch):
        """Where the real candidates are, int64 `[P, 2]`: request and place in it."""
        return tf.where(tf.not_equal(batch["item"], PADDING_ROW))

    @staticmethod
    def spread(values, batch):
        """Values `[P, K]` of the real candidates at their places `[R, N, K]`; zeros at padding."""
        shape = tf.concat([tf.shape(batch["item"], tf.int64), tf.shape(values, tf.int64)[1:]], axis=0)
        return tf.ensure_shape(tf.scatter_nd(Prompts.places(batch), values, shape), [*batch["item"].shape, values.shape[1]])

    # === Parts ===

    def _of_user(self, batch):
        """Ragged tokens `[R, None]` of the user and the request, and of the history."""
        requests = tf.shape(batch["item"])[0]
        parts = [_repeated(self._nothing, requests)]
        for side, tables in self._fields.items():
            start = 0
            for header, values, width in tables:
                parts.append(_sentence((header, values, width), batch[side][:, start : start + width]))
                start += width
        behaviors = batch["history"][:, : self._behaviors]
        header = tf.gather(self._history, _any(behaviors))
        return tf.concat(parts, axis=1), tf.concat([header, _merged(tf.gather(self._items, behaviors))], axis=1)

    def _candidate_of(self, rows):
        return tf.concat([_repeated(self._candidate, tf.shape(rows)[0]), tf.gather(self._candidates, rows)], axis=1)

    def _whole(self, parts, ranks):
        """Parts beside each other, between the special tokens; the part of the lowest rank is cut last."""
        limit = self.max_tokens - sum(end is not None for end in self._ends)
        lengths = [part.row_lengths() for part in parts]
        cut, left = tf.add_n(lengths) > limit, tf.fill(tf.shape(lengths[0]), tf.constant(limit, tf.int64))
        for place in sorted(range(len(parts)), key=lambda place: ranks[place]):
            parts[place] = _first(parts[place], left)
            left -= parts[place].row_lengths()
        column = tf.ones([tf.size(cut), 1], tf.int32)
        start, end = self._ends
        ids = tf.concat([*([] if start is None else [start * column]), *parts, *([] if end is None else [end * column])], axis=1)
        mask = tf.cast(tf.sequence_mask(ids.row_lengths()), tf.int32)
        return {"token_ids": ids.to_tensor(self._pad), "padding_mask": mask, "cut": cut}

    # === Tables ===

    def _table(self, texts: Iterable[str]) -> tf.RaggedTensor:
        """Tokens of texts, ragged `[texts, None]`."""
        texts = list(texts)
        return tf.concat([tf.cast(self._tokenize(texts[start : start + _AT_ONCE]), tf.int32) for start in range(0, len(texts), _AT_ONCE)], axis=0)

    def _table_of(self, field: Field):
        """Headers (none, the field's), tokens by row of its vocabulary, values an entity has at most."""
        header = self._table(["", f"{words_of(field.name)}:"])
        return header, self._table(["", f"{UNKNOWN};", *(f"{word};" for word in field.vocabulary)]), field.num_values


def _sentence(table, rows):
    """Ragged tokens `[B, None]` of a field's rows `[B, values]`; none where all are padding."""
    header, values, _ = table
    return tf.concat([tf.gather(header, _any(rows)), _merged(tf.gather(values, rows))], axis=1)


def _any(rows):
    """1 where one of the rows `[B, n]` is not padding, else 0; int32 `[B]`."""
    return tf.cast(tf.reduce_any(rows != PADDING_ROW, axis=1), tf.int32)


def _number_words(name: str, values: np.ndarray) -> list[str]:
    return ["" if row < FIRST_ROW or np.isnan(value) else f"{words_of(name)}: {value:.4g};" for row, value in enumerate(values)]


def _merged(ragged):
    """Ragged `[B, n, None]` to `[B, None]`."""
    return ragged.merge_dims(1, 2)


def _repeated(row, count):
    """One ragged row `[1, None]`, `count` times."""
    return tf.gather(row, tf.zeros([count], tf.int32))


def _spread(flags, ragged):
    """A flag a row, at each of its tokens."""
    return ragged.with_values(tf.gather(flags, ragged.value_rowids()))


def _where(flags, ragged):
    """The rows that are flagged; the others are empty."""
    return tf.ragged.boolean_mask(ragged, _spread(flags, ragged))


def _first(ragged, count):
    """The first `count[b]` tokens of each row `b`."""
    place = tf.ragged.range(ragged.row_lengths())
    return tf.ragged.boolean_mask(ragged, place.with_values(place.values < tf.gather(tf.maximum(count, 0), place.value_rowids())))
