"""`MatrixCross`: the cross network of DCN-V2, a matrix a layer: full, of low rank, or mixed from several of low rank."""

from __future__ import annotations

import keras
from keras import ops

from ppm_tf.layers.candidate_dense import CandidateDense
from ppm_tf.layers.fields import join_request


class MatrixCross(keras.layers.Layer):
    """`x_(l+1) = x_0 * (W_l x_l + b_l) + x_l` for `l < L`, `x_0 = [request ; candidate_n]` (Wang et al., 2021).

    With a `rank`, `W_l = U_l V_l^T`. With several experts, DCN-Mix, the low rank is where the layer is not linear, and
    a softmax over experts e weighs what comes of it:
    `x_(l+1) = x_0 * (sum_e G_le(x_l) U_le tanh(C_le tanh(V_le^T x_l)) + b_l) + x_l`, `G_l = softmax(x_l W_G,l)`. The paper's
    gate has no index of the layer, and public code shares it; here each layer has its own.

    The first layer's share of the request, `V_0` or `W_0`, is computed once; afterwards every column has met the candidate.

    Args:
        num_layers: int. L. Defaults to `2`.
        rank: int or `None`. Columns of `U` and `V`; `None` for a full matrix. Defaults to `None`.
        num_experts: int. Experts of rank `rank`; 1 for a plain matrix. Defaults to `1`.

    Call arguments:
        request: tensor `[R, A]`.
        candidates: tensor `[R, N, B]`.

    Returns:
        Tensor `[R, N, A + B]`, `x_L`.

    References:
        [Wang et al., 2021](https://arxiv.org/abs/2008.13535), section 3.
    """

    def __init__(self, num_layers=2, rank=None, num_experts=1, **kwargs):
        super().__init__(**kwargs)
        self.num_layers = num_layers
        self.rank = rank
        self.num_experts = num_experts
        if num_experts > 1 and not rank:
            raise ValueError(f"A mixture of experts needs a rank. Received: num_experts={num_experts}, rank={rank}.")

    def build(self, request_shape, candidates_shape):
        x = self.compute_output_shape(request_shape, candidates_shape)
        self.inner, self.cores, self.gates, self.outer = [], [], [], []
        for i in range(self.num_layers):
            reads = (None, x) if i else (request_shape, candidates_shape)
            if not self.rank:
                self.inner.append(self._reader(f"kernel_{i}", x[-1], reads))
                continue
            self.inner.append(self._reader(f"inner_{i}", self.num_experts * self.rank, reads, use_bias=False))
            self.outer.append(keras.layers.Dense(x[-1], dtype=self.dtype_policy, name=f"outer_{i}"))
            self.outer[-1].build((*x[:-1], self.num_experts * self.rank))
            if self.num_experts > 1:
                self.gates.append(self._reader(f"gate_{i}", self.num_experts, reads, use_bias=False))
                # Each expert's own fan, not that of all experts together, sets the scale of its weights.
                scale = (3.0 / self.rank) ** 0.5
                shape, start = (self.num_experts, self.rank, self.rank), keras.initializers.RandomUniform(-scale, scale)
                self.cores.append(self.add_weight(name=f"core_{i}", shape=shape, initializer=start))

    def call(self, request, candidates):
        x0 = x = join_request(request, candidates)
        for i in range(self.num_layers):
            reads = (None, x) if i else (request, candidates)
            y = self.inner[i](*reads)
            if self.num_experts > 1:
                y = self._mix(y, self.cores[i], ops.softmax(self.gates[i](*reads)))
            x = x0 * (self.outer[i](y) if self.rank else y) + x
        return x

    def _mix(self, y, core, gate):
        """The experts' low ranks beside each other, each after its core and weighed by its gate: `[..., E * rank]`."""
        # As one matrix with the cores along its diagonal: several times as fast in training as a product an expert.
        diagonal = ops.reshape(ops.eye(self.num_experts, dtype=y.dtype), (self.num_experts, 1, self.num_experts, 1))
        cores = ops.reshape(ops.expand_dims(core, 2) * diagonal, (y.shape[-1], y.shape[-1]))
        return ops.tanh(ops.matmul(ops.tanh(y), cores)) * ops.repeat(gate, self.rank, axis=-1)

    def compute_output_shape(self, request_shape, candidates_shape):
        return (*candidates_shape[:-1], request_shape[-1] + candidates_shape[-1])

    def get_config(self):
        config = super().get_config()
        config.update(num_layers=self.num_layers, rank=self.rank, num_experts=self.num_experts)
        return config

    def _reader(self, name, units, shapes, use_bias=True):
        layer = CandidateDense(units, use_bias=use_bias, dtype=self.dtype_policy, name=name)
        layer.build(*shapes)
        return layer
