"""The image encoder from raw files to its artifact, through the command line: trained, as it is, saved, and without a network."""

import json

import keras
import keras_nlp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.finetune import image
from pipelines.stage import main
from ppm_tf.encoders import image_start
from ppm_tf.encoders.image import ImageEncoder
from ppm_tf.encoders.saved import load_encoder
from ppm_tf.evaluation import read_metrics
from ppm_tf.workspace import Workspace
from tests.encoders.test_image_pixels import encoded

COLOURS = {"red": [200, 40, 40], "green": [40, 200, 40], "blue": [40, 40, 200], "rare": [120, 120, 120]}
NAMES = [("red", "red", "green", "blue")[item % 4] for item in range(160)] + ["rare"] * 3
TINY = {
    "input_conv_filters": [8],
    "input_conv_kernel_sizes": [3],
    "stackwise_num_filters": [64],
    "stackwise_num_blocks": [1],
    "stackwise_num_strides": [1],
    "block_type": "basic_block_vd",
}
FIT = [
    "image.finetune.entity=kind",
    "image.finetune.min_count=5",
    "image.finetune.batch_size=16",
    "image.finetune.epochs=4",
    "image.finetune.learning_rate=0.01",
]
FIT += [
    "image.finetune.valid=0.2",
    "image.finetune.test=0.25",
    "image.finetune.steps_per_loop=5",
    "evaluate.bootstrap=20",
    "image.size=8",
    "image.dim=6",
]


def square(name, item):
    noise = np.random.default_rng(item).normal(0, 20, (10, 12, 3))
    return encoded(np.clip(COLOURS[name] + noise, 0, 255))


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """163 squares; that of item 7 is cut off, item 8 has none."""
    folder = tmp_path_factory.mktemp("raw")
    images = [square(name, item) for item, name in enumerate(NAMES)]
    images[7], images[8] = images[7][:100], None
    pq.write_table(pa.table({"item_id": range(len(NAMES)), "kind": NAMES, "image": images}), folder / "items.parquet")
    return [f"data.path={folder}", "data.source=columnar", "data.log=null", "data.items.image=image", "data.items.fields={kind: kind}"]


@pytest.fixture(scope="module", autouse=True)
def tiny():
    """A small ResNet of a few filters."""
    usual = image_start.RESNETS["small_resnet"]
    image_start.RESNETS["small_resnet"] = TINY
    yield
    image_start.RESNETS["small_resnet"] = usual


@pytest.fixture(scope="module")
def trained(raw, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    main(image.STAGE, [f"run={folder}", *raw, *FIT])
    return Workspace(folder)


@pytest.fixture
def run(trained, tmp_path):
    """A fresh run folder beside the same data."""
    (tmp_path / "data").symlink_to(trained.path("data"))
    return tmp_path


def figures(workspace):
    return {(record.model, record.metric): record for record in read_metrics(workspace.path("encoders/image") / "metrics.jsonl")}


def test_the_artifact_is_whole(trained):
    folder = trained.path("encoders/image")
    assert {path.name for path in folder.iterdir()} >= {"encoder.json", "backbone", "projection.npz", "metrics.jsonl", "train.jsonl", "made_by.yaml"}
    assert [path.name for path in (trained.folder / ".state").iterdir() if not path.name.startswith("lock-")] == []
    encoder = load_encoder(folder)
    assert isinstance(encoder, ImageEncoder) and (encoder.dim, encoder.size) == (6, 8)


def test_figures_before_and_after_beside_the_most_frequent_class(trained):
    found = figures(trained)
    models = ["most frequent class", "linear probe, random weights", "linear probe, after", "entity prediction"]
    assert list(dict.fromkeys(model for model, _ in found)) == models
    assert {metric for _, metric in found} == {"top_1", "top_5"}
    assert len({record.count for record in found.values()}) == 1 and {record.task for record in found.values()} == {"kind"}
    assert 0.3 < found["most frequent class", "top_1"].value < 0.7  # half of the squares are red
    assert found["entity prediction", "top_1"].value > 0.95
    assert found["linear probe, after", "top_1"].value > 0.95
    record = found["most frequent class", "top_1"]
    assert record.low < record.value < record.high


def test_validation_is_logged(trained):
    rows = [json.loads(line) for line in (trained.path("encoders/image") / "train.jsonl").read_text().splitlines()]
    looks = [row for row in rows if "valid_top_1" in row]
    assert looks and {"valid_top_1", "valid_top_5", "valid_loss"} <= set(looks[0])


def test_what_is_left_out_is_counted_by_name(raw, trained, run, caplog):
    caplog.set_level("INFO")
    main(image.STAGE, [f"run={run}", *raw, *FIT, "image.finetune.max_step=1"])
    start = next(message for message in caplog.messages if message.startswith("entity prediction"))
    assert "3 classes of kind with at least 5 training images" in start
    assert "left out: 3 of a rarer class, 1 that cannot be read" in start
    assert any(message.startswith("the image of item 7 is left out: An image must be") for message in caplog.messages)


def test_an_encoder_that_is_there_is_shown_not_made(raw, trained, capsys):
    made = trained.made_by("encoders/image")
    main(image.STAGE, [f"run={trained.folder}", *raw, *FIT])
    assert trained.made_by("encoders/image") == made
    shown = capsys.readouterr().out
    assert "most frequent class" in shown and "top_1" in shown and "linear probe, random weights" in shown


def test_a_training_continued_after_a_stop_ends_the_same(raw, trained, run, monkeypatch, caplog):
    from ppm_tf.objectives.entity_prediction import EntityPrediction

    looks, judge = [], EntityPrediction.judge

    def stopped(self, batches):
        looks.append(1)
        if len(looks) == 3:
            raise KeyboardInterrupt
        return judge(self, batches)

    monkeypatch.setattr(EntityPrediction, "judge", stopped)
    with pytest.raises(SystemExit) as interrupted:
        main(image.STAGE, [f"run={run}", *raw, *FIT])
    assert interrupted.value.code == 130
    assert not Workspace(run).exists("encoders/image")
    monkeypatch.setattr(EntityPrediction, "judge", judge)
    caplog.set_level("INFO")
    main(image.STAGE, [f"run={run}", *raw, *FIT])
    assert any(message.startswith("continuing from step ") for message in caplog.messages)
    assert load_encoder(run / "encoders/image").version == load_encoder(trained.path("encoders/image")).version


def test_a_saved_encoder_is_taken_as_it_is(raw, trained, tmp_path):
    path = trained.path("encoders/image")
    main(image.STAGE, [f"run={tmp_path}", *raw, "image.encoder=saved", f"image.path={path}"])
    contents = [square("red", 1), square("blue", 2)]
    mine, theirs = load_encoder(tmp_path / "encoders/image"), load_encoder(path)
    assert mine.version == theirs.version
    np.testing.assert_array_equal(mine.encode(contents), theirs.encode(contents))
    assert not (tmp_path / "data").exists()  # nothing of the data is needed
    made = Workspace(tmp_path).made_by("encoders/image")
    main(image.STAGE, [f"run={tmp_path}", *raw, "image.encoder=saved", f"image.path={path}"])
    assert Workspace(tmp_path).made_by("encoders/image") == made


def test_an_encoder_of_texts_is_refused(raw, tmp_path, capsys):
    from ppm_tf.encoders.bag_of_words import BagOfWords

    BagOfWords(dim=2, num_buckets=64).fit(["a red shoe", "a blue lamp", "a lamp"]).save(tmp_path / "words")
    with pytest.raises(SystemExit):
        main(image.STAGE, [f"run={tmp_path / 'run'}", *raw, "image.encoder=saved", f"image.path={tmp_path / 'words'}"])
    assert "image.path must hold an encoder of images. Received:" in capsys.readouterr().err


def test_a_preset_stays_as_it_is_under_a_fitted_projection(raw, run):
    keras.utils.set_random_seed(5)
    backbone = keras_nlp.models.ResNetBackbone(**TINY)
    backbone.save_to_preset(str(run / "preset"))
    main(image.STAGE, [f"run={run}", *raw, "image.encoder=preset", f"image.preset={run / 'preset'}", "image.size=8", "image.dim=6"])
    encoder = load_encoder(run / "encoders/image")
    for mine, theirs in zip(encoder.backbone.get_weights(), backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    vectors = encoder.encode([square(name, item) for item, name in enumerate(NAMES)])
    covariance = np.cov(vectors.T)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=0.05 * covariance[0, 0])  # main directions do not vary together
    assert not (run / "encoders/image/metrics.jsonl").exists()


def test_a_preset_that_is_trained_is_measured_before_and_after(raw, run):
    backbone = keras_nlp.models.ResNetBackbone(**TINY)
    backbone.save_to_preset(str(run / "preset"))
    main(
        image.STAGE,
        [
            f"run={run}",
            *raw,
            *FIT,
            "image.encoder=preset",
            f"image.preset={run / 'preset'}",
            "image.training=[finetune]",
            "image.finetune.max_step=2",
        ],
    )
    assert "linear probe, before" in {model for model, _ in figures(Workspace(run))}


def test_a_descriptor_is_fitted(raw, run, capsys):
    main(image.STAGE, [f"run={run}", *raw, "image.encoder=descriptor", "image.dim=6"])
    encoder = load_encoder(run / "encoders/image")
    assert (encoder.kind, encoder.dim) == ("image_descriptor", 6)
    with pytest.raises(SystemExit):
        main(image.STAGE, [f"run={run}", *raw, "image.encoder=descriptor", "image.dim=null"])
    assert "Setting image: Value error, dim must be a number with encoder: descriptor" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong, message",
    [
        ("image.finetune.min_count=500", "needs at least two values of the item field kind on 500 training images each. Received: 0"),
        ("image.finetune.entity=price", "image.finetune.entity must be an item field of the data: kind. Received: price"),
        ("image.finetune.test=0.001", "needs images in each of the train, valid and test parts. Received: "),
    ],
)
def test_nothing_to_learn_from(raw, run, capsys, wrong, message):
    with pytest.raises(SystemExit):
        main(image.STAGE, [f"run={run}", *raw, *FIT, wrong])
    assert message in capsys.readouterr().err
    assert not (run / "encoders").exists()


def test_what_shapes_an_encoder():
    from ppm_tf.config import load

    assert "finetune" in image.settings(load([]))["image"]
    assert "finetune" not in image.settings(load(["image.encoder=descriptor"]))["image"]
    assert image.settings(load(["image.encoder=saved", "image.path=a"])) == {"image": {"encoder": "saved", "path": "a"}}


def test_a_sample_is_spread_over_the_catalog():
    assert image._spread(10, 20) == list(range(10))
    places = image._spread(1_000_000, 64, blocks=4)
    assert places[:2] == [0, 1] and places[-1] == 999_999 and len(set(places)) == 64
