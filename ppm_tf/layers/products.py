"""Pure functions on pairs of fields: what a request's and a candidate's fields say to each other.

Everywhere the pairs come in one order: two fields of the request, one of either, two of the candidate; each time first by the
field on the left, then by that on the right.
"""

from __future__ import annotations

import numpy as np
from keras import ops


def field_pairs(num_request, num_item):
    """Places of the left and of the right field of each pair, in that order; the request's fields are counted first.

    Example:

    >>> [places.tolist() for places in field_pairs(2, 2)]
    [[0, 0, 0, 1, 1, 2], [1, 2, 3, 2, 3, 3]]
    """
    within, among = np.triu_indices(num_request, 1), np.triu_indices(num_item, 1)
    mixed = np.indices((num_request, num_item)).reshape(2, -1)
    return tuple(np.concatenate([within[side], mixed[side] + side * num_request, among[side] + num_request]) for side in (0, 1))


def inner_products(request, candidates):
    """`<v_i, v_j>` of every pair of fields, `i < j` (Qu et al., 2016).

    Args:
        request: tensor `[R, Fr, D]`, the fields that all candidates share.
        candidates: tensor `[R, N, Fi, D]`.

    Returns:
        Two tensors: `[R, Fr (Fr - 1) / 2]`, the pairs of the request, once for all candidates; `[R, N, Fr Fi + Fi (Fi - 1) / 2]`.
    """
    within = _above_diagonal(ops.matmul(request, ops.swapaxes(request, -1, -2)))
    mixed = ops.matmul(ops.expand_dims(request, 1), ops.swapaxes(candidates, -1, -2))
    among = _above_diagonal(ops.matmul(candidates, ops.swapaxes(candidates, -1, -2)))
    return within, ops.concatenate([_flat(mixed), among], axis=-1)


def outer_product(request, candidates):
    """`s s^T` of the sum of all fields, `s = sum_i v_i` (Qu et al., 2016), each of its different entries once.

    The sum of the outer products of all pairs, in D (D + 1) / 2 numbers instead of F^2 D^2: those on and above the diagonal.

    Args:
        request: tensor `[R, Fr, D]`, the fields that all candidates share.
        candidates: tensor `[R, N, Fi, D]`.

    Returns:
        Tensor `[R, N, D (D + 1) / 2]`.
    """
    total = ops.expand_dims(ops.sum(request, axis=1), 1) + ops.sum(candidates, axis=2)
    return _above_diagonal(ops.expand_dims(total, -1) * ops.expand_dims(total, -2), with_diagonal=True)


def _above_diagonal(square, with_diagonal=False):
    """`[..., n, n]` to the entries above the diagonal, row by row, beside each other."""
    rows, columns = np.triu_indices(square.shape[-1], 0 if with_diagonal else 1)
    return ops.take(_flat(square), rows * square.shape[-1] + columns, axis=-1)


def _flat(matrix):
    return ops.reshape(matrix, (*ops.shape(matrix)[:-2], matrix.shape[-2] * matrix.shape[-1]))
