"""From settings to a text model: where its language model starts, and that it is kept whole."""

import numpy as np
import pytest
import tensorflow as tf

from ppm_tf.config import load
from ppm_tf.models.inputs import Inputs
from ppm_tf.text_models.build import build_text_model, prompt_batches, prompt_words, share_of_cut
from ppm_tf.text_models.language import load_language, save_language
from tests.text_models.checks import logits_of
from tests.text_models.tiny_text import FIELDS, NUMBERS, SCHEMA, TEXTS, batch

SMALL = ["model.ppm=none", "text.num_layers=1", "text.width=8", "text.num_heads=2", "text.dim=8", "text.vocabulary=128"]


class Catalog:
    fields, numbers, text = FIELDS, NUMBERS, TEXTS


def inputs(texts=TEXTS):
    catalog = Catalog()
    catalog.text = texts
    return Inputs(SCHEMA, catalog, {})


def settings(name, *more):
    return load([f"model.backbone.name={name}", *SMALL, *more])


@pytest.mark.parametrize("name", ["ptab", "ctr_bert", "p5"])
def test_a_model_and_its_language_model_are_kept_whole(name, tmp_path):
    """Word pieces, sizes and weights come back from the folder: the same logits in a model that is built anew."""
    config = settings(name)
    model, language = build_text_model(config, inputs())
    save_language(language, tmp_path / "language")
    model.save_weights(tmp_path / "one.weights.h5")
    again, _ = build_text_model(config, inputs(), load_language(tmp_path / "language"))
    again.load_weights(tmp_path / "one.weights.h5")
    before = logits_of(model, batch())
    assert before.shape == (2, 3, 2) and np.ptp(before) > 0
    np.testing.assert_allclose(logits_of(again, batch()), before, atol=1e-6)
    assert again.prompts.max_tokens == 128 and language.tokenizer.get_vocabulary() == load_language(tmp_path / "language").tokenizer.get_vocabulary()


def test_words_of_every_prompt_are_pieces_of_their_own():
    words = prompt_words(SCHEMA)
    assert {"history", "candidate", "yes", "no", "age", "group", "acme", "phone", "click", "order", ";", ":", "7", "##7"} <= set(words)
    model, language = build_text_model(settings("ctr_bert"), inputs())
    tokens = model.prompts.users(batch())
    pieces = [language.tokenizer.id_to_token(int(piece)) for piece in tokens["token_ids"][0][:11]]
    assert pieces == ["[CLS]", "age", "group", ":", "young", ";", "device", ":", "phone", ";", "history"]


def test_a_preset_is_read_and_low_rank_updates_alone_train(tmp_path):
    for name, trained in (("p5", 12), ("ptab", 4)):
        _, language = build_text_model(settings(name), inputs())
        save_language(language, tmp_path / name)
        given = ["text.encoder=preset", f"text.preset={tmp_path / name / 'backbone'}", "text.lora_rank=2", "text.dim=null"]
        model, adapted = build_text_model(settings(name, *given), inputs())
        assert sum("lora" in weight.path for weight in model.trainable_variables) == trained
        assert not any("kernel" in weight.path and "lora" not in weight.path for weight in adapted.backbone.trainable_variables)


def test_an_encoder_of_another_run_is_where_it_starts(tmp_path):
    saved, _ = build_text_model(settings("ptab"), inputs())
    saved.encoder.save(tmp_path)
    model, _ = build_text_model(settings("ctr_bert", "text.encoder=saved", f"text.path={tmp_path}"), inputs())
    for mine, theirs in zip(model.encoder.backbone.weights, saved.encoder.backbone.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_preset_of_another_kind_is_refused(tmp_path):
    _, language = build_text_model(settings("ptab"), inputs())
    save_language(language, tmp_path)
    with pytest.raises(ValueError, match="text.preset must be a T5 for model.backbone.name=p5. Received: .*a BertBackbone"):
        build_text_model(settings("p5", "text.encoder=preset", f"text.preset={tmp_path / 'backbone'}"), inputs())


def test_a_prompt_is_no_longer_than_the_language_model_reads(tmp_path):
    _, language = build_text_model(settings("ptab", "model.backbone.max_tokens=16"), inputs())
    save_language(language, tmp_path)
    with pytest.raises(ValueError, match="model.backbone.max_tokens must be at most what the language model reads, 16. Received: 32. Lower it"):
        build_text_model(settings("ptab", "model.backbone.max_tokens=32"), inputs(), load_language(tmp_path))


def test_items_without_texts_are_refused():
    with pytest.raises(ValueError, match="model.backbone.name=ptab reads the texts of the items. Received: no item has one. Remedy: set data.items"):
        build_text_model(settings("ptab"), inputs([""] * 5))


@pytest.mark.parametrize("name", ["ptab", "ctr_bert", "p5"])
def test_half_precision_gives_whole_logits(name, float32_policy):
    import keras

    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    model, _ = build_text_model(settings(name), inputs())
    logits = logits_of(model, batch())
    assert logits.dtype == np.float32 and np.isfinite(logits).all() and np.ptp(logits[batch()["item"] != 0]) > 0


def test_masked_tokens_are_those_of_each_requests_first_prompt():
    model, _ = build_text_model(settings("ptab"), inputs())
    found = next(iter(prompt_batches(model, tf.data.Dataset.from_tensors({name: tf.constant(value) for name, value in batch().items()}))))
    every = model.prompts.pairs(batch())["token_ids"].numpy()[[0, 3]]  # the first request has three candidates
    np.testing.assert_array_equal(found["tokens"]["token_ids"], every[:, : found["tokens"]["token_ids"].shape[1]])
    assert found["row"].numpy().tolist() == [1, 2] and set(found["tokens"]) == {"token_ids", "padding_mask"}


def test_the_share_of_cut_prompts_is_counted():
    model, _ = build_text_model(settings("ptab", "model.backbone.max_tokens=28"), inputs())
    dataset = tf.data.Dataset.from_tensors({name: tf.constant(value) for name, value in batch().items()})
    lengths = model.prompts.pairs(batch())["padding_mask"].numpy().sum(1)
    cut, mean, count = share_of_cut(model, dataset)
    assert (cut, mean, count) == (3 / 4, lengths.mean(), 4)  # the prompt without history is short
