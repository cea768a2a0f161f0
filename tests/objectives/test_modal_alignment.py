import numpy as np
import pytest
import tensorflow as tf

from ppm_tf.objectives.modal_alignment import ModalAlignment, VectorsOfTexts, most_popular, row_batches
from tests import tiny_encoders
from tests.battery import check_objective

rng = np.random.default_rng(0)
TARGETS = rng.normal(size=(9, 6)).astype("float32")
TEXTS = tiny_encoders.TEXTS[:4]
UNUSED = ("pooled_dense",)  # BERT's head of its own, which mean pooling leaves aside


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoders.bert()


@pytest.mark.parametrize("head", ["linear", "relu_layernorm"])
def test_it_is_an_objective(head):
    encoder = tiny_encoders.bert(dropout=0.0)
    check_objective(ModalAlignment(encoder, TARGETS, head), batch(encoder), UNUSED)


def batch(encoder, rows=(2, 5, 3, 8)):
    return {"tokens": encoder.tokenize(tf.constant(TEXTS)), "row": tf.constant(rows)}


def cross_entropy(similarities):
    return float(np.mean(np.log(np.exp(similarities).sum(axis=1)) - np.diag(similarities)))


@pytest.mark.parametrize(("similarity", "temperature"), [("dot", 1.0), ("cosine", 0.1)])
@pytest.mark.parametrize("head", ["linear", "relu_layernorm"])
def test_equals_equations_8_to_12(encoder, similarity, temperature, head):
    model = ModalAlignment(encoder, TARGETS, head, similarity, temperature)
    requests = batch(encoder)
    texts = encoder(requests["tokens"]).numpy() @ model.head.kernel.numpy() + model.head.bias.numpy()
    if head == "relu_layernorm":
        texts = np.maximum(texts, 0)
        texts = (texts - texts.mean(-1, keepdims=True)) / np.sqrt(texts.var(-1, keepdims=True) + 1e-5)
    ids = TARGETS[[2, 5, 3, 8]]
    if similarity == "cosine":
        texts, ids = (values / np.linalg.norm(values, axis=1, keepdims=True) for values in (texts, ids))
    expected = cross_entropy(texts @ ids.T / temperature) + cross_entropy(ids @ texts.T / temperature)
    assert float(model.loss_of(requests, model(requests))) == pytest.approx(expected, rel=1e-4)


def test_a_second_text_of_an_item_is_no_negative(encoder):
    model = ModalAlignment(encoder, TARGETS)
    twice = batch(encoder, (2, 5, 2, 8))
    texts, ids = (output.numpy() for output in model(twice))
    similarities = texts @ ids.T
    similarities[0, 2] = similarities[2, 0] = -1e9
    assert float(model.loss_of(twice, (texts, ids))) == pytest.approx(cross_entropy(similarities) + cross_entropy(similarities.T), rel=1e-4)


def test_the_ids_stay_and_encoder_and_head_learn(encoder):
    model = ModalAlignment(encoder, TARGETS, "relu_layernorm")
    with tf.GradientTape() as tape:
        loss = model.loss_of(batch(encoder), model(batch(encoder), training=True))
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    learnt = {weight.path for weight, gradient in zip(model.trainable_weights, gradients, strict=True) if gradient is not None}
    assert {weight.path for weight in (model.head.kernel, model.norm.gamma)} <= learnt
    assert len(model.trainable_weights) == len(encoder.trainable_weights) + 4  # nothing of the targets among them
    np.testing.assert_array_equal(model.targets, TARGETS)


def test_the_ranking_is_by_the_similarity_that_is_trained(encoder):
    model = ModalAlignment(encoder, TARGETS, similarity="cosine", temperature=0.5)
    order, loss = model.ranking([batch(encoder)], 2)
    texts, ids = (output.numpy() for output in model(batch(encoder)))
    cosines = (texts / np.linalg.norm(texts, axis=1, keepdims=True)) @ (ids / np.linalg.norm(ids, axis=1, keepdims=True)).T
    np.testing.assert_array_equal(order, np.argsort(-cosines, axis=1)[:, :2])
    assert loss == pytest.approx(float(model.loss_of(batch(encoder), model(batch(encoder)))), rel=1e-5)


def test_the_most_popular_share_with_ties_by_id():
    assert most_popular(np.array([5, 9, 5, 1]), ["c", "b", "a", "d"], 0.5).tolist() == [1, 2]
    assert most_popular(np.array([5, 9]), [1, 2], 1.0).tolist() == [0, 1]
    assert most_popular(np.array([5, 9, 7]), [1, 2, 3], 0.01).tolist() == [1]


@pytest.mark.parametrize("wrong", [{"head": "none"}, {"similarity": "l2"}])
def test_unknown_heads_and_similarities_are_refused(encoder, wrong):
    with pytest.raises(ValueError, match="head must be linear or relu_layernorm, and similarity dot or cosine"):
        ModalAlignment(encoder, TARGETS, **wrong)


def test_vectors_of_texts_stand_in_for_the_language_model_and_only_those_of_the_batch_move():
    start = np.random.default_rng(1).normal(size=(9, 5)).astype("float32")
    model = ModalAlignment(VectorsOfTexts(start), TARGETS)
    check_objective(model, {"tokens": tf.constant([2, 5, 3, 8]), "row": tf.constant([2, 5, 3, 8])})
    model = ModalAlignment(VectorsOfTexts(start), TARGETS)
    (seen,) = row_batches(np.array([2, 5, 3, 8]), 4, 1, seed=0)
    assert sorted(seen["row"].numpy().tolist()) == [2, 3, 5, 8] and seen["tokens"].numpy().tolist() == seen["row"].numpy().tolist()
    with tf.GradientTape() as tape:
        loss = model.loss_of(seen, model(seen, training=True))
    gradient = tape.gradient(loss, model.encoder.table.value)
    assert set(gradient.indices.numpy().tolist()) == {2, 3, 5, 8}
    texts, ids = start[[2, 5, 3, 8]] @ model.head.kernel.numpy() + model.head.bias.numpy(), TARGETS[[2, 5, 3, 8]]
    assert float(loss) == pytest.approx(cross_entropy(texts @ ids.T) + cross_entropy(ids @ texts.T), rel=1e-4)
