import keras
import numpy as np
import pytest

from ppm_tf.backbones import UniSRec
from tests.backbones.reference import concat_request, every_candidate, example, flat, head, transformer_block
from tests.battery import built, random_features
from tests.layers.reference import gelu, layer_norm
from tests.models.tiny_ranking import batch, model

ARGUMENTS = {"num_layers": 2, "num_heads": 2, "intermediate_dim": 12}


def test_equals_the_equation():
    """Request by request and without padding, oldest behavior first: a lower triangle, and the last state is the user."""
    backbone, features, got = example(UniSRec, **ARGUMENTS)
    history, item = features.history.sum(2), features.item.sum(2)
    user = np.zeros_like(history[:, 0])
    for r, real in enumerate(features.mask):
        count = int(real.sum())
        if count:
            x = layer_norm(history[r, :count] + backbone.places.numpy()[:count])[None, ::-1]
            for block in backbone.blocks:
                x = transformer_block(x, np.tril(np.ones((1, count, count), bool)), block, pre_norm=False, activation=gelu)
            user[r] = x[0, -1]
    candidates = np.concatenate([flat(features.item), user[:, None] * item, features.other], -1)
    np.testing.assert_allclose(got, head(every_candidate(concat_request(features, user), candidates), backbone.head), rtol=1e-4, atol=1e-4)


def test_no_behavior_sees_a_newer_one():
    """What changes of the newest one stays with it, through both blocks."""
    backbone, features, _ = example(UniSRec, **ARGUMENTS)
    history, mask = features.history[:1].sum(2), features.mask[:1]
    last, states = backbone.blocks[-1], []
    call = last.call
    last.call = lambda *arguments, **more: (states.append(np.asarray(found := call(*arguments, **more))), found)[1]
    backbone._user(history, mask, False)
    history[:, 0] += np.arange(8)
    backbone._user(history, mask, False)
    np.testing.assert_array_equal(states[0][:, 1:], states[1][:, 1:])
    assert np.abs(states[0][:, 0] - states[1][:, 0]).max() > 0.1


def test_heads_must_divide_the_width_of_a_field():
    with pytest.raises(ValueError, match="num_heads=3, width=8"):
        built(UniSRec, {"num_tasks": 1, "num_heads": 3}, random_features(np.random.default_rng(0)))


def test_a_longer_history_than_it_was_built_for_is_refused():
    rng = np.random.default_rng(0)
    backbone = built(UniSRec, {"num_tasks": 1}, random_features(rng))
    with pytest.raises(ValueError, match="7 behaviors, built for 6"):
        backbone(random_features(rng, history=7))


def test_in_the_ranking_model_the_adaptor_meets_each_different_item_once():
    """The paper's inductive setting, texts alone; folded into a table for serving, the scores are the same."""
    keras.utils.set_random_seed(0)
    ranker = model("model.backbone={name: unisrec, mlp_units: [8]}", "model.ppm=none", "model.tables=[title]", "model.fusion=adaptor")
    adaptor, requests = ranker.embedding.projections["title"], batch()
    seen, call = [], adaptor.call
    adaptor.call = lambda vectors, training=False: (seen.append((tuple(vectors.shape), training)), call(vectors, training=training))[1]
    scores = np.asarray(ranker(requests))
    ranker(requests, training=True)
    items = len(np.unique(np.concatenate([requests["history"].ravel(), requests["item"].ravel()])))
    assert seen == [((items, 4), False), ((items, 4), True)] and adaptor.num_experts == 8
    ranker.embedding.fold_tables()
    np.testing.assert_allclose(ranker(requests), scores, atol=1e-5)
