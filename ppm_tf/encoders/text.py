"""`TextEncoder`: an item's text or a query to one vector, by a transformer of keras-nlp."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ppm_tf.data.text_form import FORM, normalize
from ppm_tf.encoders.projection import fit_projection
from ppm_tf.encoders.saved import describe_encoder, write_description
from ppm_tf.encoders.text_backbone import backbone_width, has_lora, input_names, load_backbone, low_rank, merged_lora, special_tokens, vocabulary_of
from ppm_tf.encoders.text_cleaning import clean_texts, load_cleaner
from ppm_tf.storage import reserve, weights_size

_LENGTH_STEP = 8  # batches are padded to a multiple of this, so that few shapes occur


class TextEncoder(keras.Model):
    """Tokens through a keras-nlp backbone, pooled, and projected to the width of the table.

    Fine-tuning, alignment, the table job and queries all go through the one `tokenize`, which brings texts into the one form
    (`data.text_form`), and the one `call`, so that a table row is the vector that the training saw.

    Args:
        backbone: keras-nlp text backbone whose output is `[B, L, H]`, or holds it as `"sequence_output"`.
        tokenizer: its keras-nlp tokenizer.
        pooling: `"cls"` (the first position), `"mean"` (over the real tokens) or `"last"` (the last real token, which in a
            decoder model has seen all others). Defaults to `"mean"`, or `"last"` for decoder models.
        dim: int or `None`. Width of the vectors; `None` leaves the backbone's. Defaults to `None`.
        max_tokens: int. Most tokens of a text, the special ones included. Defaults to `64`.
        cleaner: what cleans texts before they are tokenized, or `None`. Defaults to `None`.

    Call arguments:
        tokens: dict of `"token_ids"` and `"padding_mask"` (1 at real tokens), both int32 `[B, L]`, as `tokenize` gives them.
        training: bool. Whether dropout is on.

    Returns:
        Float tensor `[B, dim]`.

    Example:

    ```python
    encoder = TextEncoder.from_preset("<folder of a sentence encoder>", dim=64)
    encoder.encode(["a red shoe", "a blue boot"]).shape  # (2, 64)
    ```
    """

    kind = "text"

    def __init__(self, backbone, tokenizer, pooling=None, dim=None, max_tokens=64, cleaner=None, **kwargs):
        super().__init__(**kwargs)
        longest = getattr(backbone, "max_sequence_length", None)
        if longest and max_tokens > longest:
            raise ValueError(f"max_tokens must be at most what the backbone reads, {longest}. Received: {max_tokens}. Lower text.max_tokens.")
        if dim and dim > backbone_width(backbone):
            raise ValueError(
                f"dim must be at most the backbone's width, {backbone_width(backbone)}. Received: {dim}. Lower text.dim, or set it to null."
            )
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.special = special_tokens(tokenizer)
        self.pooling = pooling or ("last" if self.is_decoder else "mean")
        self.dim = dim or backbone_width(backbone)
        self.max_tokens = max_tokens
        self.cleaner = cleaner
        self.projection = keras.layers.Dense(dim, name="projection") if dim else None
        self.tokens = self.padded_tokens = 0
        self._trace()
        # Outside of a graph keras-nlp's tokenizers take another way, in Python; ours is TensorFlow's everywhere.
        self._pieces = tf.function(lambda texts: tokenizer(normalize(texts)), input_signature=[tf.TensorSpec([None], tf.string)])
        self({"token_ids": ops.ones((1, 2), "int32"), "padding_mask": ops.ones((1, 2), "int32")})

    def _trace(self):
        self._vectors = tf.function(self._text_to_vector, input_signature=[tf.TensorSpec([None], tf.string), tf.TensorSpec([], tf.int32)])

    def _text_to_vector(self, texts, max_tokens):
        """Vectors, real tokens, and places with padding, of one batch; one graph from string to vector."""
        tokens = self.tokenize(texts, max_tokens)
        length = tf.shape(tokens["token_ids"])[1]
        padding = [[0, 0], [0, tf.minimum(-length % _LENGTH_STEP, self.max_tokens - length)]]
        padded = {
            "token_ids": tf.pad(tokens["token_ids"], padding, constant_values=self.special["pad"]),
            "padding_mask": tf.pad(tokens["padding_mask"], padding),
        }
        vectors = tf.cast(self(padded, training=False), tf.float32)
        return vectors, tf.reduce_sum(tokens["padding_mask"]), tf.size(padded["token_ids"])

    def enable_lora(self, rank: int) -> None:
        """Freezes the backbone but for low-rank updates of its attention's query and value (Hu et al., *LoRA*, 2021)."""
        low_rank(self.backbone, rank)
        self._trace()  # a graph from before would not hold the updates

    def build(self, tokens_shape):
        if self.projection:
            self.projection.build((None, backbone_width(self.backbone)))
        self.built = True

    @property
    def is_decoder(self) -> bool:
        """Whether the backbone predicts the next token and knows no mask."""
        return self.special["mask"] is None

    # === Text to vector ===

    def tokenize(self, texts, max_tokens=None):
        """Token ids with the special tokens around them, padded to the longest text of the batch.

        Args:
            texts: strings `[B]`, a list or a tensor; works in a `tf.data` graph.
            max_tokens: most tokens of a text, and at most the encoder's, which is also the default.

        Returns:
            What `call` takes.
        """
        start, end = self.special["start"], self.special["end"]
        room = self.max_tokens if max_tokens is None else tf.minimum(max_tokens, self.max_tokens)
        ids = tf.cast(self._pieces(texts), tf.int32)
        room -= (start is not None) + (end is not None)
        ids = ids[:, :room]
        column = tf.ones([ids.nrows(), 1], tf.int32)
        parts = [start * column] * (start is not None) + [ids] + [end * column] * (end is not None)
        ids = tf.concat(parts, axis=1)
        mask = tf.cast(tf.sequence_mask(ids.row_lengths()), tf.int32)
        return {"token_ids": ids.to_tensor(self.special["pad"]), "padding_mask": mask}

    def hidden(self, tokens, training=False):
        """The backbone's last hidden states, `[B, L, H]`."""
        ids = tokens["token_ids"]
        known = {"token_ids": ids, "padding_mask": tokens["padding_mask"], "segment_ids": ops.zeros_like(ids)}
        outputs = self.backbone({name: known[name] for name in input_names(self.backbone)}, training=training)
        return outputs["sequence_output"] if isinstance(outputs, dict) else outputs

    def pool(self, hidden, padding_mask):
        """Hidden states `[B, L, H]` to one vector a text, `[B, H]`."""
        mask = ops.cast(padding_mask, hidden.dtype)
        if self.pooling == "cls":
            return hidden[:, 0]
        if self.pooling == "last":
            last = ops.maximum(ops.sum(ops.cast(padding_mask, "int32"), axis=1) - 1, 0)
            return ops.squeeze(ops.take_along_axis(hidden, last[:, None, None], axis=1), 1)
        return ops.sum(hidden * mask[..., None], axis=1) / ops.maximum(ops.sum(mask, axis=1, keepdims=True), 1.0)

    def project(self, pooled):
        """Pooled vectors `[B, H]` to the width of the table, `[B, dim]`."""
        return self.projection(pooled) if self.projection else pooled

    def call(self, tokens, training=False):
        return self.project(self.pool(self.hidden(tokens, training), tokens["padding_mask"]))

    # === The protocol of encoders ===

    def read(self, content: str) -> str:
        """The text as it is; it is cleaned and tokenized with its batch."""
        return content

    def lengths(self, texts: Sequence[str]) -> np.ndarray:
        """Tokens of each text, special ones included, `[len(texts)]`: batches of like length have little padding."""
        special = (self.special["start"] is not None) + (self.special["end"] is not None)
        return np.minimum(self._pieces(tf.constant(list(texts), tf.string)).row_lengths().numpy() + special, self.max_tokens)

    def encode_batch(self, texts: Sequence[str]) -> np.ndarray:
        """Float32 vectors `[len(texts), dim]` of one batch."""
        return self._encode(clean_texts(self.cleaner, texts))

    def encode(self, texts: Sequence[str], batch_size: int = 128) -> np.ndarray:
        """Float32 vectors `[len(texts), dim]`; texts of like length go together, the order is kept."""
        return self.encode_cleaned(clean_texts(self.cleaner, texts), batch_size=batch_size)

    def encode_cleaned(self, texts: Sequence[str], max_tokens: int | None = None, batch_size: int = 128) -> np.ndarray:
        """As `encode`, of texts that were cleaned before, or of queries, cut to `max_tokens`."""
        vectors = np.zeros((len(texts), self.dim), np.float32)
        order = np.argsort(self.lengths(texts), kind="stable")
        for start in range(0, len(texts), batch_size):
            places = order[start : start + batch_size]
            vectors[places] = self._encode([texts[place] for place in places], max_tokens)
        return vectors

    def _encode(self, texts: Sequence[str], max_tokens: int | None = None) -> np.ndarray:
        vectors, tokens, padded_tokens = self._vectors(tf.constant(list(texts), tf.string), tf.constant(max_tokens or self.max_tokens))
        self.tokens += int(tokens)
        self.padded_tokens += int(padded_tokens)
        return vectors.numpy()

    def fit_projection(self, texts: Sequence[str]) -> None:
        """Sets the projection to the main directions of these texts' vectors (PCA): the best start without labels."""
        if self.projection is None:
            return
        pooled = tf.function(lambda tokens: self.pool(self.hidden(tokens), tokens["padding_mask"]), reduce_retracing=True)
        texts = sorted(texts, key=len)  # batches of like length have little padding
        batches = (texts[start : start + 64] for start in range(0, len(texts), 64))
        vectors = [pooled(self.tokenize(tf.constant(list(batch), tf.string))).numpy() for batch in batches]
        self.projection.set_weights(fit_projection(np.concatenate(vectors), self.dim))

    def turn_projection(self, texts: Sequence[str]) -> None:
        """Turns the projection, so that its columns are the main directions of what it makes of these cleaned texts, about their mean.

        Distances stay as they are. What reads the vectors column by column, as a table does that is standardised, then meets each direction once.
        """
        if self.projection is None:
            return
        rotation, shift = fit_projection(self.encode_cleaned(texts), self.dim)
        kernel, bias = self.projection.get_weights()
        self.projection.set_weights([kernel @ rotation, bias @ rotation + shift])

    # === Files ===

    @property
    def version(self) -> str:
        """Changes whenever equal texts may get other vectors: a hash of settings, the form of texts, vocabulary and weights."""
        backbone = {key: value for key, value in self.backbone.get_config().items() if key not in ("name", "trainable", "dtype")}
        tokenizer = {
            key: value for key, value in self.tokenizer.get_config().items() if key not in ("name", "trainable", "dtype", "vocabulary", "merges")
        }
        settings = [type(self.backbone).__name__, backbone, tokenizer, vocabulary_of(self.tokenizer), self._about(), FORM]
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
        if self.cleaner is not None:
            digest.update(self.cleaner.version.encode())
        for weight in self.get_weights():
            digest.update(np.ascontiguousarray(weight))
        return f"text-{digest.hexdigest()[:12]}"

    def save(self, folder: str | Path) -> None:
        """Writes everything that `load` needs: backbone and tokenizer as a keras-nlp preset, projection, cleaner, settings.

        Low-rank updates are merged into the weights.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        reserve(folder / "backbone", weights_size(self.backbone))
        merged_lora(self.backbone).save_to_preset(str(folder / "backbone"))
        self.tokenizer.save_to_preset(str(folder / "backbone"))
        if self.projection:
            kernel, bias = self.projection.get_weights()
            np.savez(folder / "projection.npz", kernel=kernel, bias=bias)
        if self.cleaner is not None:
            self.cleaner.save(folder / "cleaner")
        write_description(folder, self, **self._about())
        if has_lora(self.backbone):  # the merged weights are another encoder's
            write_description(folder, self.load(folder), **self._about())

    @classmethod
    def load(cls, folder: str | Path) -> TextEncoder:
        """The encoder that was saved into `folder`.

        Raises:
            FileNotFoundError: there is none.
        """
        folder, about = Path(folder), describe_encoder(folder)
        cleaner = None
        if (folder / "cleaner").is_dir():
            cleaner = load_cleaner(folder / "cleaner")
        encoder = cls(*load_backbone(str(folder / "backbone")), about["pooling"], about["projected"], about["max_tokens"], cleaner)
        if encoder.projection:
            with np.load(folder / "projection.npz") as arrays:
                encoder.projection.set_weights([arrays["kernel"], arrays["bias"]])
        return encoder

    @classmethod
    def from_preset(cls, preset: str, **settings) -> TextEncoder:
        """An encoder over a keras-nlp preset or a local folder in keras-nlp or Hugging Face layout; arguments as in the class."""
        return cls(*load_backbone(preset), **settings)

    def _about(self) -> dict[str, Any]:
        return {"pooling": self.pooling, "projected": self.dim if self.projection else None, "max_tokens": self.max_tokens}
