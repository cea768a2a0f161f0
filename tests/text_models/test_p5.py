import keras
import keras_nlp
import numpy as np
import pytest
import tensorflow as tf

from ppm_tf.encoders.text_backbone import low_rank
from ppm_tf.text_models.language import T5_LORA
from ppm_tf.text_models.p5 import P5, word_starts
from tests.text_models.checks import check_contract, check_reload, check_training, logits_of
from tests.text_models.tiny_text import WORDS, batch, prompts, tokenizer

YES, NO, CLICK, ORDER = (WORDS.index(word) for word in ("yes", "no", "click", "order"))


def t5(seed=1, tie=True):
    keras.utils.set_random_seed(seed)
    backbone = keras_nlp.models.T5Backbone(
        vocabulary_size=len(WORDS) + 3, num_layers=2, num_heads=2, hidden_dim=8, intermediate_dim=16, dropout=0.0, tie_embedding_weights=tie
    )
    for weight in backbone.trainable_weights:  # at T5's own start the attention is nearly that of a mean, and all prompts alike
        if "projector" in weight.path:
            weight.assign(2.0 * weight)
    return backbone


def make(seed=1, tasks=((CLICK,), (ORDER,)), tie=True):
    starts = np.pad(word_starts(tokenizer()), (0, 3))
    return P5(prompts(question="wanted?", start=None), t5(seed, tie), (YES, NO), tasks, starts, max_tokens=64, start=0, end=2)


def test_contract():
    check_contract(make())


def test_it_learns_with_every_weight():
    check_training(make(), steps=150)


def test_saved_weights_are_the_model(tmp_path):
    check_reload(make(), lambda: make(seed=2), tmp_path)


@pytest.mark.filterwarnings("ignore:.*softmax over axis -1 of a tensor of shape .* size 1")
@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("question", [[], [CLICK]])
def test_the_probability_is_that_of_yes_among_yes_and_no(question, tie):
    """keras-nlp's T5 itself on each prompt, softmax over the whole vocabulary in NumPy; whole-word embeddings start at zero."""
    model = make(tasks=[question], tie=tie)
    found, tokens = [], model.prompts.pairs(batch())
    for ids, mask in zip(tokens["token_ids"].numpy(), tokens["padding_mask"].numpy(), strict=True):
        ids, read = ids[mask > 0][None], np.array([[0, *question]])
        inputs = {"encoder_token_ids": ids, "encoder_padding_mask": np.ones_like(ids)}
        inputs |= {"decoder_token_ids": read, "decoder_padding_mask": np.ones_like(read)}
        states = model.backbone(inputs)["decoder_sequence_output"]
        last = np.asarray(states, "float64")[0, -1]
        embedding = model.backbone.token_embedding
        scores = np.asarray(embedding.embeddings) @ last / np.sqrt(8) if tie else last @ np.asarray(embedding.reverse_embeddings)
        probabilities = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        found.append(probabilities[YES] / (probabilities[YES] + probabilities[NO]))
    logits = logits_of(model, batch())
    np.testing.assert_allclose(1 / (1 + np.exp(-np.concatenate([logits[0], logits[1, :1]])[:, 0])), found, atol=1e-5)


def test_a_shorter_question_is_not_moved_by_a_longer_one():
    together, alone = make(tasks=[[CLICK], [ORDER, CLICK, ORDER]]), make(tasks=[[CLICK]])
    np.testing.assert_allclose(logits_of(together, batch())[..., :1], logits_of(alone, batch()), atol=1e-5)


def test_whole_words_are_counted_to_the_closing_token():
    model = make()
    pieces = ["[PAD]", "red", "shoe", "##s", "lamp", "[SEP]"]
    model.word_starts = tf.constant([not piece.startswith("##") for piece in pieces])
    model.end = 5
    tokens = {
        "token_ids": tf.constant([[1, 2, 3, 4, 5, 0], [4, 3, 3, 5, 0, 0]]),
        "padding_mask": tf.constant([[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 0, 0]]),
    }
    np.testing.assert_array_equal(model.word_numbers(tokens), [[1, 2, 2, 3, 0, 0], [1, 1, 1, 0, 0, 0]])


def test_whole_word_embeddings_are_added_to_the_tokens():
    """With the same vector for each word they are a shift of all token embeddings, which the backbone itself can be given."""
    model, shift = make(), np.linspace(-1, 1, 8).astype("float32")
    model.end = -1  # so that every real token has a word
    model.whole_words.embeddings.assign(np.tile(shift, (65, 1)))
    tokens = model.prompts.pairs(batch())
    shifted = make()
    embedding = shifted.backbone.token_embedding.embeddings
    embedding.assign(embedding + shift)
    real = np.asarray(tokens["padding_mask"]) > 0
    np.testing.assert_allclose(np.asarray(model.encode(tokens))[real], np.asarray(shifted.encode(tokens))[real], atol=1e-5)


def test_words_begin_without_their_mark():
    class Marked:
        def vocabulary_size(self):
            return 4

        def id_to_token(self, number):
            return ["<pad>", "\u2581red", "dish", "\u2581shoe"][number]

    assert word_starts(Marked()).tolist() == [False, True, False, True]
    assert word_starts(tokenizer())[WORDS.index("red")]


def test_answers_that_begin_alike_are_refused():
    with pytest.raises(ValueError, match="Yes and no must begin with different tokens. Received: 5 for both"):
        P5(prompts(), t5(), (5, 5), [[]], np.ones(len(WORDS) + 3, bool), 64)


def test_low_rank_updates_need_the_names_of_a_t5():
    with pytest.raises(ValueError, match="query_dense, value_dense, query, value. Received: a T5Backbone, which has none of them, so that nothing"):
        low_rank(t5(), 2)
    model = make()
    low_rank(model.backbone, 2, T5_LORA)
    trained = {weight.path.split("/")[-1] for weight in model.trainable_variables}
    assert trained == {"lora_kernel_a", "lora_kernel_b", "embeddings"}  # those of the whole words
    assert sum("lora" in weight.path for weight in model.trainable_variables) == 2 * 2 * (2 + 4)  # two kernels, two names, six attentions
