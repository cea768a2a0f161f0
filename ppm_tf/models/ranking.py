"""`RankingModel`: features, a backbone, and PPM as a plug-in."""

from __future__ import annotations

import keras
from keras import ops

from ppm_tf.layers.fields import concat_fields
from ppm_tf.models.feature_embedding import FeatureEmbedding
from ppm_tf.models.ppm import PPM


class RankingModel(keras.Model):
    """A click model over ids; with PPM, one that also sees what the items are (PPM, section 3.2).

    PPM's two vectors a candidate, `[U_MO | I_MO]`, are more columns of `Features.other`: no backbone knows of them.

    Args:
        embedding: `FeatureEmbedding`.
        backbone: layer, `Features` -> logits `[R, N, K]`.
        ppm: `PPM` or `None`. One whose `trainable` is false runs as in evaluation.

    Call arguments:
        batch: dict of rows, see `ppm_tf.data.samples.read`.
        training: bool.

    Returns:
        Logits `[R, N, K]`.
    """

    def __init__(self, embedding: FeatureEmbedding, backbone: keras.layers.Layer, ppm: PPM | None = None, **kwargs):
        super().__init__(**kwargs)
        self.embedding = embedding
        self.backbone = backbone
        self.ppm = ppm

    def build_from(self, history_length, num_candidates, has_time=True):
        """Builds every weight, for requests of this size."""
        self.embedding.build()
        shapes = self.embedding.shapes(history_length, num_candidates)
        if not has_time:
            shapes = shapes._replace(recency=None)
        if self.ppm is not None:
            if not self.ppm.built:
                self.ppm.build((None, history_length), (None, num_candidates))
                self.ppm.built = True
            user, item = self.ppm.compute_output_shape((None, history_length), (None, num_candidates))
            shapes = shapes._replace(other=(*shapes.other[:-1], shapes.other[-1] + user[-1] + item[-1]))
        self.backbone.build(shapes)
        self.built = True

    def item_vectors(self, rows):
        """What the model knows of items, `[..., D]`: the embeddings of their fields side by side and, with PPM, PPM's item vector.

        Args:
            rows: integer tensor `[...]`, catalog rows.
        """
        vectors = concat_fields(self.embedding.items(rows))
        return vectors if self.ppm is None else ops.concatenate([vectors, ops.cast(self.ppm.items(rows), vectors.dtype)], axis=-1)

    def call(self, batch, training=False):
        features = self.embedding(batch, training=training)
        if self.ppm is not None:
            user, item = self.ppm(batch["history"], batch["item"], features.recency, batch.get("slot"), training=training and self.ppm.trainable)
            features = features._replace(
                other=ops.concatenate([features.other, ops.cast(user, features.other.dtype), ops.cast(item, features.other.dtype)], axis=-1)
            )
        return self.backbone(features, training=training)
