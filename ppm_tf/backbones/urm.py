"""`URM`: the unified ranking model of PPM, a behavior transformer over ids under a mixture of experts."""

from __future__ import annotations

import keras
from keras import ops

from ppm_tf.layers.behavior_transformer import BehaviorTransformer
from ppm_tf.layers.fields import concat_fields, concat_request, concat_request_shape
from ppm_tf.layers.mlp import MLP
from ppm_tf.layers.mmoe import MMoE


class URM(keras.layers.Layer):
    """IDSM and MMoE (PPM, section 3.2).

    The fields of each item are concatenated, `[E_sku | E_shop | E_brand | E_category]`, and go through the transformer that
    PPM has too (IDSM, eq. 7). `x = [U_ID | I_ID | D]` enters the mixture of experts (eq. 9, 10), where `D` is what else is
    known: user and request fields, and `features.other`, which holds `[U_MO | I_MO]` where PPM is plugged in. A tower a task
    gives the logit (eq. 11).

    Args:
        num_tasks: int. K.
        num_encoder_layers: int. Self-attention blocks over the history. Defaults to `2`.
        num_decoder_layers: int. Blocks in which a candidate attends to the history. Defaults to `2`.
        num_heads: int. Attention heads. Defaults to `4`.
        feedforward_multiple: int. Hidden width of a block's feed-forward part, in multiples of its width. Defaults to `4`.
        width: int or `None`. Width of the transformer; `None` takes that of all item fields. Defaults to `64`.
        num_recency_buckets: int. Defaults to `32`.
        positions: bool. Whether to embed the order of the behaviors. Defaults to `True`.
        num_experts: int. Defaults to `4`.
        expert_units: tuple of int. Dense layers of an expert. Defaults to `(256, 128)`.
        tower_units: tuple of int. Dense layers of a tower. Defaults to `(64,)`.
        dropout: float. Defaults to `0.0`.
        initializer_stddev: float. Of the transformer's Gaussian initial weights. Defaults to `0.12`, which is Glorot's at width 64.

    Call arguments:
        features: `Features`.
        training: bool.

    Returns:
        Logits `[R, N, K]`.

    References:
        [Gao et al., 2024](https://doi.org/10.1145/3589335.3648329), section 3.2.
    """

    def __init__(
        self,
        num_tasks,
        num_encoder_layers=2,
        num_decoder_layers=2,
        num_heads=4,
        feedforward_multiple=4,
        width=64,
        num_recency_buckets=32,
        positions=True,
        num_experts=4,
        expert_units=(256, 128),
        tower_units=(64,),
        dropout=0.0,
        initializer_stddev=0.12,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.positions = positions
        self.transformer_settings = {
            "num_encoder_layers": num_encoder_layers,
            "num_decoder_layers": num_decoder_layers,
            "num_heads": num_heads,
            "feedforward_multiple": feedforward_multiple,
            "width": width,
            "dropout": dropout,
            "num_recency_buckets": num_recency_buckets,
            "initializer_stddev": initializer_stddev,
        }
        self.mixture = MMoE(num_tasks, num_experts, expert_units, dropout, dtype=self.dtype_policy, name="mixture")
        self.towers = [MLP(tower_units, dropout=dropout, dtype=self.dtype_policy, name=f"tower_{task}") for task in range(num_tasks)]
        self.logits = [keras.layers.Dense(1, dtype="float32", name=f"logit_{task}") for task in range(num_tasks)]

    def build(self, shapes):
        requests, length, fields, dim = shapes.history
        candidates = shapes.item[1]
        self.transformer = BehaviorTransformer(
            **self.transformer_settings, max_positions=length if self.positions else 0, dtype=self.dtype_policy, name="transformer"
        )
        item_shape = (requests, candidates, fields * dim)
        self.transformer.build((requests, length, fields * dim), item_shape)
        width = self.transformer.compute_output_shape((requests, length, fields * dim), item_shape)[0][-1]
        beside = concat_request_shape(shapes)[-1] + shapes.other[-1]
        self.mixture.build((requests, candidates, 2 * width + beside))
        for tower, logit in zip(self.towers, self.logits, strict=True):
            tower.build((requests, candidates, self.mixture.units[-1]))
            logit.build((requests, candidates, tower.units[-1]))
        self.built = True

    def call(self, features, training=False):
        user, item = self.transformer(
            concat_fields(features.history), concat_fields(features.item), features.mask, features.recency, training=training
        )
        request = ops.expand_dims(concat_request(features), 1)
        shape = ops.shape(user)
        request = ops.broadcast_to(request, (shape[0], shape[1], request.shape[-1]))
        x = ops.concatenate([user, item, ops.cast(request, user.dtype), ops.cast(features.other, user.dtype)], axis=-1)
        mixed = self.mixture(x, training=training)
        return ops.concatenate(
            [logit(tower(mixed[..., task, :], training=training)) for task, (tower, logit) in enumerate(zip(self.towers, self.logits, strict=True))],
            axis=-1,
        )
