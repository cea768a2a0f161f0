import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from ppm_tf.encoders.saved import load_encoder
from ppm_tf.encoders.text import TextEncoder
from ppm_tf.encoders.text_backbone import load_backbone
from ppm_tf.encoders.text_cleaning import RuleCleaner
from tests import tiny_encoders
from tests.tiny_encoders import TEXTS


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoders.bert()


def test_tokens_by_hand(encoder):
    tokens = encoder.tokenize(["Red shoes", "a"])
    # [CLS] red shoe ##s [SEP] and [CLS] a [SEP] with padding.
    assert tokens["token_ids"].numpy().tolist() == [[1, 5, 7, 9, 2], [1, 10, 2, 0, 0]]
    assert tokens["padding_mask"].numpy().tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]


def test_a_query_is_cut_where_the_backbone_ends_whatever_may_be_asked_for(encoder):
    """text.finetune.query_tokens may be more than text.max_tokens."""
    most = encoder.max_tokens
    assert encoder.tokenize(["red " * 50], max_tokens=most + 20)["token_ids"].shape == (1, most)
    np.testing.assert_array_equal(encoder.encode_cleaned(["red " * 50], most + 20), encoder.encode_cleaned(["red " * 50], most))


def test_long_texts_are_cut_before_the_end_token(encoder):
    tokens = encoder.tokenize(["red " * 50], max_tokens=4)
    assert tokens["token_ids"].numpy().tolist() == [[1, 5, 5, 2]]
    assert encoder.tokenize(["red " * 50])["token_ids"].shape == (1, 8)


def test_tokens_in_a_data_set_are_those_outside(encoder):
    (inside,) = tf.data.Dataset.from_tensor_slices(TEXTS).batch(6).map(encoder.tokenize)
    np.testing.assert_array_equal(inside["token_ids"], encoder.tokenize(TEXTS)["token_ids"])


@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
def test_pooling_against_numpy(encoder, pooling):
    hidden = np.arange(2 * 3 * 8, dtype="float32").reshape(2, 3, 8)
    mask = np.array([[1, 1, 0], [1, 1, 1]])
    expected = {"cls": hidden[:, 0], "mean": np.stack([hidden[0, :2].mean(0), hidden[1].mean(0)]), "last": np.stack([hidden[0, 1], hidden[1, 2]])}
    pooled = tiny_encoders.bert(pooling=pooling).pool(hidden, mask)
    np.testing.assert_allclose(pooled, expected[pooling], rtol=1e-6)


def test_padding_does_not_change_a_vector(encoder):
    alone = encoder.encode(["blue lamp"])
    np.testing.assert_allclose(encoder.encode_batch(["blue lamp", "a new red shoe a new"])[0], alone[0], rtol=1e-4, atol=1e-5)


def test_order_and_batches_do_not_change_a_vector(encoder):
    together = encoder.encode(TEXTS)
    np.testing.assert_allclose(encoder.encode(TEXTS[::-1], batch_size=2)[::-1], together, rtol=1e-4, atol=1e-5)
    assert together.dtype == np.float32
    assert np.ptp(together, axis=0).min() > 1e-3  # texts differ


def test_tokens_and_places_are_counted():
    encoder = tiny_encoders.bert()
    encoder.encode_batch(["red shoes", "a"])
    assert (encoder.tokens, encoder.padded_tokens) == (8, 16)  # 5 + 3 tokens; 2 texts of 8 places


def test_the_projection_starts_at_the_main_directions(encoder):
    from sklearn.decomposition import PCA

    whole = tiny_encoders.bert(dim=None)
    whole.backbone.set_weights(encoder.backbone.get_weights())
    fitted = tiny_encoders.bert(dim=2)
    fitted.backbone.set_weights(encoder.backbone.get_weights())
    fitted.fit_projection(TEXTS)
    expected = PCA(2, svd_solver="full").fit_transform(whole.encode(TEXTS))
    mine = fitted.encode(TEXTS)
    for column in range(2):  # a direction has no sign
        np.testing.assert_allclose(np.abs(mine[:, column]), np.abs(expected[:, column]), rtol=1e-3, atol=1e-4)


def test_a_turned_projection_keeps_distances_and_repeats_no_direction():
    encoder = tiny_encoders.bert(dim=3)
    before = encoder.encode(TEXTS)
    encoder.turn_projection(TEXTS)
    after = encoder.encode(TEXTS)
    distances = lambda vectors: np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
    np.testing.assert_allclose(distances(after), distances(before), rtol=1e-3, atol=1e-4)
    assert np.abs(after.mean(axis=0)).max() < 1e-4
    covariance = np.cov(after.T)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-4 * covariance.max())
    assert np.abs(np.cov(before.T) - np.diag(np.diag(np.cov(before.T)))).max() > 1e-3 * covariance.max()


def test_saved_and_loaded_it_is_the_same_encoder(tmp_path):
    encoder = tiny_encoders.bert(cleaner=RuleCleaner(["a new"]))
    encoder.save(tmp_path)
    copy = load_encoder(tmp_path)
    assert isinstance(copy, TextEncoder)
    assert copy.version == encoder.version
    assert json.loads((tmp_path / "encoder.json").read_text())["kind"] == "text"
    np.testing.assert_array_equal(copy.encode(["<b>red</b> shoe"]), encoder.encode(["<b>red</b> shoe"]))
    np.testing.assert_array_equal(copy.encode(["<b>red</b> shoe"]), encoder.encode(["red shoe"]))


@pytest.mark.parametrize("change", ["a weight", "pooling", "length", "cleaner"])
def test_the_version_tells_what_may_change_a_vector(encoder, change):
    other = tiny_encoders.bert(
        pooling="cls" if change == "pooling" else None,
        max_tokens=7 if change == "length" else 8,
        cleaner=RuleCleaner() if change == "cleaner" else None,
    )
    assert tiny_encoders.bert().version == encoder.version
    if change == "a weight":
        other.projection.bias.assign([0.0, 0.0, 0.0, 1e-6])
    assert other.version != encoder.version


def test_a_decoder_pools_its_last_token_and_sees_nothing_after_it():
    encoder = tiny_encoders.opt()
    assert encoder.is_decoder
    assert encoder.pooling == "last"
    hidden = encoder.hidden(encoder.tokenize(["red shoe", "red lamp"]))
    np.testing.assert_allclose(hidden[0, :4], hidden[1, :4], rtol=1e-4, atol=1e-5)  # start, r, ed, space
    assert np.abs(hidden[0, 5] - hidden[1, 5]).max() > 1e-5


def test_low_rank_updates_are_merged_when_saved(tmp_path):
    encoder = tiny_encoders.bert()
    plain = encoder.encode(TEXTS)
    before = len(encoder.backbone.trainable_weights)
    encoder.enable_lora(2)
    assert 0 < len(encoder.backbone.trainable_weights) < before
    np.testing.assert_allclose(encoder.encode(TEXTS), plain, atol=1e-6)
    for weight in encoder.backbone.trainable_weights:
        weight.assign(keras.random.normal(weight.shape, seed=3))
    changed = encoder.encode(TEXTS)
    assert np.abs(changed - plain).max() > 1e-3
    encoder.save(tmp_path)
    np.testing.assert_allclose(load_encoder(tmp_path).encode(TEXTS), changed, rtol=1e-3, atol=1e-4)


def test_a_hugging_face_folder_is_read(tmp_path):
    """A folder of config.json, vocab.txt, tokenizer_config.json and model.safetensors, as sentence encoders are shared."""
    from safetensors.numpy import save_file

    config = {
        "model_type": "bert", "architectures": ["BertModel"], "vocab_size": 12, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16, "max_position_embeddings": 16, "type_vocab_size": 2, "hidden_dropout_prob": 0.1, "hidden_act": "gelu",
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "vocab.txt").write_text("\n".join(tiny_encoders.WORDS))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "strip_accents": None, "tokenizer_class": "BertTokenizer"}))
    rng, weights = np.random.default_rng(0), {}

    def add(name, *shape):
        weights[name] = rng.normal(0, 0.3, shape).astype("float32")

    for name, rows in (("word", 12), ("position", 16), ("token_type", 2)):
        add(f"embeddings.{name}_embeddings.weight", rows, 8)
    layer = "encoder.layer.0"
    for name in (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    ):
        outputs, inputs = {"intermediate.dense": (16, 8), "output.dense": (8, 16)}.get(name, (8, 8))
        add(f"{layer}.{name}.weight", outputs, inputs)
        add(f"{layer}.{name}.bias", outputs)
    for name in ("embeddings.LayerNorm", f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"):
        add(f"{name}.weight", 8)
        add(f"{name}.bias", 8)
    add("pooler.dense.weight", 8, 8)
    add("pooler.dense.bias", 8)
    save_file(weights, tmp_path / "model.safetensors")

    encoder = TextEncoder.from_preset(str(tmp_path), max_tokens=8)
    np.testing.assert_array_equal(encoder.tokenize(["réd shoe"])["token_ids"], [[1, 5, 7, 2]])  # as Hugging Face: accents go with capitals
    np.testing.assert_allclose(encoder.hidden(encoder.tokenize(["red"]))[0], _bert(weights, [1, 5, 2]), rtol=1e-4, atol=1e-5)


def _bert(weights, ids):
    """One block of BERT (Devlin et al., 2019), post-norm, in NumPy."""
    from math import erf

    def norm(x, name):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12) * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def dense(x, name):
        return x @ weights[f"encoder.layer.0.{name}.weight"].T + weights[f"encoder.layer.0.{name}.bias"]

    x = (
        weights["embeddings.word_embeddings.weight"][ids]
        + weights["embeddings.position_embeddings.weight"][: len(ids)]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    x = norm(x, "embeddings.LayerNorm")
    query, key, value = (dense(x, f"attention.self.{name}").reshape(-1, 2, 4) for name in ("query", "key", "value"))
    scores = np.einsum("qhd,khd->hqk", query, key) / 2.0
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    attended = np.einsum("hqk,khd->qhd", scores / scores.sum(-1, keepdims=True), value).reshape(-1, 8)
    x = norm(x + dense(attended, "attention.output.dense"), "encoder.layer.0.attention.output.LayerNorm")
    inner = dense(x, "intermediate.dense")
    inner = inner * 0.5 * (1 + np.vectorize(erf)(inner / np.sqrt(2)))
    return norm(x + dense(inner, "output.dense"), "encoder.layer.0.output.LayerNorm")


def test_what_cannot_be_loaded_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"text\.preset must be a keras-nlp preset, or a folder .* Received: .*nothing"):
        load_backbone(str(tmp_path / "nothing"))
    with pytest.raises(FileNotFoundError, match="must hold a saved encoder"):
        TextEncoder.load(tmp_path)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"max_tokens must be at most what the backbone reads, 16\. Received: 17"):
        tiny_encoders.bert(max_tokens=17)
    with pytest.raises(ValueError, match=r"dim must be at most the backbone's width, 8\. Received: 9"):
        tiny_encoders.bert(dim=9)
