import numpy as np

from ppm_tf.backbones import DCN
from tests.backbones.reference import every_field, example, flat, head


def test_equals_the_equation():
    """DCN: layer upon layer over all fields, beside dense layers, and one row of weights over both."""
    backbone, features, got = example(DCN, num_cross_layers=3)
    x0 = x = flat(every_field(features))
    for kernel, bias in zip(backbone.cross.products.kernel.numpy().T, backbone.cross.bias.numpy(), strict=True):
        x = x0 * (x @ kernel)[..., None] + bias + x
    deep = head(np.concatenate([x0, features.other], -1), backbone.head)
    np.testing.assert_allclose(got, x @ backbone.logits.kernel.numpy() + deep, rtol=1e-3, atol=1e-3)


def test_a_cross_layer_raises_the_degree_by_one():
    """Without biases and dense layers the score of all fields times t is a polynomial in t, of degree L + 1 and no more."""
    backbone, features, _ = example(DCN, num_cross_layers=2)
    backbone.cross.bias.assign(np.zeros(backbone.cross.bias.shape))
    backbone.head.set_weights([weight * 0 for weight in backbone.head.get_weights()])
    grown = lambda t: features._replace(**{name: t * getattr(features, name) for name in ("user", "context", "history", "item")})
    values = np.stack([np.asarray(backbone(grown(t)), "float64") for t in np.linspace(0.2, 1, 5).astype("float32")])
    differences = [np.abs(np.diff(values, n, axis=0)).max() for n in (3, 4)]
    assert differences[0] > 1e-2 and differences[1] < 1e-3 * differences[0]
