"""From nothing to a pre-trained PPM and its report, on a small shop, through the command line."""

import json

import keras
import numpy as np
import pytest

from pipelines import pretrain
from pipelines.stage import main
from ppm_tf.data.manifest import Manifest
from ppm_tf.evaluation import read_metrics
from tests.pipelines.small_shop import SETTINGS


@pytest.fixture
def run(small_shop):
    return small_shop


def figures(run):
    return {
        (record.model, record.slice, record.metric): record
        for record in read_metrics(run.path("reports/ppm") / "metrics.jsonl")
        if record.task == "click"
    }


def test_every_artifact_is_there_and_nothing_half_made(run):
    for name in ("raw", "data", "encoders/text", "encoders/image", "tables/title", "tables/image", "ppm", "reports/ppm"):
        assert run.exists(name), name
    left = [path.name for path in (run.folder / ".state").iterdir() if not path.name.startswith(("lock-", "replaced-"))]
    assert left == []


def test_the_report_has_the_models_slices_and_metrics(run):
    found = figures(run)
    for model in ("ppm", "item_mean", "popularity", "content", "bayes"):
        for metric in ("auc", "group_auc", "precision_at_2"):
            assert (model, "all", metric) in found
    assert ("ppm", "all", "log_loss") in found
    assert ("ppm", "train_frequency=0", "auc") in found
    line = json.loads((run.path("reports/ppm") / "metrics.jsonl").read_text().splitlines()[0])
    assert {"model", "task", "slice", "metric", "value", "low", "high", "count", "seed"} <= set(line)
    test = Manifest.read(run.path("data") / "samples" / "test")
    assert found["ppm", "all", "auc"].count == test.candidates
    buckets = [
        record.count
        for (model, piece, metric), record in found.items()
        if model == "ppm" and metric == "auc" and piece.startswith("train_frequency=")
    ]
    assert sum(buckets) == test.candidates


def test_ppm_learns_from_content_alone(run):
    """It beats the trivial answers, also on items that nobody has seen, and stays below the truth."""
    found = figures(run)
    auc = {model: found[model, "all", "auc"].value for model in ("ppm", "item_mean", "popularity", "content", "bayes")}
    assert max(auc["item_mean"], auc["popularity"], auc["content"]) + 0.005 < auc["ppm"] < auc["bayes"]
    never_seen = found["ppm", "train_frequency=0", "auc"]
    assert never_seen.low > 0.5
    assert found["item_mean", "train_frequency=0", "auc"].value == 0.5


def test_the_plots_are_pictures(run):
    from PIL import Image

    for name in ("learning_curve.png", "bucket_auc.png"):
        with Image.open(run.path("reports/ppm") / name) as picture:
            assert len(picture.convert("L").getcolors(1 << 16)) > 10


def test_a_second_run_makes_nothing_and_shows_the_table(run, capsys):
    before = (run.path("ppm") / "ppm.weights.h5").stat().st_mtime_ns
    main(pretrain.STAGE, [f"run={run.folder}", *SETTINGS])
    assert (run.path("ppm") / "ppm.weights.h5").stat().st_mtime_ns == before
    assert "item_mean" in capsys.readouterr().out


def test_other_evaluation_settings_make_the_report_alone(run, capsys):
    before = (run.path("ppm") / "ppm.weights.h5").stat().st_mtime_ns
    main(pretrain.STAGE, [f"run={run.folder}", *SETTINGS[:-1], "evaluate.bootstrap=0", "evaluate.precision_at=1"])
    assert (run.path("ppm") / "ppm.weights.h5").stat().st_mtime_ns == before
    assert ("ppm", "all", "precision_at_1") in figures(run)
    main(pretrain.STAGE, [f"run={run.folder}", *SETTINGS])


def test_other_data_settings_are_refused_in_the_same_run_folder(run, capsys):
    with pytest.raises(SystemExit):
        main(pretrain.STAGE, [f"run={run.folder}", *SETTINGS, "data.users=1501"])
    assert "data.users was 1500, and 1501 is asked for now" in capsys.readouterr().err


def test_a_damaged_shard_stops_the_run_with_its_name(run, tmp_path, capsys):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    shard = next((copy / "data" / "samples" / "pretrain").glob("part-*"))
    shard.write_bytes(shard.read_bytes()[:-7])
    with pytest.raises(SystemExit):
        main(pretrain.STAGE, [f"run={copy}", *SETTINGS, "train.epochs=1"])
    error = capsys.readouterr().err
    assert shard.name in error
    assert "damaged" in error


def test_the_saved_weights_score_as_the_report_says(run):
    """Weights, schema and tables on disk are all that a later stage needs."""
    from ppm_tf.config import load
    from ppm_tf.data import samples
    from ppm_tf.evaluation import collect
    from ppm_tf.metrics import auc
    from ppm_tf.models.build import build_pretraining_model
    from ppm_tf.models.inputs import Inputs
    from ppm_tf.models.predict import Predictor

    config = load(SETTINGS)
    keras.utils.set_random_seed(99)
    inputs = Inputs.read(run, config.ppm.tables)
    schema, tables = inputs.schema, inputs.tables
    model = build_pretraining_model(config, schema, tables)
    model.load_weights(run.path("ppm") / "ppm.weights.h5")
    files = samples.find_shards(run.path("data") / "samples", ["test"])
    scores = collect(Predictor(model, samples.read(files, schema, 7)), schema.tasks)
    assert float(auc(scores.labels[:, 0], scores.scores[:, 0])) == pytest.approx(figures(run)["ppm", "all", "auc"].value, abs=1e-6)
    assert np.isfinite(scores.scores).all()
