"""The comparison with other packages: what is counted, what is written for them, and the talk between the processes."""

import os
import sys

import numpy as np
import pytest
import tensorflow as tf

from pipelines.benchmark import peers
from pipelines.benchmark.floor import Rates, Work, floor_seconds, work_of
from pipelines.benchmark.peers.command import WORKLOADS, _of_workload, _worker, _write_rows
from pipelines.benchmark.peers.options import Options
from pipelines.benchmark.peers.worker import Rows
from ppm_tf.config import ConfigError, load
from ppm_tf.data import samples
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.schema import Schema
from ppm_tf.reports.speed import speed_table
from ppm_tf.workspace import Workspace
from tests.pipelines.small_shop import SETTINGS


def test_products_and_lookups_are_counted_forward_and_back():
    kernel, table = tf.Variable(tf.ones((8, 4))), tf.Variable(tf.ones((100, 8)))
    places = tf.constant([[1, 2, 3], [4, 5, 6]])

    def forward(places):
        return tf.nn.relu(tf.gather(table, places)) @ kernel

    product = 2 * 6 * 8 * 4
    assert work_of(forward, places) == Work(product, 6 * 8 * 4)

    assert work_of(lambda x: tf.einsum("nd,de->ne", x, kernel), tf.ones((5, 8))).flops == 2 * 5 * 8 * 4
    assert work_of(lambda x: tf.matmul(x, kernel, transpose_b=True), tf.ones((5, 4))).flops == 2 * 5 * 4 * 8
    assert work_of(lambda x: tf.linalg.matmul(x, x, adjoint_b=True), tf.ones((3, 5, 4))).flops == 2 * 3 * 5 * 5 * 4

    def both(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.square(x @ kernel))
        return tape.gradient(loss, [x, kernel])

    assert work_of(both, tf.ones((6, 8))).flops == 3 * product  # the result, and a gradient for either side
    assert floor_seconds(Work(200, 30), Rates(100.0, 10.0)) == 5.0


def test_options_stand_among_the_settings():
    options, rest = Options.split(["peers=[fuxictr]", "data.users=9", "rounds=2", "workloads=A", "epoch=false"])
    assert rest == ["data.users=9"]
    assert (options.peers, options.rounds, options.workloads, options.epoch) == (("fuxictr",), 2, ("A",), False)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("peers=[recbole]", r"peers must name some of deepctr, fuxictr, as in peers=\[deepctr\]. Received: \['recbole'\]"),
        ("rounds=0", "rounds must be a whole number from 1 on. Received: 0"),
        ("epoch=3", "epoch must be true or false. Received: 3"),
    ],
)
def test_a_wrong_option_is_refused(argument, message):
    with pytest.raises(ConfigError, match=message):
        Options.split([argument])


WORKER = """
import sys
sys.path.insert(0, sys.argv[2])
from worker import serve

class Model:
    def __init__(self):
        print("a package that prints")

    def train(self, steps):
        print("and goes on printing")
        if steps == 13:
            raise ValueError("no")
        return {"examples": 10 * steps}

serve(Model)
"""


def test_a_process_answers_orders_and_its_end_is_said(tmp_path):
    script = tmp_path / "model.py"
    script.write_text(WORKER)
    command = [sys.executable, "-c", f"import sys; sys.argv[1:] = ['', {peers.__path__[0]!r}]; exec(open({str(script)!r}).read())"]
    with _worker(("mine", "DIN"), command, {"width": 3}, tmp_path, dict(os.environ)) as worker:
        for steps in (1, 2):
            answer = worker.ask("train", steps=steps)
            assert answer["examples"] == 10 * steps and answer["peak_mib"] > 1 and answer["seconds"] >= 0
        with pytest.raises(RuntimeError, match=r"The process of mine-DIN ended with 1. Its log is .*mine-DIN.log"):
            worker.ask("train", steps=13)
        with pytest.raises(RuntimeError, match="The process of mine-DIN ended with 1"):
            worker.ask("train", steps=1)
    assert "ValueError: no" in (tmp_path / "mine-DIN.log").read_text() and worker.process.returncode == 1


def test_the_rows_of_peers_are_those_of_the_samples(small_shop, tmp_path):
    config = load([f"run={small_shop.folder}", *SETTINGS])
    (tmp_path / "rows" / "train").mkdir(parents=True)
    np.save(tmp_path / "rows" / "train" / "colour.npy", np.zeros(3))  # of data that had such a field
    folder, sizes = _write_rows(config, tmp_path)
    assert not (folder / "train" / "colour.npy").exists()
    workspace = Workspace(config.run)
    schema, catalog = Schema.read(workspace.path("data") / "schema.json"), ItemCatalog.read(workspace.path("data") / "catalog")
    for split in ("train", "test"):
        rows = Rows(str(folder), split)
        files = samples.find_shards(workspace.path("data") / "samples", [split])
        assert len(rows) == files.candidates
        batch = next(iter(samples.read(files, schema, 7))).items()
        first = {name: values.numpy() for name, values in batch}
        real = first["item"] != 0
        count = real.sum()
        np.testing.assert_array_equal(rows.columns["item_id"][:count], first["item"][real])
        np.testing.assert_array_equal(rows.labels[:count], first["labels"][..., 0][real])
        np.testing.assert_array_equal(rows.columns["hist_item_id"][:count], np.repeat(first["history"], real.sum(axis=1), axis=0))
        np.testing.assert_array_equal(rows.columns["hist_brand"], catalog.fields["brand"][:, 0][rows.columns["hist_item_id"]])
        assert all(values.max() < sizes[name.removeprefix("hist_")] and values.min() >= 0 for name, values in rows.columns.items())
    assert Rows(str(folder), "train").columns["user_id"].min() == 1  # 0 stands for users of the test part that the other does not have
    request = rows.of_one_request(5)
    assert (request["hist_item_id"] == rows.columns["hist_item_id"][0]).all() and request["item_id"].tolist() == rows.columns["item_id"][:5].tolist()


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_workload_is_one_of_this_product(name, tmp_path):
    load_ = WORKLOADS[name]
    config = _of_workload(load([*SETTINGS, "model.ppm=finetune"]), load_, tmp_path)
    assert config.model.train.batch_size * load_.candidates == pytest.approx(load_.batch, rel=0.01)
    assert (config.data.history_length, config.data.candidates, config.model.dim, config.model.ppm) == (
        load_.history,
        load_.candidates,
        load_.width,
        "none",
    )


def test_the_table_compares_with_the_faster_peer():
    ours = {"workload": "A", "system": "ppm_tf", "model": "DIN", "train": 300.0, "ms_100": 2.0, "train_of_floor": 0.25, "auc": 0.7}
    lines = [ours, {**ours, "system": "deepctr", "train": 200.0, "ms_100": 1.0}, {**ours, "system": "fuxictr", "train": 100.0, "ms_100": 8.0}]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in speed_table(lines).splitlines()[2:]]
    assert rows == [
        ["A, DIN: training, candidates/s", "300", "200", "100", "1.50", "25%"],
        ["A, DIN: 100 candidates, ms", "2.00", "1.00", "8.00", "0.50", ""],
        ["A, DIN: AUC after a pass", "0.7000", "0.7000", "0.7000", "", ""],
    ]
