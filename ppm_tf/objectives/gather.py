"""In-batch negatives over all replicas of a batch."""

from __future__ import annotations

import tensorflow as tf


def over_replicas(tensor):
    """The rows of all replicas, `[B, ...]`, from those of this one, `[B / replicas, ...]`; as it is with one replica.

    Each replica then computes the loss of the whole batch, and the harness takes their mean, through whose gradient every row
    is told what it did as a negative on the others.
    """
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return tensor
    return replica.all_gather(tensor, axis=0)
