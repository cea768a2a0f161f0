import math

import numpy as np
import pytest
import tensorflow as tf

from ppm_tf.evaluation.language_model import held_out_figures, unigram_perplexity
from ppm_tf.metrics.representation import uniformity
from ppm_tf.objectives.domain_adaptation import DomainAdaptation, text_batches
from tests import tiny_encoders
from tests.battery import check_objective
from tests.tiny_encoders import TEXTS

UNUSED = ("pooled_dense", "projection")


def batch_of(encoder):
    return {"tokens": encoder.tokenize(TEXTS), "row": tf.range(2, 8)}


def test_it_is_an_objective():
    encoder = tiny_encoders.bert()
    model = DomainAdaptation(encoder)
    check_objective(model, batch_of(encoder), UNUSED)


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0)])
def test_each_loss_alone_is_an_objective(weights):
    encoder = tiny_encoders.bert()
    check_objective(DomainAdaptation(encoder, *weights), batch_of(encoder), UNUSED)


def test_the_loss_is_equation_6():
    encoder = tiny_encoders.bert()
    model = DomainAdaptation(encoder, mlm_weight=0.5, simcse_weight=2.0, temperature=0.3)
    batch = batch_of(encoder)
    outputs = {name: np.asarray(value, "float64") for name, value in model(batch, training=True).items()}
    logits = outputs["logits"] - np.log(np.exp(outputs["logits"]).sum(-1, keepdims=True))
    picked = np.take_along_axis(logits, outputs["targets"].astype(int)[..., None], -1)[..., 0]
    mlm = -(picked * outputs["weights"]).sum() / outputs["weights"].sum()
    left, right = (outputs[side] / np.linalg.norm(outputs[side], axis=1, keepdims=True) for side in ("left", "right"))
    scores = np.exp(left @ right.T / 0.3)
    simcse = -np.log(np.diag(scores) / scores.sum(1)).mean()
    assert not np.allclose(left, right)  # dropout tells the twins apart
    loss = model.loss_of(batch, {name: tf.constant(value, "float32") for name, value in outputs.items()})
    assert float(loss) == pytest.approx(0.5 * mlm + 2.0 * simcse, rel=1e-4)


def test_a_decoder_learns_each_token_from_those_before_it():
    encoder = tiny_encoders.opt()
    model = DomainAdaptation(encoder, simcse_weight=0.0)
    batch = batch_of(encoder)
    outputs = model(batch)
    ids, mask = batch["tokens"]["token_ids"].numpy(), batch["tokens"]["padding_mask"].numpy()
    np.testing.assert_array_equal(outputs["targets"], ids[:, 1:])
    np.testing.assert_array_equal(outputs["weights"], mask[:, 1:])
    expected = np.asarray(encoder.hidden(batch["tokens"])) @ np.asarray(encoder.backbone.token_embedding.embeddings).T
    np.testing.assert_allclose(outputs["logits"], expected[:, :-1], rtol=1e-3, atol=1e-5)
    check_objective(DomainAdaptation(encoder), batch, ("projection",))


def test_held_out_figures_by_hand():
    encoder = tiny_encoders.bert(dropout=0.0)
    model = DomainAdaptation(encoder)
    first = held_out_figures(model, text_batches(encoder, TEXTS, np.arange(6), 4, None, seed=1))
    again = held_out_figures(model, text_batches(encoder, TEXTS, np.arange(6), 4, None, seed=1))
    assert first == pytest.approx(again)  # the masks are the same
    whole = tiny_encoders.bert(dim=None, dropout=0.0)
    whole.backbone.set_weights(encoder.backbone.get_weights())
    assert first["uniformity"] == pytest.approx(uniformity(whole.encode(TEXTS)), abs=1e-3)
    assert first["alignment"] == pytest.approx(0.0, abs=1e-6)  # without dropout a text is its own twin
    assert first["perplexity"] > 1


def test_token_frequencies_by_hand():
    """Six training tokens over a vocabulary of twelve: a token seen n times has probability (n + 1) / 18."""
    encoder = tiny_encoders.bert()
    train = text_batches(encoder, ["red red red lamp", "a a"], [2, 3], 2, None, seed=1)
    test = text_batches(encoder, ["red"], [4], 1, None, seed=1)
    assert unigram_perplexity(train, test, encoder) == pytest.approx(18 / 4)
    assert unigram_perplexity(train, text_batches(encoder, ["blue"], [4], 1, None, seed=1), encoder) == pytest.approx(18.0)
    assert not math.isnan(unigram_perplexity(train, text_batches(tiny_encoders.opt(), ["red"], [4], 1, None, seed=1), tiny_encoders.opt()))
