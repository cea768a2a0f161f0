"""Negatives for what a backbone learns of behaviors: those of the other requests of the batch."""

from __future__ import annotations

from keras import ops


def behaviors_of_others(mask, draws):
    """Draws behaviors of other requests, each of their real behaviors as likely as any other.

    An item comes as often as it stands in histories: by its popularity, as negatives drawn from a log do. No item is looked
    up, so that a layer which sees only embedded behaviors has negatives too.

    Args:
        mask: bool tensor `[R, T]`, true where a behavior is real.
        draws: float tensor `[R, M]`, uniform in [0, 1): M draws a request.

    Returns:
        int32 tensor `[R, M]`, places in the behaviors of the batch as `[R * T]`; bool tensor `[R, 1]`, false where no other
        request has a behavior, whose places mean nothing.

    Example:

    >>> places, some = behaviors_of_others([[True, False], [True, True]], [[0.0, 0.5], [0.0, 0.5]])
    >>> places.numpy().tolist(), some.numpy().tolist()
    ([[2, 3], [0, 0]], [[True], [True]])
    """
    mask = ops.cast(mask, "bool")
    counts = ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True)
    earlier = ops.cumsum(counts, axis=0) - counts
    others = ops.sum(counts) - counts
    rank = ops.cast(ops.floor(ops.cast(draws, "float32") * ops.cast(others, "float32")), "int32")
    # A draw of .99999999 may round up to all of them.
    rank = ops.maximum(ops.minimum(rank, others - 1), 0)
    rank = ops.where(rank >= earlier, rank + counts, rank)
    real = ops.cast(ops.nonzero(ops.reshape(mask, (-1,)))[0], "int32")
    some = others > 0
    # One place more: a batch without any behavior has none to take.
    real = ops.concatenate([real, ops.zeros((1,), "int32")], axis=0)
    return ops.take(real, ops.where(some, rank, 0), axis=0), some
