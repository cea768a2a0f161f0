"""Checks that every layer passes, whatever it computes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from ppm_tf.layers.features import Features
from ppm_tf.losses import binary_cross_entropy
from serving.graph_check import check_graph


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
        optimizer.apply(
            [
                tf.zeros_like(variable.value) if gradient is None else gradient
                for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
            ]
        )
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


def random_features(rng, requests=3, candidates=4, history=6, item_fields=3, user_fields=2, context_fields=1, dim=8, other=5, recency=True):
    """`Features` of random numbers: full, shorter and empty histories, newest first, with zeros as padding."""
    lengths = np.array([history, max(history // 2, 1), 0])[np.arange(requests) % 3]
    mask = np.arange(history) < lengths[:, None]
    seconds = np.cumsum(rng.choice([60, 3_000, 90_000], size=(requests, history)), axis=1)
    # With the spread of a trained table: embeddings of N(0, 0.01) make every score alike.
    normal = lambda *shape: rng.normal(size=shape).astype("float32")
    return Features(
        user=normal(requests, user_fields, dim),
        context=normal(requests, context_fields, dim),
        history=np.where(mask[..., None, None], normal(requests, history, item_fields, dim), 0).astype("float32"),
        recency=np.where(mask, seconds, -1) if recency else None,
        mask=mask,
        item=normal(requests, candidates, item_fields, dim),
        other=normal(requests, candidates, other),
        first_order=normal(requests, candidates, 1),
    )


def shapes_of(features):
    """What a backbone's `build` takes: the shapes, with unknown numbers of requests and candidates."""
    free = {"item": 2, "other": 2, "first_order": 2}
    return Features(
        *[None if value is None else (None,) * free.get(name, 1) + value.shape[free.get(name, 1) :] for name, value in features._asdict().items()]
    )


def built(cls, init, features, seed=0, **extra):
    """A backbone with every weight built from the shapes alone, the same at every run."""
    keras.utils.set_random_seed(seed)
    backbone = cls(**init, **extra)
    backbone.build(shapes_of(features))
    return backbone


def check_backbone(cls, init):
    """The contract of a backbone: `Features` to logits `[R, N, K]`.

    Args:
        cls: the class.
        init: keyword arguments of its constructor; `num_tasks` must be 2.
    """
    rng = np.random.default_rng(0)
    features = random_features(rng)
    backbone = built(cls, init, features)
    weights = len(backbone.weights)
    logits = _logits(backbone, features)
    assert len(backbone.weights) == weights, "`build` must build every weight"
    assert logits.shape == (3, 4, 2) and logits.dtype == np.float32
    assert np.isfinite(logits).all(), "an empty history must be finite"
    _check_independence(backbone, features, logits)
    _check_what_moves_a_score(cls, init, backbone, features, logits)
    _check_absent_features(cls, init, rng)
    _check_backbone_training(backbone, rng)
    logits = _logits(backbone, features)
    copy = built(cls, init, features, seed=1)
    assert np.abs(_logits(copy, features) - logits).max() > 1e-4
    copy.set_weights(backbone.get_weights())
    np.testing.assert_allclose(_logits(copy, features), logits, atol=1e-6)
    half = built(cls, init, features, seed=1, dtype="mixed_bfloat16")
    half.set_weights(backbone.get_weights())
    low = _logits(half, features)
    assert low.dtype == np.float32 and np.isfinite(low).all()
    assert np.abs(low - logits).mean() < 0.1 * np.abs(logits).mean(), "half precision gives other logits"
    assert all(weight.dtype == "float32" for weight in half.trainable_weights)
    _check_backbone_export(backbone, features, logits)


def _logits(backbone, features):
    return np.asarray(backbone(_tensors(features)))


def _tensors(features):
    return Features(*[None if value is None else tf.convert_to_tensor(value) for value in features])


def _check_independence(backbone, features, logits):
    """Neither padding, nor the other requests, nor the other candidates have a say in a score."""
    noise = np.where(features.mask[..., None, None], features.history, 7.0).astype("float32")
    padded = features._replace(history=noise, recency=np.where(features.mask, features.recency, 5))
    np.testing.assert_allclose(_logits(backbone, padded), logits, atol=1e-5, err_msg="padded behaviors change a score")
    shorter = features._replace(
        history=features.history[1:, :4], recency=features.recency[1:, :4], mask=features.mask[1:, :4], **_rows(features, slice(1, None))
    )
    np.testing.assert_allclose(_logits(backbone, shorter), logits[1:], atol=1e-5, err_msg="the width of the padding changes a score")
    order = [2, 0, 1]
    permuted = Features(*[value[order] for value in features])
    np.testing.assert_allclose(_logits(backbone, permuted), logits[order], atol=1e-5, err_msg="requests see each other")
    order = [3, 1, 0, 2]
    permuted = features._replace(item=features.item[:, order], other=features.other[:, order], first_order=features.first_order[:, order])
    np.testing.assert_allclose(_logits(backbone, permuted), logits[:, order], atol=1e-5, err_msg="candidates see each other")
    alone = Features(*[np.repeat(value, 4, axis=0) for value in features])
    alone = alone._replace(
        **{name: getattr(features, name).reshape(12, 1, *getattr(features, name).shape[2:]) for name in ("item", "other", "first_order")}
    )
    np.testing.assert_allclose(
        _logits(backbone, alone).reshape(logits.shape), logits, atol=1e-5, err_msg="N candidates do not score as N requests with one"
    )


def _rows(features, rows):
    return {name: getattr(features, name)[rows] for name in ("user", "context", "item", "other", "first_order")}


def _check_what_moves_a_score(cls, init, backbone, features, logits):
    moved = {
        name: np.abs(_logits(backbone, features._replace(**{name: getattr(features, name) + 1})) - logits)
        for name in ("user", "context", "item", "other")
    }
    moved["history"] = np.abs(_logits(backbone, features._replace(history=features.history[:, ::-1] + features.mask[..., None, None])) - logits)[:2]
    moved["first_order"] = np.abs(_logits(backbone, features._replace(first_order=features.first_order + 1)) - logits)
    for name, distance in moved.items():
        if name == "first_order" and not getattr(cls, "reads_first_order", False):
            assert distance.max() == 0, "`first_order` moves the score of a backbone that says it does not read it"
        else:
            assert distance.max() > 1e-4, f"`{name}` does not move a score"
    # A plug-in field: one more on items and histories, as from a table of text vectors.
    rng = np.random.default_rng(1)
    wider = features._replace(
        item=np.concatenate([features.item, rng.normal(size=(3, 4, 1, 8)).astype("float32")], 2),
        history=np.concatenate([features.history, features.history[:, :, :1]], 2),
    )
    plugged = built(cls, init, wider)
    other = wider._replace(item=np.concatenate([features.item, rng.normal(size=(3, 4, 1, 8)).astype("float32")], 2))
    assert np.abs(_logits(plugged, wider) - _logits(plugged, other)).max() > 1e-4, "an added item field does not move a score"


def _check_absent_features(cls, init, rng):
    """A data set may have no user fields, no context, no dense features, no times, one field and one candidate."""
    for absent in (
        {"other": 0},
        {"user_fields": 0},
        {"context_fields": 0},
        {"recency": False},
        {"other": 0, "user_fields": 0, "context_fields": 0, "recency": False, "item_fields": 1, "candidates": 1},
    ):
        features = random_features(rng, **absent)
        backbone = built(cls, init, features)
        logits = _logits(backbone, features)
        assert logits.shape == (*features.item.shape[:2], 2) and np.isfinite(logits).all(), absent


def _check_backbone_training(backbone, rng):
    """Every weight gets a gradient, 30 steps learn a separable toy, and no second batch traces again."""
    batches = [_tensors(random_features(rng, requests=requests)) for requests in (48, 30)]
    # Both tasks are read off a candidate's own first field: anything that reads items can tell them.
    labels = [tf.cast(tf.stack([batch.item[..., 0, 0] > 0, batch.item[..., 0, 1] > 0], -1), "float32") for batch in batches]
    optimizer = keras.optimizers.Adam(1e-2)
    optimizer.build(backbone.trainable_variables)
    traces = []
    free = tf.nest.map_structure(lambda value: tf.TensorSpec([None, *value.shape[1:]], value.dtype), batches[0])

    @tf.function(input_signature=[free, tf.TensorSpec([None, 4, 2])])
    def step(features, labels):
        traces.append(1)
        with tf.GradientTape() as tape:
            loss = binary_cross_entropy(labels, backbone(features, training=True))
            trained = sum(backbone.losses, loss)
        gradients = tape.gradient(trained, [weight.value for weight in backbone.trainable_variables], unconnected_gradients="zero")
        optimizer.apply(gradients, backbone.trainable_variables)
        return loss, [tf.reduce_max(tf.abs(tf.convert_to_tensor(gradient))) for gradient in gradients]

    before = [np.array(weight) for weight in backbone.trainable_variables]
    first, sizes = step(batches[0], labels[0])
    for weight, size in zip(backbone.trainable_variables, sizes, strict=True):
        assert np.isfinite(float(size)) and float(size) > 0, f"{weight.path} gets no gradient"
    losses = [float(first), *(float(step(batches[i % 2], labels[i % 2])[0]) for i in range(1, 30))]
    assert len(traces) == 1
    assert np.mean(losses[-2:]) < 0.8 * losses[0], losses
    assert all(np.any(np.array(weight) != old) for weight, old in zip(backbone.trainable_variables, before, strict=True))
    scored = float(binary_cross_entropy(labels[0], backbone(batches[0])))
    assert not backbone.losses, "a loss is handed over without `training`"
    assert scored < 0.8 * losses[0], f"what is learned does not show without `training`: {scored}, from {losses[0]}"


def _check_backbone_export(backbone, features, logits):
    """A plain `tf.Module` of the values gives the same logits after a round over the disk; as it is served, it knows no lengths beforehand."""
    tensors = _tensors(features)._asdict()
    free = {"user": 1, "context": 1}
    fields = {
        name: tf.TensorSpec([None] * free.get(name, 2) + value.shape[free.get(name, 2) :], value.dtype, name) for name, value in tensors.items()
    }
    module = tf.Module()
    module.variables_of_model = [variable.value for variable in backbone.variables]

    @tf.function(input_signature=[fields])
    def score(fields):
        return {"logits": backbone(Features(**fields))}

    module.score = score
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": score})
        check_graph(Path(folder))
        loaded = tf.saved_model.load(folder)
    score = loaded.signatures["serving_default"]
    np.testing.assert_allclose(score(**tensors)["logits"], logits, atol=1e-5)
    # A request may name no behavior at all.
    bare = {name: value[2:, :0] if name in ("history", "recency", "mask") else value[2:] for name, value in tensors.items()}
    np.testing.assert_allclose(score(**bare)["logits"], logits[2:], atol=1e-5, err_msg="a history without places is not an empty one")
