from collections import Counter

import pytest

from ppm_tf.encoders.language_model_cleaning import LanguageModelCleaner, judge
from ppm_tf.encoders.text_cleaning import RuleCleaner, load_cleaner


class Answers:
    """A model that knows its answers: text of the item -> what it says; and what it was asked."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []

    def generate(self, prompts, max_length, strip_prompt):
        assert strip_prompt
        self.asked.append((list(prompts), max_length))
        return [next((answer for text, answer in self.answers.items() if text in prompt), "") for prompt in prompts]


# === The guard ===


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        ("Oak table. Best tables in town!", "Oak table.", "accepted"),
        ("Oak table. Best tables in town!", "oak TABLE", "accepted"),
        ("Oak table.", "", "empty"),
        ("Oak table.", " ... ", "empty"),
        ("Oak table.", "Oak table. Oak table.", "longer"),
        ("Oak table for the kitchen", "A fine oak table", "invented"),
        ("red red green blue table of oak", "red red red red red", "invented"),  # red comes twice in the text
        ("Table of oak, 80 cm wide, 120 cm long", "Table of oak, 80 cm wide, 90 cm", "invented"),
        ("a b c d e f g h i j k l", "a b c d e f g h i x", "accepted"),  # a tenth
        ("a b c d e f g h i j k l", "a b c d e f g h x", "invented"),
    ],
)  # fmt: skip
def test_the_guard(text, answer, expected):
    assert judge(text, answer) == expected


def test_a_good_answer_is_taken_and_a_bad_one_leaves_the_rules_result():
    answers = {
        "Oak table": " Oak table, 80 cm.\n\nDescription: something else",
        "Pine chair": "Pine sofa",
        "Lamp": "",
        "Kettle": "Kettle, steel, electric, kettle, steel, electric",
    }
    model = Answers(answers)
    cleaner = LanguageModelCleaner(model, RuleCleaner(["The best in town, ask us"]), batch_size=3)
    texts = ["Oak table, 80 cm. Hurry!", "<b>Pine chair</b> mail@shop.example", "", "Kettle, steel, electric", "Lamp. The best in town, ask us!"]
    assert cleaner.clean(texts) == ["Oak table, 80 cm.", "Pine chair", "", "Kettle, steel, electric", "Lamp."]
    assert cleaner.counts == Counter({"accepted": 1, "invented": 1, "empty": 1, "longer": 1, "too_long": 0})
    # The model sees what the rules left, in batches of one size, each as long as it needs.
    assert [len(prompts) for prompts, _ in model.asked] == [3, 3]
    assert all("mail@" not in prompt for prompts, _ in model.asked for prompt in prompts)
    assert {length for _, length in model.asked} == {128}


def test_texts_too_long_for_the_model_keep_the_rules_result():
    model = Answers({"Oak": "Oak"})
    cleaner = LanguageModelCleaner(model, prompt="{text} =>", max_tokens=20)
    long = "Oak " * 12 + "table"
    assert cleaner.clean([long, "Oak table"]) == [long, "Oak"]
    assert cleaner.counts["too_long"] == 1
    assert [(set(prompts), length) for prompts, length in model.asked] == [({"Oak table =>"}, 20)]


def test_a_prompt_keeps_the_braces_of_a_text():
    model = Answers({})
    LanguageModelCleaner(model, prompt="{{}} {text}", batch_size=1).clean(["a {b} {text}"])
    assert model.asked[0][0] == ["{{}} a {b} {text}"]


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match=r"prompt must hold \{text\}, where the text of an item goes. Received: 'Shorten:'"):
        LanguageModelCleaner(Answers({}), prompt="Shorten:")
    with pytest.raises(ValueError, match="must be made by from_preset to be saved. Received: a model of no preset"):
        LanguageModelCleaner(Answers({})).save(tmp_path)
    with pytest.raises(ValueError, match="text.cleaner must be a causal language model: a keras-nlp preset, or a folder .*Received: "):
        LanguageModelCleaner.from_preset(str(tmp_path))
    with pytest.raises(ValueError, match="text.cleaner must be a preset or a folder that is there. Received: .*nowhere"):
        LanguageModelCleaner.from_preset(str(tmp_path / "nowhere"))


# === A real model, of random weights ===


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    import keras
    import keras_nlp
    from keras_hub.src.tokenizers.byte_pair_tokenizer import bytes_to_unicode

    keras.utils.set_random_seed(0)
    pieces = [*bytes_to_unicode()[1], "Ġa", "<|endoftext|>"]
    tokenizer = keras_nlp.models.GPT2Tokenizer(vocabulary={piece: number for number, piece in enumerate(pieces)}, merges=["Ġ a"])
    backbone = keras_nlp.models.GPT2Backbone(len(pieces), num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=16, max_sequence_length=256)
    preprocessor = keras_nlp.models.GPT2CausalLMPreprocessor(tokenizer, sequence_length=256)
    folder = tmp_path_factory.mktemp("model") / "tiny"
    keras_nlp.models.GPT2CausalLM(backbone, preprocessor).save_to_preset(str(folder))
    return folder


def test_a_model_that_says_nothing_of_sense_changes_nothing(preset, tmp_path):
    cleaner = LanguageModelCleaner.from_preset(str(preset), RuleCleaner(), prompt="Text: {text}\nShort:", max_tokens=128, batch_size=2)
    texts = ["Oak table, 80 cm. Call 555-210-0199.", "Pine chair", "Lamp of steel"]
    assert cleaner.clean(texts) == ["Oak table, 80 cm.", "Pine chair", "Lamp of steel"]
    assert sum(cleaner.counts.values()) == 3 and not cleaner.counts["accepted"]
    cleaner.save(tmp_path / "cleaner")
    loaded = load_cleaner(tmp_path / "cleaner")
    assert (loaded.version, loaded.prompt, loaded.batch_size) == (cleaner.version, cleaner.prompt, 2)
    assert loaded.clean(texts) == cleaner.clean(texts)


def test_the_version_changes_with_settings_rules_and_weights(preset):
    first = LanguageModelCleaner.from_preset(str(preset))
    versions = [first.version, LanguageModelCleaner(first.model, preset=first.preset).version]
    assert versions[0] == versions[1] and versions[0].startswith("language_model-")
    others = [
        LanguageModelCleaner(first.model, preset=first.preset, max_invented=0.2).version,
        LanguageModelCleaner(first.model, RuleCleaner(["one sentence"]), first.preset).version,
    ]
    weights = first.model.get_weights()
    first.model.set_weights([weight + 1 for weight in weights])
    assert len({versions[0], first.version, *others}) == 4
