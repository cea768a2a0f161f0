"""Benchmark files: their cells, and what is refused before anything is trained."""

import textwrap

import pytest

from ppm_tf.config import ConfigError
from ppm_tf.experiments import cells_of, read_benchmark
from ppm_tf.experiments.files import merged

TABLE2 = """
    run: runs/a
    seeds: [1, 2]
    layout: ppm_table2
    settings: {data.users: 500, model: {dim: 8}}
    axes:
      data: {Small: {model.newest: 0.5}, Large: }
      model: {DIN: {model.backbone.name: din}, URM: {model: {backbone: {name: urm, width: 32}}}}
      ppm: {without: {model.ppm: none}, with: {model.ppm: finetune}}
"""
TABLE3 = "run: runs/a\nlayout: ppm_table3\naxes:\n  model:\n"


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "table.yaml"
        path.write_text(textwrap.dedent(text))
        return path

    return write


def test_cells_are_the_product_of_the_axes_seed_by_seed(write):
    cells = cells_of(read_benchmark(write(TABLE2)))
    assert len(cells) == 2 * 2 * 2 * 2
    assert [cell.seed for cell in cells] == [1] * 8 + [2] * 8
    assert cells[3].place == {"data": "Small", "model": "URM", "ppm": "with"} and cells[3].title == "Small, URM, with, seed 1"
    config = cells[3].config
    assert (config.run, config.data.users, config.model.dim, config.model.newest, config.model.seed) == ("runs/a", 500, 8, 0.5, 1)
    assert (config.model.backbone.name, config.model.backbone.width, config.model.ppm) == ("urm", 32, "finetune")
    assert cells[12].config.model.newest == 1.0


def test_names_tell_models_apart_and_are_safe(write):
    cells = cells_of(read_benchmark(write(TABLE2)))
    names = [cell.config.model.folder for cell in cells]
    assert len(set(names)) == 16
    assert names[3].startswith("urm-finetune-s1-") and names[8].startswith("din-s2-")
    assert names[3].removeprefix("urm-finetune-s1-") == names[11].removeprefix("urm-finetune-s2-")  # a seed is no setting
    type(cells[0].config).model_validate(cells[0].config.model_dump(mode="json"))  # and is a valid model.name


def test_equal_models_have_equal_names_whatever_the_file_calls_them(write):
    one = cells_of(read_benchmark(write(TABLE3 + "    Base: {model.ppm: none}\n    URM:\n")))
    other = cells_of(read_benchmark(write(TABLE3 + "    First: {model: {ppm: none, dim: 16}}\n    Second: {model.ppm: finetune}\n")))
    assert [cell.config.model.folder for cell in one] == [cell.config.model.folder for cell in other]
    changed = cells_of(read_benchmark(write(TABLE3 + "    Base: {model.ppm: none}\n    URM:\n"), ["model.dim=32"]))
    assert not {cell.config.model.folder for cell in one} & {cell.config.model.folder for cell in changed}


def test_the_command_line_wins_over_the_file_and_cells_over_both(write):
    benchmark = read_benchmark(write(TABLE2), ["run=runs/b", "seeds=[7]", "data.users=90", "model.newest=0.9", "train.epochs=2"])
    cells = cells_of(benchmark)
    assert [cell.seed for cell in cells] == [7] * 8
    assert all((cell.config.run, cell.config.data.users, cell.config.train.epochs) == ("runs/b", 90, 2) for cell in cells)
    assert [cell.config.model.newest for cell in cells] == [0.5] * 4 + [0.9] * 4


def test_a_cell_may_have_a_run_folder_of_its_own_and_reads_the_same_data(write):
    file = write(TABLE3 + "    Base: {run: '{run}-base', text.training: [adapt]}\n    Other: {run: '{run}-small', data.users: 9}\n    URM:\n")
    base, other, urm = cells_of(read_benchmark(file, ["run=runs/b"]))
    assert (base.config.run, base.shares) == ("runs/b-base", "runs/b")
    assert (other.config.run, other.shares) == ("runs/b-small", "")
    assert (urm.config.run, urm.shares) == ("runs/b", "")


def test_a_run_folder_shares_with_one_of_its_seed_where_there_is_one(write):
    run = "run: '{run}-{seed}"
    file = write(f"seeds: [1, 2]\nsettings: {{{run}'}}\n" + TABLE3 + f"    A: {{model.ppm: none}}\n    B: {{{run}-b', text.training: [adapt]}}\n")
    found = [(cell.config.run, cell.shares) for cell in cells_of(read_benchmark(file, ["run=r"]))]
    assert found == [("r-1", ""), ("r-1-b", "r-1"), ("r-2", "r-1"), ("r-2-b", "r-2")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TABLE3 + "    Base: {model.dimm: 8}\n", r"table.yaml, cell Base: Setting model.dimm is not known. Did you mean model.dim\?"),
        (TABLE3 + "    Base: {model.backbone.name: bert}\n", r"table.yaml, cell Base: Setting model.backbone"),
        (TABLE3 + "    Base: {model.seed: 3}\n", "cell Base: model.seed must be left to the file's cells"),
        (
            TABLE3 + "    Base: {text.dim: 8}\n    URM:\n",
            (
                r"cell URM: cells of one run folder must share .* Received: other settings of text than in the cell Base of runs/a. Remedy: .*run:"
                r" '{run}-other'"
            ),
        ),
        (TABLE3 + "    Base:\nseedz: [1]\n", "table.yaml: seedz is not known. Allowed here: run, settings, seeds, axes, layout"),
        ("layout: ppm_table3\n", "table.yaml: axes must be given"),
        ("layout: table9\naxes: {model: {A: }}\n", "table.yaml: layout: Input should be 'plain', 'ppm_table2', 'ppm_table3',"),
        ("layout: ppm_table3\naxes: {models: {A: }}\n", "layout ppm_table3 must have the axes model. Received: models"),
        ("layout: ppm_table2\naxes: {data: {A: }, model: {A: }, ppm: {A: }}\n", "the axis ppm must have two names, without and with. Received: A"),
        ("axes: {model: {A: }}\nover: {model: B}\n", "over must give names of the axes model. Received: model: B"),
        ("layout: ppm_table3\naxes: {model: {}}\n", "each axis must have a name. Received: none for model"),
        (TABLE3 + "    Base:\nseeds: [1, 1]\n", r"seeds must differ. Received: \[1, 1\]"),
        ("- a\n", "must hold the keys run, settings, seeds, axes, layout, metrics, over. Received: list"),
        ("a: [\n", "table.yaml must be YAML"),
    ],
)
def test_a_wrong_file_is_refused_by_name(write, text, message):
    path = write(text)
    with pytest.raises(ConfigError, match=message):
        cells_of(read_benchmark(path), str(path))


def test_a_missing_file_and_a_wrong_argument_are_refused(write, tmp_path):
    with pytest.raises(ConfigError, match="The file must exist. Received: .*none.yaml"):
        read_benchmark(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="Arguments after the file must be key=value. Received: seeds"):
        read_benchmark(write(TABLE2), ["seeds"])


def test_settings_on_settings():
    assert merged({"a.b": 1, "a": {"c": 2}}, {"a.b": {"d": 3}}, {"e": None}) == {"a": {"b": {"d": 3}, "c": 2}, "e": None}
    first = {"a": {"b": 1}}
    merged(first, {"a.b": 2})
    assert first == {"a": {"b": 1}}
