"""Hugging Face folders that can be loaded and those that cannot, by their config.json alone."""

import json

import pytest

from ppm_tf.config import load
from ppm_tf.encoders.text_backbone import load_backbone
from ppm_tf.encoders.text_cleaning import LanguageModelCleaner
from ppm_tf.encoders.text_formats import DECODERS, ENCODER_DECODERS, ENCODERS, check_presets


def folder_of(tmp_path, about):
    (tmp_path / "config.json").write_text(about if isinstance(about, str) else json.dumps(about))
    return str(tmp_path)


def test_the_models_are_those_that_keras_hub_converts():
    from keras_hub.src.utils.transformers.preset_loader import TransformersPresetLoader

    classes = {
        name: TransformersPresetLoader("", {"model_type": name}).check_backbone_class().__name__ for name in (*ENCODERS, *DECODERS, *ENCODER_DECODERS)
    }
    assert {name: classes[name] for name in ("bert", "xlm-roberta", "llama", "qwen2", "bart")} == {
        "bert": "BertBackbone", "xlm-roberta": "XLMRobertaBackbone", "llama": "Llama3Backbone", "qwen2": "QwenBackbone", "bart": "BartBackbone",
    }  # fmt: skip
    for name in ("opt", "t5"):
        with pytest.raises(ValueError, match=f"no converter.*{name}"):
            TransformersPresetLoader("", {"model_type": name})


@pytest.mark.parametrize("model", ["opt", "t5", "bart", "esm"])
def test_another_model_is_refused_by_name(tmp_path, model):
    preset = folder_of(tmp_path, {"model_type": model, "architectures": ["SomeModel"]})
    message = (
        r"text.preset must be a keras-nlp preset, or a Hugging Face folder of one of the models albert, bert, .*xlm-roberta. Received: .*, whose"
        rf" config.json says model_type '{model}'. Remedy: take one"
    )
    with pytest.raises(ValueError, match=message):
        load_backbone(preset)
    with pytest.raises(ValueError, match=message):
        check_presets(load(["text.encoder=preset", f"text.preset={preset}"]))


def test_a_cleaner_must_be_a_language_model_that_can_be_loaded(tmp_path):
    preset = folder_of(tmp_path, {"model_type": "bert"})
    message = r"text.cleaner must be .*one of the models bart, gemma, .* Received: .*, whose config.json says model_type 'bert'"
    with pytest.raises(ValueError, match=message):
        LanguageModelCleaner.from_preset(preset)
    with pytest.raises(ValueError, match=message):
        check_presets(load(["text.cleaning=language_model", f"text.cleaner={preset}"]))


@pytest.mark.parametrize(
    "about", [{"model_type": "bert"}, {"registered_name": "keras_hub>OPTBackbone", "model_type": "opt"}, {"architecture": "resnet18"}]
)
def test_what_may_load_passes(tmp_path, about):
    check_presets(load(["text.encoder=preset", f"text.preset={folder_of(tmp_path, about)}"]))
    check_presets(load(["text.encoder=preset", "text.preset=bert_tiny_en_uncased"]))


def test_a_damaged_config_is_named(tmp_path):
    with pytest.raises(ValueError, match="text.preset must be a folder whose config.json is JSON. Received: .*config.json"):
        check_presets(load(["text.encoder=preset", f"text.preset={folder_of(tmp_path, '{')}"]))
