"""Where a training stands, told from its log: by hand, and of two toys that are trained."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ppm_tf import training
from ppm_tf.config import TrainSettings, from_dict, places_of
from ppm_tf.metrics import auc, log_loss
from ppm_tf.metrics.standing import standing_of


def looks(*figures, **losses):
    lines = [{"step": 10 * place, "loss": 0.5} for place in range(1, len(figures) + 1)]
    for line, figure in zip(lines, figures, strict=True):
        line["valid_auc"] = figure
    for name, values in losses.items():
        for line, value in zip(lines, values, strict=True):
            line[f"valid_{name}"] = value
    return lines


@pytest.mark.parametrize(
    ("log", "state", "gained"),
    [
        (looks(0.60, 0.65, 0.68, 0.70), "rising", 0.02),
        (looks(0.60, 0.69, 0.6998, 0.7), "done", 0.0002),
        (looks(0.60, 0.70, 0.69, 0.68), "done", -0.01),  # the weights of the second look are kept
        (looks(0.60, 0.65, 0.66, 0.67, 0.68, 0.69, 0.70, 0.705), "rising", 0.015),  # over the last two of eight looks
        (looks(0.60), "unknown", None),
        ([{"step": 1, "loss": 0.3}], "unknown", None),
    ],
)
def test_the_state_and_what_the_last_quarter_brought(log, state, gained):
    found = standing_of(log)
    assert found.state == state
    assert found.gained == pytest.approx(gained) if gained is not None else np.isnan(found.gained)


def test_a_loss_that_rose_under_a_rising_criterion_is_overfitting():
    found = standing_of(looks(0.60, 0.65, 0.66, 0.67, log_loss_click=(0.55, 0.50, 0.52, 0.56), log_loss_order=(0.2, 0.2, 0.2, 0.2)))
    assert (found.state, found.loss, found.mark) == ("overfit", "log_loss_click", "↓") and found.risen == pytest.approx(0.12)
    assert (
        "validation log_loss_click of the weights kept lies 12.0% above its lowest, though auc chose them. Remedy: lower model.train.epochs"
        in found.line("auc", "model.train")
    )
    early = standing_of(looks(0.60, 0.65, 0.64, 0.63, log_loss=(0.55, 0.50, 0.52, 0.56)))
    assert (early.state, early.risen) == ("done", 0.0)  # the weights of the lowest loss were kept


def test_a_smaller_criterion_may_be_the_better_one():
    falling = [{"step": step, "valid_loss": loss} for step, loss in ((10, 0.9), (20, 0.6), (30, 0.5), (40, 0.45))]
    found = standing_of(falling, "loss", minimize=True)
    assert (found.state, found.mark) == ("rising", "↑") and found.gained == pytest.approx(0.05)
    assert "raise text.adapt.epochs" in found.line("loss", "text.adapt")
    assert standing_of([*falling, {"step": 50, "valid_loss": 0.45}], "loss", minimize=True).state == "done"


def test_a_remedy_names_the_setting_that_is_read():
    """A model that reads text has its learning rate elsewhere, and masked prompts have most of theirs with the encoders."""
    past = standing_of(looks(0.60, 0.65, 0.66, 0.67, log_loss=(0.5, 0.5, 0.52, 0.56)))
    rising, unknown = standing_of(looks(0.60, 0.65, 0.68, 0.70)), standing_of(looks(0.60))

    def remedies(places):
        return [one.line("auc", places).partition("Remedy: ")[2] for one in (past, rising, unknown)]

    epochs = "raise model.train.epochs (or model.train.max_step, where that ended it)"
    for name, rate in (("din", "model.train"), ("ctr_bert", "model.backbone"), ("p5", "model.backbone"), ("ptab", "model.backbone")):
        config = from_dict({"model": {"backbone": {"name": name}, "ppm": "none"}})
        assert remedies(config.ranking_places) == [
            f"lower model.train.epochs or {rate}.learning_rate, or regularise", epochs, "lower model.train.validate_every"
        ]  # fmt: skip
    masked = remedies(places_of(config, "model.backbone.mlm", "text.adapt"))
    assert masked[0].startswith("lower model.backbone.mlm.epochs or text.adapt.learning_rate, or")
    assert masked[1:] == ["raise model.backbone.mlm.epochs (or model.backbone.mlm.max_step, where that ended it)", "lower text.adapt.validate_every"]
    with pytest.raises(KeyError, match="None of model.backbone, model.train has a setting momentum"):
        config.ranking_places("momentum")


def test_a_held_rate_is_judged_before_it_fell():
    """The fall always brings something; whether more passes would, the looks before it say."""
    bound, patience = {"step": 40, "falls": "bound"}, {"step": 40, "falls": "patience", "left": [[50, 0.6]]}
    after = {"step": 50, "valid_auc": 0.69}
    assert standing_of([*looks(0.60, 0.65, 0.66, 0.6601), bound, after]).state == "done"
    assert standing_of([*looks(0.60, 0.65, 0.66, 0.67), bound, after]).state == "rising"
    assert standing_of([*looks(0.60, 0.65, 0.66, 0.67), patience, after]).state == "done"
    assert standing_of([*looks(0.60, 0.65, 0.66, 0.67), bound, {"step": 80, "falls": "bound"}, after]).state == "rising"  # the later fall counts


# --- two toys


def train(folder, features, labels, held_out, rate, epochs, start):
    """A logistic regression over `features`, judged on `held_out` after each tenth of the training."""
    keras.utils.set_random_seed(0)

    class Linear(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1, kernel_initializer=start)
            self.dense.build((None, features.shape[1]))
            self.built = True

        def call(self, batch, training=False):
            return self.dense(batch["x"])

    def loss(batch, logits):
        return tf.reduce_mean(keras.losses.binary_crossentropy(batch["y"], logits, from_logits=True))

    def validate(model):
        x, y = held_out
        scores = 1 / (1 + np.exp(-model({"x": tf.constant(x)}).numpy().ravel()))
        return {"auc": float(auc(y, scores)), "log_loss": float(log_loss(y, scores))}

    data = tf.data.Dataset.from_tensors({"x": features, "y": labels[:, None].astype("float32")}).repeat(epochs)
    settings = TrainSettings(
        batch_size=len(features), epochs=epochs, learning_rate=rate, final_learning_rate=rate, steps_per_loop=epochs // 10,
        validate_every=epochs // 10, patience=100, clip_norm=None,
    )  # fmt: skip
    result = training.fit(
        Linear(), loss, data, len(features), validate, settings, folder, weight=lambda batch: tf.constant(1.0),
        identify=lambda batch, outputs: tf.range(1), section="model.train",
    )  # fmt: skip
    return result, training.read_log(folder / training.LOG)[-1]


def toy(rows, noise, seed=0):
    """Ten columns, of which the first tells the label: exactly, or with noise."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 10)).astype("float32")
    return x, (random.random(rows) < 1 / (1 + np.exp(-np.clip(x[:, 0] / max(noise, 1e-3), -50, 50)))).astype(int)


def test_a_training_that_is_stopped_early_is_marked(tmp_path, caplog):
    """From weights that lead astray, in steps too small to get far."""
    caplog.set_level("INFO")
    result, last = train(tmp_path, *toy(400, 1.0), toy(2000, 1.0, seed=1), rate=0.02, epochs=20, start="random_normal")
    assert (
        result.standing.state == last["standing"] == "rising" and result.standing.gained == pytest.approx(last["gained"]) and last["gained"] > 0.001
    )
    assert "train is not done: validation auc was best at the last look" in caplog.text and "raise model.train.epochs" in caplog.text


def test_a_training_that_overfits_is_marked(tmp_path, caplog):
    """Labels that the training rows give away, and that are noisy elsewhere: it grows ever surer, and its order ever a little better."""
    caplog.set_level("INFO")
    result, last = train(tmp_path, *toy(400, 0.0), toy(4000, 1.0, seed=1), rate=0.05, epochs=200, start="zeros")
    assert result.standing.state == last["standing"] == "overfit" and result.standing.risen == pytest.approx(last["risen"]) and last["risen"] > 0.05
    assert "train is past its best: validation log_loss of the weights kept lies" in caplog.text
