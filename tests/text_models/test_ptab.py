import numpy as np
import tensorflow as tf

from ppm_tf.text_models.ptab import PTab
from tests.text_models.checks import check_contract, check_reload, check_training, logits_of
from tests.text_models.tiny_text import batch, encoder, prompts


def make(seed=1):
    return PTab(prompts(), encoder(seed=seed), num_tasks=2, head_units=8)


def test_contract():
    check_contract(make())


def test_it_learns_with_every_weight():
    check_training(make())


def test_saved_weights_are_the_model(tmp_path):
    check_reload(make(), lambda: make(seed=2), tmp_path)


def test_a_logit_is_the_head_on_the_first_token_of_the_prompt():
    """Each prompt alone through the backbone, without padding, and the head in NumPy."""
    model = make()
    tokens, found = model.prompts.pairs(batch()), []
    for ids, mask in zip(tokens["token_ids"].numpy(), tokens["padding_mask"].numpy(), strict=True):
        ids = tf.constant(ids[mask > 0][None])
        states = model.encoder.backbone({"token_ids": ids, "padding_mask": tf.ones_like(ids), "segment_ids": tf.zeros_like(ids)})
        (w1, b1), (w2, b2) = model.head.hidden.get_weights(), model.head.logits.get_weights()
        found.append(np.tanh(np.asarray(states["sequence_output"])[0, 0] @ w1 + b1) @ w2 + b2)
    logits = logits_of(model, batch())
    np.testing.assert_allclose(np.concatenate([logits[0], logits[1, :1]]), found, atol=1e-5)


def test_only_training_drops_out():
    model = PTab(prompts(), encoder(dropout=0.5), num_tasks=2, head_units=8, dropout=0.5)
    assert np.abs(logits_of(model, batch(), training=True) - logits_of(model, batch(), training=True)).max() > 1e-3
    np.testing.assert_array_equal(logits_of(model, batch()), logits_of(model, batch()))
