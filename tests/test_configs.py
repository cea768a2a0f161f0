from pathlib import Path

import pytest
import yaml

from ppm_tf.config import Config, ConfigError, from_dict, load

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "configs").rglob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_file_loads_and_says_what_it_reproduces(path):
    config = load([str(path)])
    assert isinstance(config, Config)
    opening = path.read_text().split("\nrun:")[0]
    assert opening.startswith("# ")
    assert "Expect" in opening
    assert "python -m pipelines." in opening


def leaves(values, place=()):
    """The settings of a file, each as its path."""
    for key, value in values.items():
        yield from leaves(value, (*place, key)) if isinstance(value, dict) and value else [(*place, key)]


def without(values, place):
    """The file without one setting."""
    key, *rest = place
    return {name: value if name != key else without(value, rest) for name, value in values.items() if name != key or rest}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_file_holds_only_what_differs_from_the_defaults(path):
    values = yaml.safe_load(path.read_text())
    for place in leaves(values):
        try:
            other = from_dict(without(values, place))
        except ConfigError:
            continue  # it must be given
        assert other != from_dict(values) or place[-1] == "source", f"{path.name}: {'.'.join(place)} is the default"


def test_there_are_files():
    assert {"synthetic.yaml", "movielens.yaml", "amazon_sports.yaml", "home_depot.yaml", "fashion_products.yaml"} <= {path.name for path in FILES}
