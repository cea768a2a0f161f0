"""Checks that every layer passes, whatever it computes."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf


def check_layer(cls, init, inputs, output_shapes, trainable_weights):
    """The contract of a Keras layer of this package.

    Args:
        cls: the layer class.
        init: keyword arguments of its constructor.
        inputs: tuple of NumPy arrays, the positional call arguments; the first axis of each is the batch.
        output_shapes: shape of the output, or a list of shapes.
        trainable_weights: how many trainable weights it must have.

    Returns:
        A built layer, for the caller's own checks.
    """
    layer = cls(**init)
    outputs = _flat(layer(*inputs))
    shapes = output_shapes if isinstance(output_shapes, list) else [output_shapes]
    assert [tuple(output.shape) for output in outputs] == shapes
    assert all(np.isfinite(np.asarray(output, "float32")).all() for output in outputs)
    assert len(layer.trainable_weights) == trainable_weights
    _check_config(cls, layer, inputs, outputs)
    _check_gradients_and_tracing(layer, inputs)
    _check_permutation(layer, inputs, outputs)
    _check_mixed_precision(cls, init, inputs, shapes)
    return layer


def _check_config(cls, layer, inputs, outputs):
    """A layer made from the config, with the same weights, computes the same."""
    config = layer.get_config()
    copy = cls.from_config(config)
    copy(*inputs)
    assert copy.get_config() == config
    copy.set_weights(layer.get_weights())
    for mine, theirs in zip(outputs, _flat(copy(*inputs)), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def _check_gradients_and_tracing(layer, inputs):
    """One compiled training step reaches every trainable weight, and a second batch does not trace again."""
    traces = []

    @tf.function(reduce_retracing=True)
    def step(*arguments):
        traces.append(1)
        with tf.GradientTape() as tape:
            outputs = _flat(layer(*arguments, training=True)) if "training" in _call_arguments(layer) else _flat(layer(*arguments))
            # Squares of shifted outputs: a plain sum has zero gradient behind a normalisation.
            loss = tf.add_n([tf.reduce_sum(tf.square(output - tf.cast(tf.range(output.shape[-1]), output.dtype))) for output in outputs])
        return tape.gradient(loss, [weight.value for weight in layer.trainable_weights])

    tensors = [tf.constant(value) for value in inputs]
    gradients = step(*tensors)
    step(*[tf.constant(value[::-1].copy()) for value in inputs])
    assert len(traces) == 1
    for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
        assert gradient is not None, f"{weight.path} gets no gradient"
        assert np.isfinite(tf.convert_to_tensor(gradient).numpy()).all(), f"the gradient of {weight.path} is not finite"


def _check_permutation(layer, inputs, outputs):
    """Rows of a batch do not see each other."""
    for mine, theirs in zip(outputs, _flat(layer(*[value[::-1].copy() for value in inputs])), strict=True):
        np.testing.assert_allclose(np.asarray(mine)[::-1], np.asarray(theirs), rtol=1e-4, atol=1e-5)


def _check_mixed_precision(cls, init, inputs, shapes):
    layer = cls(**init, dtype="mixed_bfloat16")
    outputs = _flat(layer(*inputs))
    assert [tuple(output.shape) for output in outputs] == shapes
    assert all(keras.backend.standardize_dtype(output.dtype) == "bfloat16" for output in outputs)
    assert all(weight.dtype == "float32" for weight in layer.trainable_weights)


def _call_arguments(layer):
    import inspect

    return inspect.signature(layer.call).parameters


def _flat(outputs):
    return list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]


def check_objective(model, batch, frozen=()):
    """The contract of an objective: a Keras model that puts a loss over an encoder.

    Args:
        model: built; `model(batch, training)` gives outputs, `loss_of(batch, outputs)` the loss.
        batch: dict of NumPy arrays or tensors.
        frozen: parts of the paths of weights that get no gradient.

    Returns:
        The losses of 30 steps on the batch.
    """
    optimizer = keras.optimizers.Adam(1e-2)
    optimizer.build(model.trainable_variables)
    traces = []

    @tf.function(reduce_retracing=True)
    def step(batch):
        traces.append(1)
        with tf.GradientTape() as tape:
            loss = model.loss_of(batch, model(batch, training=True))
        gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
        present = [tf.zeros(()) if gradient is None else tf.reduce_max(tf.abs(tf.convert_to_tensor(gradient))) for gradient in gradients]
        optimizer.apply([tf.zeros_like(variable.value) if gradient is None else gradient for variable, gradient in zip(model.trainable_variables, gradients, strict=True)])
        return loss, present

    batch = tf.nest.map_structure(tf.convert_to_tensor, batch)
    first, present = step(batch)
    assert first.shape == ()
    for variable, size in zip(model.trainable_variables, present, strict=True):
        if any(name in variable.path for name in frozen):
            assert float(size) == 0.0, f"{variable.path} must get no gradient"
        else:
            assert np.isfinite(float(size)) and float(size) > 0.0, f"{variable.path} gets no gradient"
    losses = [float(first), *(float(step(batch)[0]) for _ in range(29))]
    assert len(traces) == 1
    assert losses[-1] < losses[0]
    assert int(model.weight(batch)) == len(model.identify(batch, None))
    return losses
