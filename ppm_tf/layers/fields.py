"""Pure functions on embedded fields: one vector out of several fields, one behavior out of a history."""

from __future__ import annotations

from keras import ops


def concat_fields(fields):
    """The fields of a side beside each other: `[..., F, D]` to `[..., F * D]`; F may be 0.

    Example:

    >>> concat_fields(ops.reshape(ops.arange(6), (1, 2, 3))).numpy().tolist()
    [[0, 1, 2, 3, 4, 5]]
    """
    # Every other axis is named: where F is 0, a -1 would have any size.
    return ops.reshape(fields, (*ops.shape(fields)[:-2], fields.shape[-2] * fields.shape[-1]))


def concat_shape(shape):
    """The shape that `concat_fields` makes of `shape`."""
    return (*shape[:-2], shape[-2] * shape[-1])


def concat_request(features):
    """The fields of the user and of the request beside each other, `[R, (Fu + Fc) D]`, once a request."""
    return ops.concatenate([concat_fields(features.user), concat_fields(features.context)], axis=-1)


def concat_request_shape(shapes):
    """The shape that `concat_request` makes of features of these `shapes`."""
    return (shapes.item[0], concat_shape(shapes.user)[-1] + concat_shape(shapes.context)[-1])


def request_fields(features):
    """The fields that all candidates of a request share, `[R, Fu + Fc + Fi, D]`: user, context, and the history by its mean."""
    return ops.concatenate([features.user, features.context, mean_history(features.history, features.mask)], axis=1)


def request_fields_shape(shapes):
    """The shape that `request_fields` makes of features of these `shapes`."""
    return (shapes.item[0], shapes.user[-2] + shapes.context[-2] + shapes.item[-2], shapes.item[-1])


def join_request(request, candidates, axis=-1):
    """What a request has, `[R, ...]`, before what each of its candidates has, `[R, N, ...]`, along `axis`.

    For what cannot be computed apart. Whatever is linear in the request should not need it: see `CandidateDense`.

    Example:

    >>> join_request(ops.ones((1, 2)), ops.zeros((1, 3, 1))).numpy().tolist()
    [[[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]]
    """
    request = ops.expand_dims(request, 1)
    return ops.concatenate([ops.broadcast_to(request, (*ops.shape(candidates)[:2], *request.shape[2:])), candidates], axis=axis)


def mean_history(history, mask):
    """The mean over the real behaviors; zeros for an empty history.

    Args:
        history: tensor `[R, T, ...]`.
        mask: bool tensor `[R, T]`, true where a behavior is real.

    Returns:
        Tensor `[R, ...]`.
    """
    axes = list(range(2, len(history.shape)))
    real = ops.expand_dims(ops.cast(mask, "bool"), axes)
    total = ops.sum(ops.where(real, history, ops.zeros_like(history)), axis=1)
    return total / ops.maximum(ops.sum(ops.cast(real, history.dtype), axis=1), 1)
