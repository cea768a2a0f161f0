"""From a pre-trained PPM to ranking models, their scores and their reports, on a small shop, through the command line."""

import json
import re
import shutil

import numpy as np
import pytest

from pipelines import evaluate, export, pretrain, train
from pipelines.stage import main
from ppm_tf.data.manifest import Manifest
from ppm_tf.evaluation import load_scores, read_metrics
from ppm_tf.workspace import Workspace
from tests.pipelines.small_shop import SETTINGS

TRAIN = ["model.train.batch_size=64", "model.train.learning_rate=3e-3", "model.train.epochs=2", "model.train.validate_every=50"]
URM = ["model.backbone={name: urm, width: 32, num_heads: 2, num_encoder_layers: 1, num_decoder_layers: 1, expert_units: [32], tower_units: [16]}"]
DIN = ["model.backbone={name: din, mlp_units: [32, 16], attention_units: [16]}"]


def arguments(shop, *more):
    return [f"run={shop.folder}", *SETTINGS, *TRAIN, *more]


@pytest.fixture(scope="module")
def shop(small_shop):
    """The shop with DIN alone, and URM with PPM, compared."""
    main(evaluate.STAGE, arguments(small_shop, *DIN, "model.ppm=none"))
    main(evaluate.STAGE, arguments(small_shop, *URM, "evaluate.against=[din]"))
    return small_shop


def figures(shop, model):
    return {
        (record.model, record.task, record.slice, record.metric): record for record in read_metrics(shop.path(f"reports/{model}") / "metrics.jsonl")
    }


def test_the_model_is_whole(shop):
    folder = shop.path("models/urm-finetune")
    assert {"ranking.weights.h5", "items.npz", "users.npz", "counts.npz", "schema.json", "summary.json", "train.jsonl", "made_by.yaml"} <= {
        path.name for path in folder.iterdir()
    }
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["examples"] == 64 * summary["steps"] and 0 < summary["id_table_weights"] < summary["trainable_weights"] and summary["seconds"] > 0
    assert summary["backbone"] == "urm" and summary["ppm"] == "finetune" and 0.5 < summary["valid_auc"] < 1
    assert summary["requests"] == Manifest.read(shop.path("data") / "samples" / "train").records
    assert not [path.name for path in (shop.folder / ".state").iterdir() if not path.name.startswith(("lock-", "replaced-"))]


def test_the_report_has_every_task_metric_and_slice(shop):
    found = figures(shop, "urm-finetune")
    for task in ("click", "order", "cart", "mean"):
        for metric in ("auc", "precision_at_2"):
            assert ("urm-finetune", task, "all", metric) in found
    for metric in ("group_auc", "log_loss", "calibration", "ece", "ndcg", "mrr"):
        assert ("urm-finetune", "order", "all", metric) in found
    for piece in ("train_frequency=0", "history=0", "user_frequency=0"):
        assert ("urm-finetune", "click", piece, "auc") in found
    test = Manifest.read(shop.path("data") / "samples" / "test")
    for family in ("train_frequency=", "history=", "user_frequency="):
        counts = [
            one.count
            for (model, task, piece, metric), one in found.items()
            if (model, task, metric) == ("urm-finetune", "click", "auc") and piece.startswith(family)
        ]
        assert sum(counts) == test.candidates


def test_the_ranker_learns_and_ppm_helps_it(shop):
    found = figures(shop, "urm-finetune")
    auc = {model: found[model, "mean", "all", "auc"].value for model in ("urm-finetune", "din", "item_mean", "bayes")}
    assert 0.53 < auc["urm-finetune"] < auc["bayes"]
    gain = found["urm-finetune", "mean", "all", "auc_gain_over_din"]
    assert gain.value == pytest.approx(auc["urm-finetune"] - auc["din"], abs=1e-6)
    assert gain.low < gain.value < gain.high
    never_seen = found["urm-finetune", "click", "train_frequency=0", "auc_gain_over_item_mean"]
    assert never_seen.value > 0


def test_the_scores_are_kept_a_candidate(shop):
    one, other = (load_scores(shop.path(f"reports/{name}") / "scores.npz") for name in ("urm-finetune", "din"))
    assert one.tasks == ("click", "order", "cart") and one.scores.shape == one.labels.shape
    assert np.isfinite(one.scores).all() and one.scores.min() > 0 and one.scores.max() < 1
    np.testing.assert_array_equal(one.item_row, other.item_row)
    assert one.history.max() == 10


def test_the_scores_are_joined_to_the_log_by_raw_ids(shop):
    """With `numpy.load` alone: each candidate is a row of the log, of the same user, item and time, with the same labels."""
    import pyarrow.parquet

    columns = np.load(shop.path("reports/din") / "scores.npz")
    log = pyarrow.parquet.read_table(shop.path("raw") / "interactions.parquet")
    names = ("user_id", "item_id", "time", "click", "order", "cart")
    of_log = {(user, item, time): labels for user, item, time, *labels in zip(*(log[name].to_pylist() for name in names), strict=True)}
    rows = list(zip(*(columns[name].tolist() for name in ("user", "item_id", "time")), strict=True))
    assert len(rows) > 1000 and [of_log.get(row) for row in rows] == columns["labels"].tolist()


def test_a_second_run_trains_nothing(shop, capsys):
    weights = shop.path("models/urm-finetune") / "ranking.weights.h5"
    before = weights.stat().st_mtime_ns
    main(train.STAGE, arguments(shop, *URM))
    assert weights.stat().st_mtime_ns == before
    assert "urm-finetune: validation AUC 0." in capsys.readouterr().out


def test_it_goes_on_from_an_earlier_model(shop, tmp_path, caplog):
    caplog.set_level("INFO")
    start = tmp_path / "[v*1]" / "din"  # only read, and by no pattern
    shutil.copytree(shop.path("models/din"), start)
    main(
        train.STAGE,
        arguments(
            shop,
            *DIN,
            "model.ppm=none",
            f"model.warm_start={start}",
            "model.name=din-later",
            "model.train.max_step=1",
            "model.train.learning_rate=1e-9",
            "model.train.final_learning_rate=1e-9",
        ),
    )
    earlier, later = (json.loads((shop.path(f"models/{name}") / "summary.json").read_text())["valid_auc"] for name in ("din", "din-later"))
    assert later == pytest.approx(earlier, abs=1e-4)  # one step of running statistics
    assert "0 embedding rows are new" in caplog.text


def test_the_newest_share_of_the_data(shop):
    main(train.STAGE, arguments(shop, *DIN, "model.ppm=none", "model.name=half", "model.newest=0.5", "model.train.max_step=2"))
    half, all_of_it = (json.loads((shop.path(f"models/{name}") / "summary.json").read_text())["requests"] for name in ("half", "din"))
    assert half == pytest.approx(all_of_it / 2, rel=0.02)


@pytest.fixture
def one_class(small_shop, tmp_path):
    """The shop with a valid split without clicks and orders, as far as its statistics say."""
    folder = tmp_path / "shop"
    for name in ("data", "encoders", "tables", "ppm"):
        shutil.copytree(small_shop.path(name), folder / name)
    path = folder / "data" / "statistics.json"
    statistics = json.loads(path.read_text())
    statistics["splits"]["valid"]["positives"] |= {"click": 0, "order": 0}
    path.write_text(json.dumps(statistics))
    return Workspace(folder)


def test_a_valid_split_of_one_class_is_refused_before_the_training(one_class, capsys):
    message = (
        r"The valid split must hold both positives and negatives.* Received: click with 0 positives and \d+ negatives.*, in \d+ requests\. Remedy:"
        r" raise data\.split\.valid"
    )
    for stage, more in ((pretrain.STAGE, ["train.learning_rate=1e-3"]), (train.STAGE, [*DIN, "model.ppm=none", "model.tasks={click: 1, order: 1}"])):
        with pytest.raises(SystemExit) as stopped:
            main(stage, arguments(one_class, *more))
        assert stopped.value.code == 1
        assert re.search(message, capsys.readouterr().err)
    assert not one_class.exists("models/din") and not list((one_class.folder / ".state").glob("work-*"))


def test_a_task_of_one_class_in_the_valid_split_is_said_and_the_others_choose(one_class, caplog):
    caplog.set_level("INFO")
    main(train.STAGE, arguments(one_class, *DIN, "model.ppm=none", "model.train.max_step=1"))
    assert (
        "the valid split has labels of one kind only for click, order: the mean AUC that chooses the weights is over the other tasks" in caplog.text
    )


def test_a_shard_that_is_damaged_behind_a_check_of_sizes_is_named_in_training_and_scoring(small_shop, tmp_path, capsys):
    for name in ("data", "encoders", "tables", "ppm"):
        shutil.copytree(small_shop.path(name), tmp_path / "shop" / name)
    run = [*arguments(Workspace(tmp_path / "shop")), *DIN, "model.ppm=none", "model.train.verify=size", "train.verify=size", "model.train.max_step=1"]
    main(train.STAGE, run)
    for split, stage, more in (("test", evaluate.STAGE, []), ("valid", train.STAGE, ["model.name=other"]), ("pretrain", pretrain.STAGE, [])):
        shard = next((tmp_path / "shop" / "data" / "samples" / split).glob("part-*"))
        content = bytearray(shard.read_bytes())
        content[len(content) // 2] ^= 0xFF
        shard.write_bytes(content)
        with pytest.raises(SystemExit) as stopped:
            main(stage, [*run, *more])
        assert stopped.value.code == 1
        assert f"A shard must be as it was written. Received: {shard}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["model.tasks={buy: 1}", "model.name=other"], r"model.tasks must name tasks of the data \(click, order, cart\).* Received: {'buy': 1.0}"),
        (["evaluate.against=[urm-finetune]"], "evaluate.against must name other models"),
        (["evaluate.against=[dsin]"], "evaluate.against names dsin, and .* Evaluate that model first"),
        (["model.tables=[bow]", "ppm.width=16"], "ppm.width was 32, and 16 is asked for now"),
    ],
)
def test_what_cannot_be_is_refused(shop, capsys, more, message):
    with pytest.raises(SystemExit):
        main(evaluate.STAGE, arguments(shop, *URM, *more))
    assert re.search(message, capsys.readouterr().err)


def test_vectors_of_another_encoder_are_refused_by_name(shop, tmp_path, capsys):
    """The text encoder was trained anew after PPM and the model: its vectors mean something else in each of their numbers."""
    copy = tmp_path / "shop"
    shutil.copytree(shop.folder, copy)
    path = copy / "tables" / "title" / "manifest.json"
    manifest = json.loads(path.read_text())
    old = manifest["encoder_version"]
    path.write_text(json.dumps({**manifest, "encoder_version": "trained anew"}))
    again = [f"run={copy}", *SETTINGS, *TRAIN]
    for stage, more in (
        (evaluate.STAGE, [*URM, "evaluate.bootstrap=21"]),
        (train.STAGE, [*URM, "model.name=third"]),
        (pretrain.STAGE, ["evaluate.bootstrap=21"]),
    ):
        with pytest.raises(SystemExit):
            main(stage, [*again, *more])
        assert (
            f"must read vectors of the encoders that it was trained on. Received: the table title was of encoder {old} and is of trained anew"
            in capsys.readouterr().err
        )


def test_an_encoder_trained_anew_is_refused_before_its_table_replaces_the_one_that_fits(shop, tmp_path, capsys):
    copy = tmp_path / "shop"
    shutil.copytree(shop.folder, copy)
    encoder, table = copy / "encoders" / "text", copy / "tables" / "title" / "manifest.json"
    about, made = json.loads((encoder / "encoder.json").read_text()), (encoder / "made_by.yaml").read_text()
    (encoder / "encoder.json").write_text(json.dumps({**about, "version": "trained anew"}))
    (encoder / "made_by.yaml").write_text(made.replace(Workspace(copy).id("encoders/text"), "trained anew"))
    before, again = table.read_bytes(), [f"run={copy}", *SETTINGS, *TRAIN]
    said = (
        f"must read vectors of the encoders that it was trained on. Received: the table title was of encoder {about['version']} and is of trained"
        " anew"
    )
    for stage, more in (
        (evaluate.STAGE, [*URM, "evaluate.bootstrap=21"]),
        (train.STAGE, [*URM, "model.name=third"]),
        (train.STAGE, [*URM, "model.ppm=random", f"model.warm_start={shop.path('models/urm-finetune')}"]),
    ):
        with pytest.raises(SystemExit):
            main(stage, [*again, *more])
        assert said in capsys.readouterr().err
    with pytest.raises(SystemExit):
        export.main([*again, *URM])
    assert said in capsys.readouterr().err
    assert table.read_bytes() == before


def test_going_on_takes_the_newer_ppm_or_keeps_the_earlier_and_says_which(shop, caplog):
    caplog.set_level("INFO")
    start = [*URM, f"model.warm_start={shop.path('models/urm-finetune')}", "model.train.epochs=1", "model.train.max_step=20"]
    for choice, said in (("replace", "PPM is that of the run"), ("keep", "PPM is the one of the earlier model")):
        caplog.clear()
        main(train.STAGE, arguments(shop, *start, f"model.name=on-{choice}", f"model.warm_start_ppm={choice}"))
        assert said in caplog.text
        assert ("ppm" in shop.made_by(f"models/on-{choice}")["parents"]) == (choice == "replace")
        assert json.loads((shop.path(f"models/on-{choice}") / "made_of.json").read_text())["ppm"] == shop.id("ppm")


def test_display_positions_are_judged_with_and_without_the_page(shop, tmp_path):
    """A model that learnt from positions is served without them: the report has both figures."""
    main(
        pretrain.STAGE,
        arguments(
            shop,
            "ppm.slots=8",
            "train.max_step=30",
            f"run={tmp_path / 'slots'}",
            "text.encoder=saved",
            f"text.path={shop.path('encoders/text')}",
            "image.encoder=saved",
            f"image.path={shop.path('encoders/image')}",
            "train.precision=float32",
        ),
    )
    found = {
        (record.model, record.metric): record.value
        for record in read_metrics(tmp_path / "slots" / "reports" / "ppm" / "metrics.jsonl")
        if record.slice == "all"
    }
    with_page, without = found["ppm", "auc"], found["ppm-as-served", "auc"]
    assert 0 < with_page < 1 and 0 < without < 1 and with_page != without  # thirty steps teach little; that the position counts shows


def test_more_epochs_go_on_from_where_the_rate_began_to_fall_and_end_as_one_long_training(shop, caplog):
    caplog.set_level("INFO")
    din = [*DIN, "model.ppm=none", "model.train.cooldown=0.25", "model.train.steps_per_loop=10"]
    whole = ["model.name=whole", "model.train.epochs=3"]
    for more in (["model.name=further"], ["model.name=further", "model.train.epochs=3"], whole):
        main(train.STAGE, arguments(shop, *din, *more))
    went = [record.getMessage() for record in caplog.records if "trained for less" in record.getMessage()]
    assert len(went) == 1 and "models/further was trained for less with the same settings: going on from its step" in went[0]
    on, all_at_once = ((shop.path(f"models/{name}") / "ranking.weights.h5") for name in ("further", "whole"))
    assert weights_of(on).keys() == weights_of(all_at_once).keys()
    for name, value in weights_of(all_at_once).items():
        np.testing.assert_array_equal(weights_of(on)[name], value)
    caplog.clear()
    main(train.STAGE, arguments(shop, *din, "model.name=further", "model.train.epochs=3", "model.train.learning_rate=1e-3"))
    assert "trained for less" not in caplog.text  # another rate: nothing of the old one is of use


def weights_of(path):
    import h5py

    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.__setitem__(name, item[()]) if isinstance(item, h5py.Dataset) else None)
    return found
