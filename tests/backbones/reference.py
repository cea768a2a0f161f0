"""The parts that several backbones have, in NumPy, with the weights of the layers they stand for."""

from __future__ import annotations

import numpy as np

from tests.battery import built, random_features
from tests.layers.reference import layer_norm, multi_head_attention, softmax


def example(cls, **arguments):
    """A backbone with weights that all differ from their start, its features, and their logits."""
    rng = np.random.default_rng(3)
    features = random_features(rng)
    backbone = built(cls, {"num_tasks": 2, "mlp_units": (7, 6), **arguments}, features)
    # Norms keep what `layer_norm` assumes; everything else, biases too, gets a value of its own.
    for weight in backbone.trainable_weights:
        if not weight.path.endswith(("gamma", "beta")):
            weight.assign(weight + 0.3 * rng.normal(size=weight.shape))
    return backbone, features, np.asarray(backbone(features))


def flat(fields):
    return fields.reshape(*fields.shape[:-2], -1)


def dense(x, layer):
    return x @ layer.kernel.numpy() + (layer.bias.numpy() if layer.use_bias else 0.0)


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def dice(x, layer):
    """DIN, eq. 9 and 10, with the kept statistics."""
    share = sigmoid((x - layer.mean.numpy()) / np.sqrt(layer.variance.numpy() + 1e-8))
    return share * x + (1 - share) * layer.alpha.numpy() * x


def concat_request(features, *more):
    """User and context fields, and what else belongs to the request."""
    return np.concatenate([flat(features.user), flat(features.context), *more], -1)


def every_candidate(request, candidates):
    """`[request ; candidate]` of every candidate."""
    return np.concatenate([np.repeat(request[:, None], candidates.shape[1], 1), candidates], -1)


def every_field(features):
    """The fields of each candidate, `[R, N, F, D]`: of the user, of the context, of the history by its mean, and its own."""
    request = np.concatenate([features.user, features.context, mean_of_real(features.history, features.mask)], axis=1)
    return np.concatenate([np.repeat(request[:, None], features.item.shape[1], 1), features.item], axis=2)


def head(x, layer):
    """Two dense layers with ReLU and the logits."""
    return dense(relu(dense(relu(dense(x, layer.first)), layer.hidden.dense_layers[0])), layer.logits)


def activation_unit(queries, keys, mask, layer, activations):
    """Pair by pair, `[q, k, q * k, q - k]` through the kernel of four blocks that the layer's three kernels stand for."""
    query, key, product = layer.query_layer.kernel.numpy(), layer.key_layer.kernel.numpy(), layer.product_kernel.numpy()
    difference = np.random.default_rng(0).normal(size=query.shape)
    kernel = np.concatenate([query - difference, key + difference, product, difference])
    outputs = np.zeros(queries.shape)
    for r, n in np.ndindex(queries.shape[:2]):
        if not mask[r].any():
            continue
        real = keys[r][mask[r]]
        q = np.broadcast_to(queries[r, n], real.shape)
        x = activations[0](np.concatenate([q, real, q * real, q - real], -1) @ kernel + layer.query_layer.bias.numpy())
        for hidden, activation in zip(layer.hidden_layers, activations[1:], strict=True):
            x = activation(dense(x, hidden))
        scores = dense(x, layer.score)[:, 0]
        outputs[r, n] = (softmax(scores / np.sqrt(real.shape[-1])) if layer.normalize else scores) @ real
    return outputs


def mean_of_real(history, mask):
    """Request by request, the mean of the real behaviors."""
    return np.stack([rows[real].mean(0) if real.any() else np.zeros(rows.shape[1:]) for rows, real in zip(history, mask, strict=True)])


def transformer_block(x, mask, layer, pre_norm, activation=relu):
    """Self-attention and dense layers, norms before (pre) or behind (post) them."""
    normed = layer_norm(x) if pre_norm else x
    x = x + multi_head_attention(normed, normed, mask, layer._self_attention_layer)
    x = x if pre_norm else layer_norm(x)
    hidden = layer_norm(x) if pre_norm else x
    x = x + dense(activation(dense(hidden, layer._feedforward_intermediate_dense)), layer._feedforward_output_dense)
    return x if pre_norm else layer_norm(x)
