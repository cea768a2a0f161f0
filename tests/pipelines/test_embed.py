"""From raw items to tables through the command line, with encoders that need no training."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines import benchmark, embed, prepare, pretrain, train
from pipelines.stage import main, main_of
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.manifest import Manifest
from ppm_tf.data.tables import read_table
from ppm_tf.encoders.saved import load_encoder
from ppm_tf.workspace import Workspace
from tests import tiny_encoders
from tests.raw_logs import write_file

WORDS = ["red", "blue", "green", "shoe", "boot", "lamp", "old", "new", "tall"]


def png(number):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (3 * number, 255 - 3 * number, 7)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def shop(tmp_path):
    """Forty items with a text and an image; the settings that read them."""
    items = {number: (" ".join(WORDS[place] for place in (number % 9, number % 7, number % 4)), png(number)) for number in range(40)}
    write(tmp_path, items)
    settings = [
        f"run={tmp_path / 'run'}", "data.source=columnar", f"data.path={tmp_path}", "data.items.text=[title]", "data.items.image=image",
        "data.log=null",
        "text.encoder=bag_of_words", "text.dim=4", "image.encoder=descriptor", "image.dim=3", "embed.shards=2", "embed.max_refused=0.1",
    ]  # fmt: skip
    return items, settings, Workspace(tmp_path / "run")


def write(folder, items):
    texts, images = zip(*items.values(), strict=True)
    pq.write_table(
        pa.table({"item_id": list(items), "title": pa.array(texts, pa.string()), "image": pa.array(images, pa.binary())}), folder / "items.parquet"
    )


def run(settings, *names):
    main_of(embed.STAGES, [*names, *settings], default=embed.default)


def table(workspace, name):
    return read_table(workspace.path(f"tables/{name}"), ItemCatalog.read(workspace.path("data") / "catalog"))


def counts(workspace, name):
    about = Manifest.read(workspace.path(f"tables/{name}")).about
    return tuple(about[key] for key in ("items", "encoded", "kept", "removed", "empty", "dead_letters"))


def test_without_a_name_the_tables_that_ppm_reads_are_made(shop):
    items, settings, workspace = shop
    run([*settings, "ppm.tables=[title,bow]"])
    assert [workspace.exists(f"tables/{name}") for name in ("title", "image", "bow", "title_image")] == [True, False, True, False]
    assert not workspace.exists("encoders/bow")  # the bag of words is fitted once
    np.testing.assert_array_equal(table(workspace, "bow").vectors, table(workspace, "title").vectors)
    encoder = load_encoder(workspace.path("encoders/text"))
    np.testing.assert_array_equal(table(workspace, "title").vectors[2:], encoder.encode([text for text, _ in items.values()]).astype("float16"))


def test_what_the_job_took_lies_in_the_table(shop):
    items, settings, workspace = shop
    run(settings, "title")
    summary = json.loads((workspace.path("tables/title") / "summary.json").read_text())
    assert summary["examples"] == sum(bool(text) for text, _ in items.values()) and summary["seconds"] > 0


def test_title_and_image_side_by_side(shop):
    items, settings, workspace = shop
    run(settings, "title_image")
    vectors = table(workspace, "title_image").vectors[2:]
    text, image = (load_encoder(workspace.path(f"encoders/{name}")) for name in ("text", "image"))
    np.testing.assert_array_equal(vectors[:, :4], text.encode([text for text, _ in items.values()]).astype("float16"))
    np.testing.assert_array_equal(vectors[:, 4:], image.encode([image for _, image in items.values()]).astype("float16"))
    assert sorted(path.name for path in workspace.path("tables/title_image").iterdir() if path.suffix != ".tfrecord") == [
        "dead_letters.jsonl",
        "made_by.yaml",
        "manifest.json",
        "settings.yaml",
        "summary.json",
    ]


def test_new_raw_files_cost_only_what_changed(shop, tmp_path):
    items, settings, workspace = shop
    run(settings, "title")
    run(settings, "image")
    version = load_encoder(workspace.path("encoders/text")).version
    items |= {3: ("a changed shoe", items[3][1]), 100: ("new lamp", png(80)), 5: (None, items[5][1])}
    del items[7]
    write(tmp_path, items)
    main(prepare.STAGE, settings)
    for name in ("title", "image"):
        run(settings, name)
    assert load_encoder(workspace.path("encoders/text")).version == version
    assert counts(workspace, "title") == (40, 2, 37, 1, 1, 0)
    assert counts(workspace, "image") == (40, 1, 39, 1, 0, 0)
    run([*settings, "embed.batch_size=7", "embed.max_refused=0.9"], "title")  # these shape no vector: the table stays
    assert counts(workspace, "title") == (40, 2, 37, 1, 1, 0)
    run([*settings, "embed.shards=3"], "title")
    assert counts(workspace, "title") == (40, 0, 39, 0, 1, 0)


def test_too_many_broken_images_leave_the_old_table_in_use(shop, tmp_path, capsys):
    items, settings, workspace = shop
    run(settings, "image")
    before = table(workspace, "image").vectors
    write(tmp_path, items | {number: (items[number][0], b"broken") for number in range(5)})
    main(prepare.STAGE, settings)
    with pytest.raises(SystemExit) as stopped:
        run(settings, "image")
    assert stopped.value.code == 1
    assert "embed.max_refused). Received: 5 of 40 for table 'image'" in capsys.readouterr().err
    np.testing.assert_array_equal(table(workspace, "image").vectors, before)
    assert [path.name for path in (workspace.folder / ".state").iterdir() if not path.name.startswith("lock-")] == []
    run([*settings, "embed.max_refused=0.2"], "image")
    assert counts(workspace, "image") == (40, 0, 35, 0, 0, 5)


def refused(stage, arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        stage(arguments)
    assert stopped.value.code == 1
    return capsys.readouterr().err


def test_what_no_item_has_is_said_before_the_first_encoder_is_made(tmp_path, capsys):
    """By the settings before anything is read; where the column is there and empty, once the data is prepared."""
    texts = {number: (f"{WORDS[number % 9]} lamp", None) for number in range(20)}
    write(tmp_path, texts)
    interactions = {"user_id": [1, 2] * 20, "item_id": list(range(20)) * 2, "time": list(range(40)), "click": [0, 1, 1, 0] * 10}
    write_file(tmp_path / "interactions.parquet", interactions)
    run_folder = tmp_path / "run"
    settings = [
        f"run={run_folder}", "data.source=columnar", f"data.path={tmp_path}", "data.items.text=[title]", "data.log.time=time",
        "data.requests=single", "data.shards=1",
        "data.split.valid=0.2", "data.split.test=0.2", "text.encoder=bag_of_words", "image.encoder=descriptor",
    ]  # fmt: skip
    stages = {
        "embed": run,
        "pretrain": lambda arguments: main(pretrain.STAGE, arguments),
        "train": lambda arguments: main(train.STAGE, arguments),
    }
    for stage in stages.values():
        assert "An item must have an image for the table `image`. Received: none. Remedy: set data.items.image" in refused(stage, settings, capsys)
        assert not (run_folder / "data").exists()
    for name, stage in stages.items():  # each in a folder of its own: where the data is there already, it is seen before the first stage
        folder = tmp_path / name
        assert "An item must have an image for the table `image`. Received: none." in refused(
            stage, [*settings, "data.items.image=image", f"run={folder}"], capsys
        )
        assert (folder / "data").exists() and not (folder / "encoders").exists()


def test_the_benchmark_times_the_job_beside_a_plain_loop(shop, tmp_path, capsys):
    items, settings, workspace = shop
    tiny_encoders.bert().save(tmp_path / "bert")
    settings = [one for one in settings if not one.startswith("text.")]
    benchmark.main(["embed", *settings, "text.encoder=saved", f"text.path={tmp_path / 'bert'}", "ppm.tables=[title]"])
    found = json.loads(capsys.readouterr().out)
    assert (found["table"], found["items"], found["encoder"][:5]) == ("title", 40, "text-")
    assert found["plain_padding"] == 0  # all texts have three words
    assert found["padding"] == 0.375  # five tokens in eight places
    assert found["ratio"] > 0 and found["job_items_per_second"] > 0
    assert not [path for path in workspace.folder.iterdir() if path.name.startswith("tmp")]


def test_a_wrong_table_is_refused_with_the_choices(capsys):
    with pytest.raises(SystemExit) as stopped:
        run([], "titel")
    assert stopped.value.code == 2
    assert "must be one of: title, image, bow, aligned, title_image. Received: titel" in capsys.readouterr().err
