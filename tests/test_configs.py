from pathlib import Path

import pytest
import yaml

from ppm_tf.config import Config, load

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


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_file_holds_only_what_differs_from_the_defaults(path):
    values = yaml.safe_load(path.read_text())
    defaults = load([f"data.source={values['data']['source']}", *(f"data.{key}=x" for key in ("path", "reviews", "metadata") if key in values["data"])]).model_dump(mode="json")

    def same(given, default, place):
        for key, value in given.items():
            if isinstance(value, dict):
                same(value, default[key], f"{place}.{key}")
            else:
                assert value != default[key] or key == "source", f"{path.name}: {place}.{key} is the default"

    same(values, defaults, "")


def test_there_are_files():
    assert {"synthetic.yaml", "movielens.yaml", "amazon_sports.yaml"} <= {path.name for path in FILES}
