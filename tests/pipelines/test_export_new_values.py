"""New items and new values of every kind of field after the training: `--tables-only` takes the items in, and the scores stay right."""

import json

import numpy as np
import pytest

from pipelines import embed, export, prepare
from pipelines.stage import main
from ppm_tf.data.schema import Schema
from ppm_tf.workspace import Workspace
from tests.raw_logs import write_raw

SETTINGS = [
    "data={source: columnar, requests: single, shards: 1, history_length: 4, split: {by: time, valid: 0.1, test: 0.2}}",
    "data.items={id: item_id, text: [title], fields: {brand: brand}}",
    "data.users={id: user_id, fields: {city: city}}",
    "data.log={user: user_id, item: item_id, time: time, labels: {click: click}, context: {device: device}}",
    "text.encoder=bag_of_words", "text.dim=8",
    "model.backbone={name: din, mlp_units: [8], attention_units: [4]}", "model.name=shop", "model.ppm=none", "model.tables=[title]", "model.dim=4",
    "model.initializer_stddev=0.5", "model.train.batch_size=16", "model.train.max_step=8", "serve.requests=40", "serve.table_dtype=int8",
    "evaluate.bootstrap=20",
]  # fmt: skip


def write_shop(folder, items, cities, devices, brands):
    """A log of 20 users in which everything takes its turn."""
    ids = list(range(10, 10 * items + 10, 10))
    catalog = {
        "item_id": ids,
        "title": [f"{'red' if one % 20 else 'blue'} thing {one}" for one in ids],
        "brand": [brands[place % len(brands)] for place in range(items)],
    }
    steps, rng = list(range(400)), np.random.default_rng(0)
    users = {"user_id": [f"u{one}" for one in range(20)], "city": [cities[one % len(cities)] for one in range(20)]}
    log = {
        "user_id": [f"u{step % 20}" for step in steps],
        "item_id": [ids[int(rng.integers(items))] for _ in steps],
        "time": [1000 + 10 * step for step in steps],
        "click": [int(rng.random() < 0.5) for _ in steps],
        "device": [devices[step % len(devices)] for step in steps],
    }
    write_raw(folder, catalog, log, users=users)


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A run exported, then prepared again with new items, brands, cities and devices, and exported with --tables-only."""
    folder = tmp_path_factory.mktemp("grown")
    arguments = [f"run={folder / 'run'}", *SETTINGS, f"data.path={folder / 'raw'}"]
    write_shop(folder / "raw", 12, ["paris", "rome"], ["desk", "phone"], ["ace", "bolt"])
    export.main(arguments)
    write_shop(folder / "raw", 20, ["aachen", "paris", "rome", "zagreb"], ["car", "desk", "phone", "watch"], ["aaa", "ace", "bolt", "zzz"])
    main(prepare.STAGE, arguments)
    main(embed.STAGES["title"], arguments)
    export.main([*arguments, "--tables-only"])
    return Workspace(folder / "run"), arguments


def golden(workspace, version):
    return json.loads((workspace.folder / "exports" / "shop" / version / "assets.extra" / "golden.json").read_text())


def test_the_data_knows_more_than_the_model(grown):
    workspace, _ = grown
    now, then = Schema.read(workspace.path("data") / "schema.json"), Schema.read(workspace.path("models/shop") / "schema.json")
    for side in ("item", "user", "context"):
        assert set(then.side(side)[0].vocabulary) < set(now.side(side)[0].vocabulary)


def test_new_items_and_values_go_into_the_version_and_its_golden_answers(grown):
    workspace, _ = grown
    about = json.loads((workspace.folder / "exports" / "shop" / "2" / "assets.extra" / "export.json").read_text())
    assert about["items"] == 20 and about["tables_only"] and about["verified"]["difference"] <= 1e-5
    inputs = golden(workspace, "2")["inputs"]
    assert {"aachen", "zagreb", "paris"} <= {word for row in inputs["user_city"] for word in row}
    assert {"car", "watch", "desk"} <= {word for row in inputs["context_device"] for word in row}
    assert {id for row in inputs["candidate_ids"] for id in row} & set(range(130, 210, 10))


def test_a_value_that_nobody_knows_is_a_word_and_not_padding(grown):
    workspace, _ = grown
    for version in "12":
        inputs = golden(workspace, version)["inputs"]
        strangers = {name: values[-1] for name, values in inputs.items()}
        assert strangers["user_city"] == strangers["context_device"] == ["unknown"]
        assert set(strangers["candidate_ids"]) - {-1} == {0}


def test_values_that_the_training_did_not_know_score_as_unknown_ones(grown):
    """In the exported version, through the loader that the server takes: by value, padding and unknown being different."""
    from serving.local.loaded_version import LoadedVersion

    workspace, _ = grown
    loaded = LoadedVersion(workspace.folder / "exports" / "shop" / "2")
    first = {name: np.array(values[:1]) for name, values in golden(workspace, "2")["inputs"].items()}
    texts = {name: first[name].astype(object) for name in ("user_id", "user_city", "context_device")}

    def score(**changes):
        return loaded.run(
            loaded.signature("serving_default"), {**first, **texts, **{name: np.array([[word]], object) for name, word in changes.items()}}
        )["click"]

    for name, new in (("user_city", "zagreb"), ("context_device", "watch")):
        np.testing.assert_array_equal(score(**{name: new}), score(**{name: "never heard of"}))
        assert np.abs(score(**{name: new}) - score(**{name: ""})).max() > 1e-4
    loaded.close()
