"""Every backbone passes one battery; one that is added to `BACKBONES` is found by itself."""

import inspect
from typing import get_args

import pytest

from ppm_tf import config
from ppm_tf.backbones import BACKBONES
from tests.battery import check_backbone

SETTINGS = {settings.model_fields["name"].default: settings for settings in get_args(get_args(config.Backbone)[0])}
SMALL = {
    "mlp_units": (16, 8),
    "attention_units": (8, 4),
    "num_sessions": 3,
    "gap": 1800,
    "num_heads": 2,
    "width": 8,
    "expert_units": (8,),
    "tower_units": (4,),
    "num_experts": 2,
    "cin_units": (8, 6),
    "rank": 4,
}


@pytest.mark.parametrize("name", BACKBONES)
def test_contract(name):
    parameters = inspect.signature(BACKBONES[name].__init__).parameters
    check_backbone(BACKBONES[name], {"num_tasks": 2, **{key: value for key, value in SMALL.items() if key in parameters}})


def test_the_settings_offer_every_backbone():
    assert set(SETTINGS) == set(BACKBONES)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_constructor_takes_the_settings_of_its_section(name):
    """`build` hands the section over as keyword arguments."""
    parameters = list(inspect.signature(BACKBONES[name].__init__).parameters)
    assert parameters[:2] == ["self", "num_tasks"] and parameters[-1] == "kwargs"
    assert set(parameters[2:-1]) == set(SETTINGS[name].model_fields) - {"name"}


@pytest.mark.parametrize("name", BACKBONES)
def test_a_default_is_that_of_the_settings(name):
    parameters = inspect.signature(BACKBONES[name].__init__).parameters
    for key, field in SETTINGS[name].model_fields.items():
        if key != "name":
            assert parameters[key].default == field.default, key
