import numpy as np

from ppm_tf.backbones import AutoInt
from tests.backbones.reference import every_field, example, flat, head
from tests.layers.reference import softmax


def interacting_layer(fields, layer):
    """The interacting layer of AutoInt, with one product of all fields a head."""
    query, key, value, residual = (fields @ weight for weight in layer.get_weights())
    heads = []
    for columns in np.split(np.arange(query.shape[-1]), layer.num_heads):
        weights = softmax(query[..., columns] @ key[..., columns].swapaxes(-1, -2))
        heads.append(weights @ value[..., columns])
    return np.maximum(np.concatenate(heads, -1) + residual, 0)


def test_equals_the_equation():
    """AutoInt+: layers of attention over all fields, dense layers, and the sum of the fields' own weights."""
    backbone, features, got = example(AutoInt, num_attention_layers=2, head_dim=3)
    fields = x = every_field(features)
    assert fields.shape == (3, 4, 9, 8)
    for layer in backbone.attention_layers:
        x = interacting_layer(x, layer)
    assert x.shape == (3, 4, 9, 6)
    expected = features.first_order * backbone.linear_scale.numpy() + flat(x) @ backbone.logits.kernel.numpy()
    expected = expected + head(np.concatenate([flat(fields), features.other], -1), backbone.head)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-3)


def test_every_field_reaches_the_logits_through_the_attention_alone():
    backbone, features, _ = example(AutoInt, num_attention_layers=1)
    backbone.head.set_weights([weight * 0 for weight in backbone.head.get_weights()])
    score = lambda changed: np.asarray(backbone(changed))
    for name in ("user", "context", "history", "item"):
        values = getattr(features, name)
        for f in range(values.shape[-2]):
            moved = values.copy()
            moved[..., f, :] += 1
            assert np.abs(score(features._replace(**{name: moved})) - score(features))[0].max() > 1e-3, (name, f)
