"""Settings that do not go with a model that reads text are refused by name, with the remedy, before anything is made."""

import json
import re

import pytest

from ppm_tf.config import ConfigError, check_relations, load
from ppm_tf.text_models.presets import check_language

PTAB, P5 = ["model.backbone.name=ptab", "model.ppm=none"], ["model.backbone.name=p5", "model.ppm=none"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["model.backbone.name=ptab"],
            "backbone.name: ptab reads texts, and no ids, tables or plug-in. Received: ppm: finetune. Remedy: model.ppm=none",
        ),
        ([*P5, "model.tables=[title]"], "p5 reads texts, and no ids, tables or plug-in. Received: tables: ('title',)"),
        ([*PTAB, "model.trainable_width=8"], "Received: trainable_width: 8"),
        ([*PTAB, "model.warm_start=runs/x"], "Received: warm_start: runs/x"),
        ([*PTAB, "model.backbone.mlp_units=[8]"], "model.backbone.mlp_units is not known"),
    ],
)
def test_what_it_does_not_read_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        load(arguments)


@pytest.mark.parametrize(
    ("arguments", "artifacts", "message"),
    [
        (
            [*PTAB, "text.encoder=bag_of_words"],
            ["models/ptab"],
            "model.backbone.name=ptab needs a language model. Received: text.encoder=bag_of_words. Remedy: text.encoder=small_bert, preset or saved.",
        ),
        ([*P5, "text.encoder=saved", "text.path=x"], ["models/p5"], "Received: text.encoder=saved. Remedy: text.encoder=small_bert, preset."),
        ([*PTAB, "text.encoder=saved", "text.path=nowhere"], ["models/ptab"], "text.path must be a folder that is there"),
        (
            [*PTAB, "data.source=columnar", "data.path=x", "data.items={id: i, text: []}", "data.log={user: u, item: i, time: t}"],
            ["models/ptab"],
            "model.backbone.name=ptab reads the texts of the items. Received: data.items.text=[]. Remedy: set data.items.text",
        ),
        (PTAB, ["models/ptab", "encoders/aligned"], "encoders/aligned needs a ranking model with ids. Received: model.backbone.name=ptab"),
    ],
)
def test_relations(arguments, artifacts, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_relations(load(arguments), artifacts, artifacts)


def test_settings_that_go_together_pass():
    for arguments in (PTAB, P5, ["model.backbone.name=ctr_bert", "model.ppm=none"]):
        config = load(arguments)
        check_relations(config, [f"models/{config.model.folder}"])
        assert config.model.reads_text and config.model.folder == config.model.backbone.name


def test_the_rate_is_that_of_the_language_model():
    assert load([]).ranking_fit == load([]).model.train
    for arguments, rate in (
        (PTAB, 1e-3),
        ([*PTAB, "text.encoder=preset", "text.preset=x"], 5e-5),
        ([*PTAB, "model.backbone.learning_rate=2e-4"], 2e-4),
    ):
        fit = load(arguments).ranking_fit
        assert (fit.learning_rate, fit.final_learning_rate) == (rate, pytest.approx(rate / 20))


def test_no_more_is_scored_at_once_than_was_trained_on():
    assert load([*PTAB, "model.train.batch_size=16"]).scored_together == 16
    assert load(["model.train.batch_size=16"]).scored_together == load([]).evaluate.batch_size


@pytest.mark.parametrize("kind", ["t5", "opt"])
def test_a_hugging_face_t5_is_refused_with_the_remedy(tmp_path, kind):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    given = ["text.encoder=preset", f"text.preset={tmp_path}"]
    with pytest.raises(ValueError, match=f"Hugging Face folder of model_type '{kind}'; keras-hub 0.32 has no converter for T5, nor for OPT. Remedy"):
        check_language(load([*P5, *given]))
    with pytest.raises(ValueError, match=f"says model_type '{kind}'"):
        check_language(load([*PTAB, *given]))


def test_an_export_is_refused(capsys):
    from pipelines import export

    with pytest.raises(SystemExit) as stopped:
        export.main(PTAB)
    assert stopped.value.code == 2
    assert "model.backbone.name=ptab, which reads texts in the request and cannot be served by id" in capsys.readouterr().err


def test_there_are_no_ids_to_align_with():
    from ppm_tf.models.build import build_ranking_model

    with pytest.raises(ValueError, match="must have one of the backbones wide_deep, .* Received: ptab, which reads texts and has no ids"):
        build_ranking_model(load(PTAB), None, None, {}, None)
