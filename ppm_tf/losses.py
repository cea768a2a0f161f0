"""Losses as pure functions of tensors."""

from __future__ import annotations

from keras import ops


def binary_cross_entropy(labels, logits):
    """Mean binary cross entropy over the labels that are there (PPM, eq. 6).

    `-1/N sum(y log p + (1 - y) log(1 - p))` with `p = sigmoid(logit)`, computed from the logit so that neither logarithm
    can overflow.

    Args:
        labels: float tensor of any shape; 0 or 1, negative = missing (padding candidates, unobserved tasks).
        logits: float tensor of the same shape.

    Returns:
        Scalar; 0 where no label is there.

    Example:

    >>> float(binary_cross_entropy([1.0, 0.0, -1.0], [0.0, 0.0, 9.0]))  # ln 2
    0.6931471824645996
    """
    labels = ops.convert_to_tensor(labels)
    logits = ops.cast(logits, "float32")
    known = ops.cast(labels >= 0, "float32")
    positive = ops.maximum(ops.cast(labels, "float32"), 0.0)
    losses = ops.softplus(logits) - positive * logits
    return ops.sum(known * losses) / ops.maximum(ops.sum(known), 1.0)


def multi_task_cross_entropy(labels, logits, weights):
    """Binary cross entropy over several tasks, each with its weight: `K / n sum_k w_k sum l_k`, n known labels in all.

    Where every label is known and the weights are one this is the sum of the tasks' mean losses. A missing label takes part
    in neither sum.

    Args:
        labels: float tensor `[..., K]`; 0 or 1, negative = missing.
        logits: float tensor `[..., K]`.
        weights: tuple of K floats.

    Returns:
        Scalar; 0 where no label is there.

    Example:

    >>> float(multi_task_cross_entropy([[1.0, -1.0]], [[0.0, 5.0]], (1.0, 1.0)))  # 2 ln 2: one known label, two tasks
    1.3862943649291992
    """
    labels = ops.convert_to_tensor(labels)
    logits = ops.cast(logits, "float32")
    known = ops.cast(labels >= 0, "float32")
    positive = ops.maximum(ops.cast(labels, "float32"), 0.0)
    losses = known * (ops.softplus(logits) - positive * logits) * ops.convert_to_tensor(weights, "float32")
    return len(weights) * ops.sum(losses) / ops.maximum(ops.sum(known), 1.0)


def info_nce(queries, keys, temperature=0.05, ids=None, cosine=True):
    """In-batch contrastive loss: row i of `queries` belongs to row i of `keys` (PPM, eq. 1; CELA, eq. 5 and 10).

    `-1/B sum_i log( exp(sim(q_i, k_i) / t) / sum_j exp(sim(q_i, k_j) / t) )`

    Args:
        queries: tensor `[B, D]`.
        keys: tensor `[B, D]`.
        temperature: float. Divides the similarities. Defaults to `0.05`.
        ids: integer tensor `[B]` or `[B, M]`, or `None`. Rows that share an id, in any of the M columns, are no negatives of
            each other: two queries that led to the same item, or two items clicked for the same query. Defaults to `None`.
        cosine: bool. Whether the similarity is the cosine, else the inner product. Defaults to `True`.

    Returns:
        Scalar.
    """
    queries, keys = ops.cast(queries, "float32"), ops.cast(keys, "float32")
    if cosine:
        queries, keys = ops.normalize(queries, axis=-1), ops.normalize(keys, axis=-1)
    similarities = ops.matmul(queries, ops.transpose(keys)) / temperature
    size = ops.shape(similarities)[0]
    own = ops.cast(ops.eye(size), "bool")
    if ids is not None:
        columns = ids if len(ops.shape(ids)) == 2 else ops.expand_dims(ids, -1)
        same = ops.any(ops.equal(ops.expand_dims(columns, 0), ops.expand_dims(columns, 1)), axis=-1)
        similarities = ops.where(ops.logical_and(same, ops.logical_not(own)), -1e9, similarities)
    positives = ops.sum(ops.where(own, similarities, 0.0), axis=1)
    return ops.mean(ops.logsumexp(similarities, axis=1) - positives)


def symmetric_info_nce(left, right, temperature=1.0, ids=None, cosine=False):
    """`info_nce` in both directions, summed (CELA, eq. 12). Arguments as in `info_nce`."""
    return info_nce(left, right, temperature, ids, cosine) + info_nce(right, left, temperature, ids, cosine)


def masked_language_model(token_ids, logits, weights):
    """Mean cross entropy of the masked tokens (CELA, eq. 4).

    Args:
        token_ids: integer tensor `[B, M]`, the tokens that stood at the masked positions.
        logits: float tensor `[B, M, vocabulary]`.
        weights: tensor `[B, M]`, 1 at a masked position, 0 at padding.

    Returns:
        Scalar; 0 where nothing is masked.
    """
    log_probabilities = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
    picked = ops.take_along_axis(log_probabilities, ops.expand_dims(ops.cast(token_ids, "int32"), -1), axis=-1)
    weights = ops.cast(weights, "float32")
    return -ops.sum(ops.squeeze(picked, -1) * weights) / ops.maximum(ops.sum(weights), 1.0)
