import numpy as np
import pytest

from ppm_tf.backbones import MIAN
from tests.backbones.reference import activation_unit, dense, every_candidate, example, flat, head, mean_of_real, relu, transformer_block
from tests.battery import built, random_features
from tests.layers.reference import layer_norm, softmax

ARGUMENTS = {"num_heads": 2, "attention_units": (6, 5)}


def test_equals_the_equation():
    """The three local modules, the global one over their seven parts, and the dense layers, each written out."""
    backbone, features, got = example(MIAN, **ARGUMENTS)
    item, history, mask = flat(features.item), flat(features.history), features.mask
    x = np.where(mask[..., None], history + backbone.places.numpy(), 0)
    hidden = layer_norm(transformer_block(x, np.repeat(mask[:, None], 6, 1), backbone.block, pre_norm=True))
    behaviors = activation_unit(item, hidden, mask, backbone.behaviors, [relu, relu])
    local = []
    for side in ("user", "context"):
        query, attention = backbone.field_modules[side]
        fields = getattr(features, side)
        local.append(activation_unit(dense(item, query), fields, np.ones(fields.shape[:2], bool), attention, [relu, relu]))
    parts = [
        every_candidate(part, item)[..., : part.shape[-1]] for part in (mean_of_real(history, mask), flat(features.user), flat(features.context))
    ]
    parts += [item, behaviors, *local]
    assert len(parts) == 7
    scores = backbone.interaction.scores
    weights = 7 * softmax(dense(relu(dense(relu(dense(np.concatenate(parts, -1), scores.first)), scores.hidden.dense_layers[0])), scores.logits))
    weighed = np.concatenate([weights[..., p : p + 1] * part for p, part in enumerate(parts)], -1)
    np.testing.assert_allclose(got, head(np.concatenate([weighed, features.other], -1), backbone.head), rtol=1e-4, atol=5e-5)


def test_the_candidate_weighs_a_single_field():
    """One context field, as a softmax over one could not weigh it: its module gives another vector to another candidate."""
    features = random_features(np.random.default_rng(0))
    backbone = built(MIAN, {"num_tasks": 1, **ARGUMENTS}, features)
    query, attention = backbone.field_modules["context"]
    weighed = np.asarray(attention(query(flat(features.item)), features.context, np.ones((3, 1), bool)))
    ratios = weighed / features.context  # [R, N, D]: a number a candidate
    assert np.ptp(ratios, axis=1).min() > 1e-3 and np.ptp(ratios, axis=2).max() < 1e-4


def test_a_side_without_fields_has_no_module():
    backbone = built(MIAN, {"num_tasks": 1, **ARGUMENTS}, random_features(np.random.default_rng(0), user_fields=0))
    assert list(backbone.field_modules) == ["context"]
    assert len(backbone.interaction.request_dims + backbone.interaction.candidate_dims) == 5


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="num_heads=5, width=24"):
        built(MIAN, {"num_tasks": 1, "num_heads": 5}, random_features(np.random.default_rng(0)))
