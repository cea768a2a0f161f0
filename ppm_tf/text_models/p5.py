"""`P5`: a T5 that answers a prompt with yes or no."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ppm_tf.text_models.prompts import Prompts


@contextmanager
def quiet_t5() -> Iterator[None]:
    """Leaves out a warning that Keras gives of keras-hub's T5, whose layers take their masks as arguments."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*T5MultiHeadAttention. was passed an input with a mask", UserWarning)
        yield


class P5(keras.Model):
    """`logit = log p(yes) - log p(no)` at the answer's first token, so that `sigmoid(logit) = p(yes) / (p(yes) + p(no))`.

    The encoder reads a prompt once, with a whole-word embedding added to each of its tokens: the number of the word that the token is a
    piece of, 0 at the closing token and at padding. These embeddings start at zero, so that a pretrained T5 begins as it was.

    With one task the decoder reads its start token alone, as in the paper. With several it goes on with the name of a task, the question word,
    and the answer is read behind it: one encoder pass serves all tasks.

    Args:
        prompts: `Prompts`, without start token.
        backbone: keras-nlp `T5Backbone`.
        answers: (id of yes, id of no).
        tasks: ids of each task's question word, a list of lists; `[[]]` for one task.
        word_starts: bool array `[vocabulary]`, whether a token begins a word.
        max_tokens: int. Most tokens of a prompt.
        start: int. Token that the decoder starts with, T5's padding token. Defaults to `0`.
        end: int. Token that closes a prompt. Defaults to `1`.

    Call arguments:
        batch: dict of rows, see `ppm_tf.data.samples.read`.
        training: bool.

    Returns:
        Logits `[R, N, K]`, as of `RankingModel`; 0 at padding.

    References:
        Geng et al., *Recommendation as language processing (RLP): a unified pretrain, personalized prompt & predict paradigm (P5)*, 2022
        (arXiv 2203.13366); Raffel et al., *T5*, 2020.
    """

    def __init__(
        self, prompts: Prompts, backbone, answers: tuple[int, int], tasks: Sequence[Sequence[int]], word_starts, max_tokens, start=0, end=1, **kwargs
    ):
        super().__init__(**kwargs)
        if answers[0] == answers[1]:
            raise ValueError(f"Yes and no must begin with different tokens. Received: {answers[0]} for both.")
        self.prompts = prompts
        self.backbone = backbone
        self.answers = tuple(answers)
        self.questions = _padded(tasks, start)
        self.word_starts = tf.constant(np.asarray(word_starts, bool))
        self.end = end
        self.whole_words = keras.layers.Embedding(max_tokens + 1, backbone.hidden_dim, embeddings_initializer="zeros", name="whole_words")
        self.whole_words.build(None)
        self.built = True

    def texts(self, batch):
        """The prompts that a batch is read as."""
        return [self.prompts.pairs(batch)]

    def call(self, batch, training=False):
        tokens = self.prompts.pairs(batch)
        with quiet_t5():
            return self.prompts.spread(self.answer(tokens, training), batch)

    def answer(self, tokens, training=False):
        """The logit of yes against no of each prompt and task, `[P, K]`."""
        mask, (questions, lengths) = tokens["padding_mask"], self.questions
        encoded = self.encode(tokens, training)
        count, tasks = tf.shape(mask)[0], questions.shape[0]
        ids = tf.tile(questions, [count, 1])  # task by task of each prompt
        decoded = self._decode(ids, tf.repeat(encoded, tasks, axis=0), tf.repeat(mask, tasks, axis=0), training)
        last = tf.gather(decoded, tf.tile(lengths - 1, [count]), batch_dims=1)
        return tf.reshape(self._difference(last), [-1, tasks])

    def encode(self, tokens, training=False):
        """The encoder's hidden states of prompts, `[P, L, H]`."""
        t5, ids = self.backbone, tokens["token_ids"]
        hidden = t5.token_embedding(ids) + self.whole_words(self.word_numbers(tokens))
        hidden = t5.encoder_embedding_dropout(hidden, training=training)
        attention, bias = tokens["padding_mask"][:, None, :], None
        for layer in t5.encoder_transformer_layers:
            hidden, bias = layer(hidden, attention_mask=attention, position_bias=bias, use_causal_mask=False, training=training)
        return t5.encoder_dropout(t5.encoder_layer_norm(hidden), training=training)

    def word_numbers(self, tokens):
        """The number of each token's word, int32 `[P, L]`, from 1; 0 at the closing token and at padding."""
        ids = tokens["token_ids"]
        inside = tf.logical_and(tokens["padding_mask"] > 0, ids != self.end)
        starts = tf.logical_and(tf.gather(self.word_starts, ids), inside)
        return tf.where(inside, tf.cumsum(tf.cast(starts, tf.int32), axis=1), 0)

    def _decode(self, ids, encoded, mask, training):
        t5 = self.backbone
        hidden = t5.decoder_embedding_dropout(t5.token_embedding(ids), training=training)
        # A question that is shorter than another is padded behind its end, which the causal mask hides from where the answer is read.
        attention, bias = tf.ones_like(ids)[:, None, :], None
        for layer in t5.decoder_transformer_layers:
            hidden, bias = layer(
                hidden,
                attention_mask=attention,
                position_bias=bias,
                encoder_hidden_states=encoded,
                encoder_attention_mask=mask[:, None, :],
                use_causal_mask=True,
                training=training,
            )
        return t5.decoder_dropout(t5.decoder_layer_norm(hidden), training=training)

    def _difference(self, hidden):
        """Logit of yes less that of no, by hidden states `[B, H]`; of the whole vocabulary no other logit is needed."""
        embedding = self.backbone.token_embedding
        if embedding.tie_weights:
            weights = tf.gather(ops.convert_to_tensor(embedding.embeddings), self.answers)
            hidden = hidden * self.backbone.hidden_dim**-0.5  # as T5 with tied weights is trained
        else:
            weights = tf.gather(tf.transpose(ops.convert_to_tensor(embedding.reverse_embeddings)), self.answers)
        return tf.linalg.matvec(tf.cast(hidden, "float32"), tf.cast(weights[0] - weights[1], "float32"))


def _padded(tasks, start):
    """What the decoder reads for each task, int32 `[K, Q]`: start token and question word; and how many tokens that is, int32 `[K]`."""
    longest = max(1, *map(len, tasks))  # two tokens at least: of one alone, attention is no choice, and Keras warns
    return tf.constant([[start, *word, *[start] * (longest - len(word))] for word in tasks], tf.int32), tf.constant([1 + len(word) for word in tasks])


def word_starts(tokenizer) -> np.ndarray:
    """Whether each token begins a word, bool `[vocabulary]`: in SentencePiece it has its mark, in WordPiece it lacks `##`."""
    pieces = [str(tokenizer.id_to_token(number)) for number in range(tokenizer.vocabulary_size())]
    marked = any(piece.startswith("\u2581") for piece in pieces)
    return np.array([piece.startswith("\u2581") if marked else not piece.startswith("##") for piece in pieces])
