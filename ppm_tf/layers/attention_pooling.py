"""`AttentionPooling`: a history summed with weights that depend on the candidate."""

from __future__ import annotations

import keras
from keras import ops

from ppm_tf.layers.mlp import MLP


class AttentionPooling(keras.layers.Layer):
    """The local activation unit of DIN, for N candidates over one history.

    `score_nt = MLP([q_n, k_t, q_n * k_t, q_n - k_t])`, `output_n = sum_t w_nt k_t` with `w = score` on real behaviours
    (DIN, eq. 3: no softmax, so that the strength of an interest is kept) or `w = softmax(score / sqrt(D))`. An empty
    history gives zeros. The parts of the first dense layer that see only `q` or only `k` are computed once each and meet by
    broadcasting; the history is never tiled N times at full width.

    Args:
        units: tuple of int. Hidden widths of the scoring MLP. Defaults to `(64, 32)`.
        activation: string. Its activation. Defaults to `"sigmoid"`.
        normalize: bool. Whether the weights are a softmax. Defaults to `False`.

    Call arguments:
        queries: tensor `[R, N, D]`.
        keys: tensor `[R, T, D]`.
        mask: bool tensor `[R, T]`, true where a behaviour is real.

    Returns:
        Tensor `[R, N, D]`.

    References:
        [Zhou et al., 2018](https://arxiv.org/abs/1706.06978), section 4.3.
    """

    def __init__(self, units=(64, 32), activation="sigmoid", normalize=False, **kwargs):
        super().__init__(**kwargs)
        self.units = tuple(units)
        self.activation = activation
        self.normalize = normalize

    def build(self, queries_shape, keys_shape):
        dim = queries_shape[-1]
        if keys_shape[-1] != dim:
            raise ValueError(f"Queries and keys must have one width. Received: {dim} and {keys_shape[-1]}.")
        # [q, k, q*k, q-k] W = q (Wq + Wd) + k (Wk - Wd) + (q*k) Wp, so three kernels say all that four would.
        self.query_layer = keras.layers.Dense(self.units[0], dtype=self.dtype_policy, name="query")
        self.key_layer = keras.layers.Dense(self.units[0], use_bias=False, dtype=self.dtype_policy, name="key")
        self.product_kernel = self.add_weight(name="product_kernel", shape=(dim, self.units[0]), initializer="glorot_uniform")
        self.first_activation = keras.layers.Activation(self.activation, dtype=self.dtype_policy)
        self.hidden = MLP(self.units[1:], activation=self.activation, dtype=self.dtype_policy, name="hidden") if self.units[1:] else None
        self.score = keras.layers.Dense(1, dtype=self.dtype_policy, name="score")
        self.query_layer.build(queries_shape)
        self.key_layer.build(keys_shape)
        shape = (queries_shape[0], queries_shape[1], keys_shape[1], self.units[0])
        if self.hidden is not None:
            self.hidden.build(shape)
            shape = (*shape[:-1], self.units[-1])
        self.score.build(shape)

    def call(self, queries, keys, mask):
        products = ops.einsum("rnd,rtd,dh->rnth", queries, keys, ops.cast(self.product_kernel, self.compute_dtype))
        x = ops.expand_dims(self.query_layer(queries), 2) + ops.expand_dims(self.key_layer(keys), 1) + products
        x = self.first_activation(x)
        if self.hidden is not None:
            x = self.hidden(x)
        scores = ops.squeeze(self.score(x), -1)
        real = ops.expand_dims(ops.cast(mask, "bool"), 1)
        if self.normalize:
            scale = ops.cast(queries.shape[-1], scores.dtype) ** 0.5
            scores = ops.softmax(ops.where(real, scores / scale, ops.cast(-1e9 if scores.dtype != "float16" else -6e4, scores.dtype)), axis=-1)
        weights = ops.where(real, scores, ops.zeros_like(scores))
        return ops.matmul(weights, keys)

    def compute_output_shape(self, queries_shape, keys_shape):
        return queries_shape

    def get_config(self):
        config = super().get_config()
        config.update(units=self.units, activation=self.activation, normalize=self.normalize)
        return config
