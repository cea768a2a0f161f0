import re
from pathlib import Path

import pytest
import yaml

from ppm_tf.config import Config, ConfigError, from_dict, load
from ppm_tf.experiments import cells_of, read_benchmark, read_sweep, trials_of
from ppm_tf.experiments.files import merged

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "configs").rglob("*.yaml"))
PLACES = {"benchmark": (read_benchmark, cells_of), "sweep": (read_sweep, trials_of)}  # files of another form


def folders_of(path):
    """The settings that the file's command leaves to the reader: `<setting>=<folder>`."""
    return re.findall(r"([\w.]+)=<folder>", path.read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_file_loads_and_says_what_it_reproduces(path):
    if path.parent.name in PLACES:
        read, spread = PLACES[path.parent.name]
        overrides = [f"{key}=folder" for key in folders_of(path)]
        configs = [one.config for one in spread(read(path, overrides))]
    else:
        configs = [load([str(path)])]
    assert configs and all(isinstance(config, Config) for config in configs)
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
    if path.parent.name in PLACES:
        values = merged(values.get("settings", {}))
        values = merged(values, dict.fromkeys(folders_of(path), "folder"))
    for place in leaves(values):
        try:
            other = from_dict(without(values, place))
        except ConfigError:
            continue  # it must be given
        assert other != from_dict(values) or place[-1] == "source", f"{path.name}: {'.'.join(place)} is the default"


def test_files_of_one_run_folder_share_their_models():
    table3, figure2 = (cells_of(read_benchmark(ROOT / "configs" / "benchmark" / f"{name}.yaml")) for name in ("ppm_table3", "ppm_figure2"))
    folders = [{(cell.config.run, cell.config.model.folder) for cell in cells} for cells in (table3, figure2)]
    assert len(folders[1]) == 6 and folders[1] < folders[0]
    cela = [
        {(cell.config.run, cell.config.model.folder) for cell in cells_of(read_benchmark(ROOT / "configs" / "benchmark" / f"cela_{name}.yaml"))}
        for name in ("table3", "figure3", "figure4", "figure5", "ppm")
    ]
    assert cela[1] < cela[0] and all(len(one & cela[0]) == 6 for one in cela[1:])


def test_there_are_files():
    assert {"synthetic.yaml", "movielens.yaml", "amazon_sports.yaml", "home_depot.yaml", "fashion_products.yaml"} <= {path.name for path in FILES}
    assert {"ppm_table2.yaml", "ppm_table3.yaml", "ppm_figure2.yaml", "movielens.yaml", "movielens_latest_small.yaml"} <= {
        path.name for path in FILES
    }
