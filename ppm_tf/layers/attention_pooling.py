"""`AttentionPooling`: a history summed with weights that depend on the candidate."""

from __future__ import annotations

import keras
from keras import ops

from ppm_tf.layers.dice import Dice


class AttentionPooling(keras.layers.Layer):
    """The local activation unit of DIN, for N candidates over one history.

    `score_nt = MLP([q_n, k_t, q_n * k_t, q_n - k_t])`, `output_n = sum_t w_nt k_t` with `w = score` on real behaviors
    (DIN, eq. 3: no softmax, so that the strength of an interest is kept) or `w = softmax(score / sqrt(D))`. An empty
    history gives zeros. The first dense layer is computed from its three kernels, and what depends on the history alone once a request.

    Args:
        units: tuple of int. Hidden widths of the scoring MLP. Defaults to `(64, 32)`.
        activation: string. Its activation; `"dice"` for the one of DIN (`Dice`). Defaults to `"sigmoid"`.
        normalize: bool. Whether the weights are a softmax. Defaults to `False`.

    Call arguments:
        queries: tensor `[R, N, D]`.
        keys: tensor `[R, T, D]`.
        mask: bool tensor `[R, T]`, true where a behavior is real.
        query_mask: bool tensor `[R, N]`, true where a candidate is real, or `None`. Only the statistics of `Dice` read it:
            padding must not count in them.

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
        self.hidden_layers = [keras.layers.Dense(width, dtype=self.dtype_policy, name=f"hidden_{i}") for i, width in enumerate(self.units[1:])]
        self.activations = [self._activation(i) for i in range(len(self.units))]
        # A softmax takes the same off every score: a bias would never learn.
        self.score = keras.layers.Dense(1, use_bias=not self.normalize, dtype=self.dtype_policy, name="score")
        self.query_layer.build(queries_shape)
        self.key_layer.build(keys_shape)
        shape = (queries_shape[0], queries_shape[1], keys_shape[1], self.units[0])
        self.activations[0].build(shape)
        for layer, activation in zip(self.hidden_layers, self.activations[1:], strict=True):
            layer.build(shape)
            shape = (*shape[:-1], layer.units)
            activation.build(shape)
        self.score.build(shape)

    def call(self, queries, keys, mask, query_mask=None, training=False):
        real = ops.expand_dims(ops.cast(mask, "bool"), 1)
        extra = {}
        if self.activation == "dice":
            pairs = real if query_mask is None else ops.logical_and(real, ops.expand_dims(ops.cast(query_mask, "bool"), 2))
            extra = {"real": pairs, "training": training}
        x = self._first_layer(queries, keys) + ops.expand_dims(self.query_layer(queries), 2)
        x = self.activations[0](x, **extra)
        for layer, activation in zip(self.hidden_layers, self.activations[1:], strict=True):
            x = activation(layer(x), **extra)
        scores = ops.squeeze(self.score(x), -1)
        if self.normalize:
            scale = ops.cast(queries.shape[-1], scores.dtype) ** 0.5
            scores = ops.where(real, scores / scale, ops.cast(-1e9 if scores.dtype != "float16" else -6e4, scores.dtype))
            # By its logarithm: `ops.softmax` warns of an axis of size 1, and a history may hold one behavior.
            scores = ops.exp(ops.log_softmax(scores, axis=-1))
        weights = ops.where(real, scores, ops.zeros_like(scores))
        return ops.matmul(weights, keys)

    def compute_output_shape(self, queries_shape, keys_shape):
        return queries_shape

    def get_config(self):
        config = super().get_config()
        config.update(units=self.units, activation=self.activation, normalize=self.normalize)
        return config

    def _first_layer(self, queries, keys):
        """`k Wk + (q * k) Wp`, `[R, N, T, H]`, in the one of two ways that passes over less, forward and back."""
        product_kernel = ops.cast(self.product_kernel, self.compute_dtype)
        (length, dim), units = keys.shape[1:], self.units[0]
        if length is None or length * (2 * dim + units) <= 3 * dim * units:
            # As it is written, `[R, N, T, D]` values and one large product: for D = H = 64 up to 64 behaviors, at 10 to 30 in half the time.
            pairs = ops.expand_dims(queries, 2) * ops.expand_dims(keys, 1)
            return ops.matmul(pairs, product_kernel) + ops.expand_dims(self.key_layer(keys), 1)
        # k (Wk + diag(q) Wp): a kernel `[D, H]` a candidate, however long the history.
        kernels = ops.expand_dims(queries, -1) * product_kernel + ops.cast(self.key_layer.kernel, self.compute_dtype)
        return ops.matmul(ops.expand_dims(keys, 1), kernels)

    def _activation(self, i):
        if self.activation == "dice":
            return Dice(dtype=self.dtype_policy, name=f"dice_{i}")
        return keras.layers.Activation(self.activation, dtype=self.dtype_policy, name=f"activation_{i}")
