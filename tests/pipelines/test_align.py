"""ROMA, its table and the alternation, on a small shop, through the command line."""

import json
import shutil

import numpy as np
import pytest

from pipelines import alternate, evaluate, export
from pipelines.align import encoder as align
from pipelines.stage import main
from ppm_tf.config import load
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.holdout import TRAIN
from ppm_tf.data.tables import read_table
from ppm_tf.encoders.saved import describe_encoder, load_encoder
from ppm_tf.evaluation import read_metrics
from ppm_tf.rows import FIRST_ROW
from ppm_tf.workspace import Workspace
from tests.pipelines.small_shop import SETTINGS, copy_shop

RANKER = ["model.backbone={name: din, mlp_units: [32, 16], attention_units: [16]}", "model.train.batch_size=64", "model.train.learning_rate=3e-3"]
ALIGN = [
    "text.align.splits=[train]",
    "text.align.batch_size=32",
    "text.align.epochs=12",
    "text.align.learning_rate=1e-3",
    "text.align.valid=0.1",
    "text.align.test=0.2",
    "evaluate.bootstrap=20",
]


@pytest.fixture(scope="module")
def shop(small_shop, tmp_path_factory):
    """The shop with a ranker of ids, the aligned encoder, its table, and a ranker that reads it; in a folder of its own."""
    workspace = Workspace(tmp_path_factory.mktemp("align") / "shop")
    copy_shop(small_shop, workspace)
    main(align.STAGE, arguments(workspace))
    main(evaluate.STAGE, arguments(workspace, "model.ppm=none", "model.tables=[aligned]", "model.fusion=mlp", "model.similarity_bins=8"))
    return workspace


def arguments(workspace, *more):
    return [f"run={workspace.folder}", *SETTINGS, *RANKER, *ALIGN, *more]


def test_held_out_texts_find_their_own_ids_more_often_than_by_chance(shop):
    found = {(one.model, one.metric): one for one in read_metrics(shop.path("encoders/aligned") / "metrics.jsonl")}
    assert found["after", "mrr_at_100"].value > 2 * found["chance", "mrr_at_100"].value
    assert found["after", "loss"].value < found["before", "loss"].value
    assert found["chance", "recall_at_10"].value == pytest.approx(10 / found["after", "loss"].count)
    assert shop.made_by("encoders/aligned")["parents"].keys() == {"data", "encoders/text", "models/din"}


def test_what_it_cost_lies_in_the_encoder_and_in_the_table(shop):
    """Seconds, and the items that were stepped through: those of the aligned, which are encoded once for the table."""
    summary, table = (json.loads((shop.path(name) / "summary.json").read_text()) for name in ("encoders/aligned", "tables/aligned"))
    assert summary["examples"] == 32 * summary["steps"] and summary["seconds"] > 0 and summary["id_table_weights"] == 0
    backbone = load_encoder(shop.path("encoders/aligned")).backbone
    assert summary["language_weights"] == sum(np.prod(weight.shape) for weight in backbone.trainable_weights) < summary["trainable_weights"]
    with_text = sum(bool(text) for text in ItemCatalog.read(shop.path("data") / "catalog").text)
    assert table["examples"] == with_text and table["seconds"] > 0


def test_a_row_of_the_table_is_the_vector_that_the_alignment_saw(shop):
    """One tokenizer, one pooling: what ROMA's forward pass gives is what serving looks up."""
    from ppm_tf.objectives.domain_adaptation import text_batches

    catalog = ItemCatalog.read(shop.path("data") / "catalog")
    table, encoder = read_table(shop.path("tables/aligned"), catalog), load_encoder(shop.path("encoders/aligned"))
    places = np.flatnonzero([bool(text) for text in catalog.text])[:50]
    batches = text_batches(encoder, [catalog.text[place] for place in places], places + FIRST_ROW, 32, None, 0)
    seen = np.concatenate([encoder(batch["tokens"], training=False).numpy() for batch in batches])
    np.testing.assert_allclose(table.vectors[places + FIRST_ROW].astype("float32"), seen, rtol=1e-3, atol=2e-3)  # kept as halves
    assert table.encoder_version == encoder.version != describe_encoder(shop.path("encoders/text"))["version"]


def test_the_targets_are_the_rankers_id_embeddings_and_nothing_of_its_tables(shop):
    import h5py

    catalog = ItemCatalog.read(shop.path("data") / "catalog")
    ids, counts, own = align.id_vectors(shop.path("models/din"), catalog)
    with_table, _, _ = align.id_vectors(shop.path("models/din-aligned"), catalog)
    assert ids.shape == with_table.shape == (catalog.num_rows, 4 * 16)  # item id, brand, category, shop
    assert not np.allclose(ids[FIRST_ROW:], with_table[FIRST_ROW:]) and counts.sum() > 0 and 0 < own.sum() < len(own)
    with h5py.File(shop.path("models/din") / "ranking.weights.h5") as file:
        arrays = []
        file.visititems(lambda name, item: arrays.append(item[()]) if isinstance(item, h5py.Dataset) and item.ndim == 2 else None)
    some = ids[FIRST_ROW + np.flatnonzero(own)[0]][:16]
    assert any(array.shape[1] == 16 and (array == some).all(axis=1).any() for array in arrays)


def test_a_ranker_reads_the_table_under_a_name_of_its_own(shop):
    report = {(one.model, one.task, one.slice, one.metric): one.value for one in read_metrics(shop.path("reports/din-aligned") / "metrics.jsonl")}
    assert 0.5 < report["din-aligned", "click", "all", "auc"] < 1
    assert json.loads((shop.path("models/din-aligned") / "made_of.json").read_text())["tables"].keys() == {"aligned"}


def test_a_head_that_is_kept_is_part_of_the_encoder(shop, tmp_path):
    copy = Workspace(tmp_path / "shop")
    shutil.copytree(shop.folder, copy.folder)
    main(align.STAGE, arguments(copy, "text.align.keep_head=true", "text.align.epochs=1"))
    assert describe_encoder(copy.path("encoders/aligned"))["dim"] == 4 * 16
    encoder = load_encoder(copy.path("encoders/aligned"))
    assert encoder.encode(["a red shoe"]).shape == (1, 64)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["text.encoder=bag_of_words"], "text.encoder must be a language model to be aligned. Received: bag_of_words"),
        (["text.align.batch_size=5000"], r"must fill a batch, .*text.align.batch_size=5000. Remedy: lower text.align.batch_size"),
        (["text.align.ranker=/nowhere/models/din"], "text.align.ranker must be the folder of a trained ranking model. Received: /nowhere/models/din"),
        (["text.align.head=relu_layernorm", "text.align.keep_head=true"], "keep_head needs head: linear"),
    ],
)
def test_what_cannot_be_aligned_is_refused_by_name(shop, tmp_path, capsys, more, message):
    import re

    before = shop.id("encoders/aligned")
    with pytest.raises(SystemExit):
        main(align.STAGE, arguments(shop, *more))
    assert re.search(message, capsys.readouterr().err)
    assert shop.id("encoders/aligned") == before


def test_a_ranker_of_another_catalog_or_without_ids_is_refused(shop, tmp_path, capsys):
    catalog = ItemCatalog.read(shop.path("data") / "catalog")

    class Fewer:
        ids, num_rows = catalog.ids[:-1], catalog.num_rows - 1

    with pytest.raises(ValueError, match=r"of the catalog whose texts are aligned. Received: .*models/din, of 300 items, and 299 items here"):
        align.id_vectors(shop.path("models/din"), Fewer)
    away = tmp_path / "models" / "din"
    shutil.copytree(shop.path("models/din"), away)
    with pytest.raises(ValueError, match=r"must lie in its run folder, beside what it was trained on. Received: .*, and no data in"):
        align.id_vectors(away, catalog)


# Two rounds of short trainings: what they leave is looked at, not how well they rank.
ROUNDS = ["rounds=2", "model.train.max_step=12", "text.align.max_step=12", "evaluate.bootstrap=0", "evaluate.baselines=false"]


@pytest.fixture(scope="module")
def rounds(small_shop, tmp_path_factory):
    """Two rounds without a break."""
    workspace = Workspace(tmp_path_factory.mktemp("rounds") / "shop")
    copy_shop(small_shop, workspace)
    alternate.main([*arguments(workspace), *ROUNDS])
    return workspace


def figures(workspace):
    lines = [json.loads(line) for line in (workspace.path("reports/alternate") / "rounds.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "model"} for line in lines]


def test_every_round_has_artifacts_of_its_own_and_a_row(rounds):
    found = figures(rounds)
    assert [one["round"] for one in found] == [0, 1, 2]
    for number in (1, 2):
        its = Workspace(rounds.folder / "rounds" / str(number))
        assert all(its.exists(name) for name in ("encoders/aligned", "tables/aligned", "models/din-aligned", "reports/din-aligned"))
        assert its.path("data").is_symlink() and its.path("encoders/text").is_symlink()
        assert 0 < found[number]["neighbors_changed"] < 1 and 0 <= found[number]["recall_at_1"] <= found[number]["recall_at_10"] <= 1
    versions = [describe_encoder(rounds.folder / "rounds" / number / "encoders/aligned")["version"] for number in ("1", "2")]
    assert versions[0] != versions[1]
    table = (rounds.path("reports/alternate") / "table.md").read_text()
    assert "| ids alone |" in table and table.count("\n") == 5
    assert (rounds.path("reports/alternate") / "rounds.png").stat().st_size > 10_000


def test_broken_off_in_a_round_the_same_command_ends_alike(small_shop, rounds, tmp_path):
    workspace = Workspace(tmp_path / "shop")
    copy_shop(small_shop, workspace)
    real = evaluate.STAGE.run

    def broken(config, its, recipe):
        if its.folder.name == "1":
            raise ValueError("broken off")
        real(config, its, recipe)

    object.__setattr__(evaluate.STAGE, "run", broken)
    try:
        with pytest.raises(SystemExit):
            alternate.main([*arguments(workspace), *ROUNDS, "rounds=1"])
    finally:
        object.__setattr__(evaluate.STAGE, "run", real)
    assert len(figures(workspace)) == 1
    alternate.main([*arguments(workspace), *ROUNDS, "rounds=1"])
    assert figures(workspace) == figures(rounds)[:2]


def test_rounds_set_their_own_start_and_names(shop, capsys):
    for more, message in (
        (["model.name=mine"], "model.name is set by the rounds themselves"),
        (["model.tables=[]"], "must name aligned, which the rounds are about"),
        (["rounds=0"], "rounds"),
    ):
        with pytest.raises(SystemExit) as stopped:
            alternate.main(arguments(shop, *more))
        assert stopped.value.code == 2 and message in capsys.readouterr().err


def test_a_ranker_of_aligned_texts_is_exported_and_scores_as_the_trainer(shop, tmp_path):
    """`export` publishes nothing whose answers differ from the trainer's by more than 1e-5; what it found is in export.json."""
    cela = ["model.ppm=none", "model.tables=[aligned]", "model.fusion=mlp", "model.similarity_bins=8"]
    export.main(arguments(shop, *cela, f"serve.base={tmp_path / 'served'}"))
    about = next((tmp_path / "served").glob("*/1/assets.extra/export.json"))
    assert json.loads(about.read_text())["verified"]["difference"] <= 1e-5


def test_the_tables_of_the_ablation_hold_the_ids_and_the_vectors_trained_towards_them(shop):
    from pipelines import embed
    from pipelines.align.tables import STAGES

    arguments_ = arguments(shop)
    for stage in STAGES.values():
        main(stage, arguments_)
    catalog = ItemCatalog.read(shop.path("data") / "catalog")
    vectors, _, own = align.id_vectors(shop.path("models/din"), catalog)
    ids, title, moved = (read_table(shop.path(f"tables/{name}"), catalog) for name in ("ids", "title", "aligned_vectors"))
    assert ids.present[FIRST_ROW:].tolist() == own.tolist()
    np.testing.assert_allclose(ids.vectors[ids.present], vectors[FIRST_ROW:][own], atol=1e-3)
    assert not ids.vectors[~ids.present].any()
    changed = (moved.vectors != title.vectors).any(axis=1)
    trained = align.aligned_items(load(arguments_), shop).parts[TRAIN] + FIRST_ROW
    assert 0 < changed.sum() and set(np.flatnonzero(changed)) <= set(trained)  # none that was held out
    assert moved.encoder_version.startswith("aligned_vectors-") and moved.present.tolist() == title.present.tolist()
    wanted = arguments(shop, "model.ppm=none", "model.tables=[ids,aligned_vectors]", "model.trainable_width=16")
    main(evaluate.STAGE, wanted)
    made_of = json.loads((shop.path("models/din-ids-aligned_vectors-scaled") / "made_of.json").read_text())
    assert made_of["tables"] == {"ids": ids.encoder_version, "aligned_vectors": moved.encoder_version}
    assert embed.version_of("ids", load(wanted), shop) == ids.encoder_version
    assert embed.version_of("aligned_vectors", load([*wanted, "text.align.epochs=1"]), shop) == "aligned_vectors yet to be made"


def test_a_ranker_of_another_backbone_takes_no_texts_aligned_with_this_ones_ids(shop, capsys):
    others = [f"run={shop.folder}", *SETTINGS, *ALIGN, "model.backbone={name: deepfm, mlp_units: [8]}"]
    with pytest.raises(SystemExit):
        main(evaluate.STAGE, [*others, "model.ppm=none", "model.tables=[aligned]"])
    assert "encoders/aligned was made otherwise: text.align.backbone was din, and deepfm is asked for now" in capsys.readouterr().err


def test_ids_are_learnt_from_other_labels_than_those_of_the_model_that_reads_the_texts():
    given = ["model.backbone.name=din", "model.ppm=none", "model.tables=[aligned]"]
    shop, split, one = (load([*given, *more]) for more in ([], ["text.align.splits=[pretrain,train]"], ["data.split.pretrain=0"]))
    assert [(align.ids_of(config).model.splits, align.ids_of(config).model.folder) for config in (shop, split, one)] == [
        (("pretrain",), "din-pretrain"), (("pretrain", "train"), "din-pretrain-train"), (("train",), "din"),
    ]  # fmt: skip
    assert align.settings(shop) != align.settings(split) and shop.model.splits == ("train",)


def test_rounds_start_from_nothing_or_from_the_ids_of_the_round_before():
    given = ["run=r", "model={backbone: {name: din}, ppm: none, tables: [aligned]}"]
    anew, warm = (alternate.config_of(load([*given, f"model.warm_start_part={part}"]), 2) for part in ("all", "ids"))
    assert anew.model.warm_start is None and warm.model.warm_start == "r/rounds/1/models/din-aligned"
    assert anew.text.align.ranker == "r/rounds/1/models/din-aligned-pretrain"  # which learnt from other labels than the one that is scored
    assert alternate.config_of(load([*given, "text.align.splits=[train]"]), 2).text.align.ranker == "r/rounds/1/models/din-aligned"
    assert alternate.config_of(load([*given, "model.warm_start_part=ids"]), 1).model.warm_start == "r/models/din"
    assert alternate.config_of(load([*given, "model.warm_start_part=ids"]), 0).model.warm_start is None
