"""An order of examples that is known by arithmetic: no buffer to fill, none to save in a checkpoint."""

from __future__ import annotations


def shuffled_indices(count: int, epochs: int, seed: int):
    """`epochs` passes over 0 ... count - 1, each in an order of its own.

    Returns:
        `tf.data.Dataset` of (index int64, step int64): the example, and a number that no other element has, to seed random
        choices with. Its iterator is a counter, so a checkpoint of it is small and exact.

    Example:

    >>> sorted(int(index) for index, _ in shuffled_indices(3, 2, seed=1))
    [0, 0, 1, 1, 2, 2]
    """
    import tensorflow as tf

    def place(step):
        epoch_seed = tf.stack([tf.constant(seed, tf.int64), step // count])
        return tf.random.experimental.index_shuffle(step % count, seed=epoch_seed, max_index=tf.constant(count - 1, tf.int64)), step

    options = tf.data.Options()
    # Tokenizers and decoders in later steps hold tables that never change; without this an iterator over them cannot be saved.
    options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE
    return tf.data.Dataset.range(count * epochs).map(place).with_options(options)


def examples_in_order(count: int, epochs: int | None, seed: int):
    """`shuffled_indices`, or where `epochs` is `None` every example once, in its order; elements as there."""
    import tensorflow as tf

    return shuffled_indices(count, epochs, seed) if epochs else tf.data.Dataset.range(count).map(lambda place: (place, place))
