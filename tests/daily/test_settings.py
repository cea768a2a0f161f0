"""The settings of daily life: what is refused, by name."""

import re

import pytest

from ppm_tf.config import MODEL_BOUNDS, ConfigError, changed, load

ONE_BY_ONE = [f"gate.{name}=null" for name in MODEL_BOUNDS]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (ONE_BY_ONE, "a gate without a bound on the model would pass anything: none of min_auc, min_auc_of_slices, min_auc_change"),
        (["gate.override=because"], "override must be '<day>: <reason>', the day of the update, YYYY-MM-DD, and a reason of 15 characters or more"),
        (["gate.override='2026-11-20: short'"], "a reason of 15 characters or more"),
        (["gate.calibration=[1.1,0.9]"], "Setting gate.calibration: Value error, a band is [least, most], from 0 on and rising"),
        (["gate.slices=[all,all]"], "all is named more often"),
        (["gate.slices=[everything]"], "Setting gate.slices.0"),
        (["gate.min_acu=0.5"], "Did you mean gate.min_auc?"),
        (["update.keep_days=3"], "keep_days must be at least start_days + 2, what an update from scratch reads. Received: keep_days 3 and start"),
        (["update.held_out_hours=24"], "Setting update.held_out_hours: Input should be less than 24"),
        (["serve.url=localhost:8501"], "Setting serve.url: Value error, url must be http://host:port or https"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        load(arguments)


@pytest.mark.parametrize("kept", MODEL_BOUNDS)
def test_one_bound_on_the_model_is_enough(kept):
    value = "[0.9,1.1]" if kept.startswith("calibration") else "{click: 0.6}"
    assert load([*(one for one in ONE_BY_ONE if one != f"gate.{kept}=null"), f"gate.{kept}={value}"])


def test_what_differs_from_the_defaults():
    assert changed(load([])) == {}
    assert changed(load(["model.backbone.name=din", "gate.min_auc={click: 0.6}", "update.cadence.adapt=7"])) == {
        "model.backbone.name": "din",
        "gate.min_auc": {"click": 0.6},
        "update.cadence.adapt": 7,
    }
