import numpy as np
import tensorflow as tf

from ppm_tf.text_models.ctr_bert import CTRBERT
from tests.text_models.checks import check_contract, check_reload, check_training, logits_of
from tests.text_models.tiny_text import batch, encoder, prompts


def make(seed=1):
    return CTRBERT(prompts(), encoder(seed=seed), num_tasks=2, head_units=8)


def test_contract():
    check_contract(make())


def test_it_learns_with_every_weight():
    check_training(make())


def test_saved_weights_are_the_model(tmp_path):
    check_reload(make(), lambda: make(seed=2), tmp_path)


def first_state(model, ids):
    """The backbone's state of the first token, of one text without padding."""
    ids = tf.constant(np.asarray(ids)[None])
    states = model.encoder.backbone({"token_ids": ids, "padding_mask": tf.ones_like(ids), "segment_ids": tf.zeros_like(ids)})
    return np.asarray(states["sequence_output"])[0, 0]


def texts(tokens):
    return [ids[mask > 0] for ids, mask in zip(tokens["token_ids"].numpy(), tokens["padding_mask"].numpy(), strict=True)]


def test_a_users_vector_is_that_of_its_text_alone():
    model = make()
    expected = [first_state(model, ids) for ids in texts(model.prompts.users(batch()))]
    np.testing.assert_allclose(model.user_vectors(batch()), expected, atol=1e-5)


def test_a_logit_is_the_head_on_the_vectors_of_user_and_item():
    model, one = make(), batch()
    users = [first_state(model, ids) for ids in texts(model.prompts.users(one))]
    (w1, b1), (w2, b2) = model.head.hidden.get_weights(), model.head.logits.get_weights()
    for request, place in ((0, 0), (0, 2), (1, 0)):
        item = first_state(model, texts(model.prompts.items(tf.constant(one["item"][request, place : place + 1])))[0])
        expected = np.tanh(np.concatenate([users[request], item]) @ w1 + b1) @ w2 + b2
        np.testing.assert_allclose(logits_of(model, one)[request, place], expected, atol=1e-5)


def test_a_user_is_read_once_a_request_and_an_item_once_a_batch(monkeypatch):
    model, read = make(), []
    pool = model.encoder.pool
    monkeypatch.setattr(model.encoder, "pool", lambda hidden, mask: read.append(mask.shape[0]) or pool(hidden, mask))
    one = batch()
    one["item"] = np.array([[3, 6, 3], [6, 3, 0]], "int32")
    logits_of(model, one)
    assert read == [2, 2]  # two requests; items 3 and 6
