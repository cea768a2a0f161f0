"""Settings that cannot end well are refused before the first stage starts, through the command line and without TensorFlow."""

import re

import pytest

from pipelines import adapt, embed, evaluate, export, prepare, pretrain, sweep, train
from pipelines.benchmark.command import main as benchmark
from pipelines.stage import check_first, main
from ppm_tf.config import ConfigError, load
from ppm_tf.config.relations import ITEM_FIELDS, TASKS

MINE = ["data.source=columnar", "data.path=x", "data.items.text=[title]"]
COLUMNS = [*MINE, "data.items.image=jpeg", "data.items.fields={category: category}", "data.log.time=time"]
BOW = ["ppm.tables=[bow]"]


@pytest.mark.parametrize(
    ("stage", "arguments", "message"),
    [
        (pretrain.STAGE, ["text.dim=256"], r"Setting text: .*dim must be at most width.*Received: dim: 256, width: 128"),
        (pretrain.STAGE, ["ppm.num_heads=5"], "Setting ppm: .*num_heads must divide width. Received: num_heads: 5, width: 64"),
        (pretrain.STAGE, ["ppm.width=null", "ppm.num_heads=3"],
        "ppm.num_heads must divide the width of the transformer. Received: ppm.num_heads=3, width 128"),
        (pretrain.STAGE, ["ppm.tables=[title,title]"], "Setting ppm.tables: .*each must be named once, and title is named more often"),
        (pretrain.STAGE, ["ppm.splits=[train,train]"], "Setting ppm.splits: .*train is named more often"),
        (pretrain.STAGE, ["ppm.mlp_units=[]"], "Setting ppm.mlp_units: Tuple should have at least 1 item"),
        (pretrain.STAGE, ["data.split.valid=0"], r"ppm is chosen on the valid split. Received: data.split.valid=0"),
        (pretrain.STAGE, ["data.split.pretrain=0", "ppm.splits=[pretrain]"], r"ppm.splits=\[pretrain\] needs a pretrain split"),
        (pretrain.STAGE, [*MINE, "text.training=[adapt]"],
        r"An item must have an image for the table `image`. Received: none. Remedy: set data.items.image, or leave image out"),
        (pretrain.STAGE, ["data.source=amazon", "data.path=x", "data.reviews=a", "data.metadata=b"],
        "An item must have an image for the table `image`. Received: none"),
        (pretrain.STAGE, [*COLUMNS, "data.items.text=[]"],
        "An item must have a text for the table `title`. Received: none. Remedy: set data.items.text"),
        (pretrain.STAGE, [*COLUMNS, "text.training=[finetune]"], "text.training names finetune, which needs search queries.*data.queries=null"),
        (pretrain.STAGE, [*COLUMNS, "image.finetune.entity=brand"],
        "image.finetune.entity must be an item field of the data: category. Received: brand"),
        (pretrain.STAGE, [*COLUMNS, *BOW, "ppm.slots=5"], "ppm.slots needs a display position in the data. Received: ppm.slots=5"),
        (pretrain.STAGE, ["text.encoder=saved", "text.path=/not/there"], "text.path must be a folder that is there. Received: /not/there"),
        (pretrain.STAGE, ["image.weights=not_there.weights.h5"], r"image.weights must be a file that is there. Received: /.*/not_there.weights.h5"),
        (adapt.STAGE, ["text.encoder=bag_of_words"], "text.encoder must be small_bert or preset to be adapted. Received: bag_of_words"),
        (adapt.STAGE, ["text.adapt.valid=0.5", "text.adapt.test=0.6"], "Setting text.adapt: .*valid and test must be above 0 and together below 1"),
        (train.STAGE, ["model.tasks={buy: 1}"], r"model.tasks must name tasks of the data \(click, order, cart\). Received: {'buy': 1.0}"),
        (train.STAGE, ["model.tasks={click: 0}"], "Setting model: .*tasks must give a task a weight"),
        (train.STAGE, ["model.warm_start=/not/there"], "model.warm_start must be a folder that is there. Received: /not/there"),
        (train.STAGE, ["model.backbone={name: urm, num_heads: 5}"], "Setting model.backbone: .*num_heads must divide width"),
        (train.STAGE, ["model.ppm=none", "model.backbone={name: mian, num_heads: 3}", "model.dim=8"],
        "model.backbone.num_heads must divide the width of an item. Received: num_heads 3, width 32: 4 item fields of model.dim=8"),
        (train.STAGE, ["model.ppm=none", "model.backbone={name: unisrec, num_heads: 3}", "model.dim=8", "model.tables=[bow]", "model.fusion=adaptor"],
        "model.backbone.num_heads must divide the width of an item. Received: num_heads 3, width 8: the sum of 5 item fields of model.dim=8"),
        (train.STAGE, ["model.ppm=none", "model.backbone.name=unisrec", "model.tables=[title,bow]"],
        r"unisrec reads items by .*Received: model.tables=\[title,bow\], model.fusion=dense. Remedy: model.tables=\[title\] model.fusion=adaptor"),
        (train.STAGE, ["model.ppm=none", "model.backbone.name=unisrec", "model.fusion=adaptor"], r"unisrec reads items by .*model.tables=\[\]"),
        (train.STAGE, [*COLUMNS, "data.log.time=null", "model.ppm=none", "model.newest=0.5"],
        "model.newest needs requests with a time. Received: model.newest=0.5"),
        (train.STAGE, [*MINE, "model.ppm=none", "model.item_id=false"], "A ranking model needs at least one item field"),
        (evaluate.STAGE, ["evaluate.against=[dsin]"], "evaluate.against names dsin, and .* is not there"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_is_refused_first(tmp_path, capsys, stage, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        main(stage, [f"run={tmp_path / 'run'}", *arguments])
    assert stopped.value.code in (1, 2)
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stage", [prepare.STAGE, embed.STAGES["title"], embed.STAGES["bow"]])
def test_what_is_not_asked_for_hinders_nothing(tmp_path, stage):
    """A catalog without images is prepared, and its texts are embedded, though PPM would read images by default."""
    check_first([stage], load([f"run={tmp_path}", *MINE]))


def test_an_export_and_many_models_ask_first_too(tmp_path, capsys):
    grid = tmp_path / "grid.yaml"
    grid.write_text("settings: {model.ppm: none}\nlayout: ppm_table3\naxes: {model: {one: {}, two: {model.tasks: {buy: 1}}}}\n")
    search = tmp_path / "search.yaml"
    search.write_text("space: {model.tasks: [{click: 1}, {buy: 1}]}\n")
    for command in (
        lambda: export.main([f"run={tmp_path / 'run'}", "serve.max_candidates=5"]),
        lambda: benchmark([str(grid), f"run={tmp_path / 'run'}"]),
        lambda: sweep.main([str(search), f"run={tmp_path / 'run'}"]),
    ):
        with pytest.raises(SystemExit) as stopped:
            command()
        assert stopped.value.code == 2
        assert re.search(
            "serve.max_candidates must be at least .* Received: 5 and data.candidates=10|model.tasks must name tasks of the data",
            capsys.readouterr().err,
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["[v1]", "a*", "a?", "a\\b"])
def test_a_folder_that_reads_as_a_pattern_is_refused(tmp_path, monkeypatch, name):
    for setting in ("run", "serve.base"):
        with pytest.raises(
            ConfigError,
            match=rf"Setting {setting}: a folder of checkpoints and exports must be free of .* Remedy: choose another folder with {setting}=<folder>",
        ):
            load([f"{setting}={tmp_path / name / 'shop'}"])
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    with pytest.raises(ConfigError, match="Setting run: "):
        load([])


def test_a_server_and_a_publisher_refuse_such_a_folder_too(tmp_path, capsys):
    from serving import publish
    from serving.local import server

    for command in (lambda base: publish.main(["--base", base, "--model", "ranker", "--list"]), lambda base: server.main(["--base", base])):
        with pytest.raises(SystemExit):
            command(str(tmp_path / "[v1]"))
        assert "--base: a folder of checkpoints and exports must be free of" in capsys.readouterr().err


def test_what_the_sources_offer_is_what_they_say(tmp_path):
    from ppm_tf.data.sources import amazon
    from ppm_tf.data.sources.shop import synthetic

    for arguments, source in (
        (["data.source=synthetic"], synthetic),
        (["data.source=amazon", "data.path=x", "data.reviews=a", "data.metadata=b"], amazon),
    ):
        data = load(arguments).data
        columns = source.columns(data, tmp_path)
        assert tuple(columns.log.labels) == TASKS[data.source] and tuple(columns.items.fields) == ITEM_FIELDS[data.source]
