"""SIGKILL in the middle of the table job: the old table stays in use, and a new start ends well."""

import hashlib
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.manifest import Manifest
from ppm_tf.data.tables import read_table
from ppm_tf.workspace import Workspace

ITEMS = 20_000


def write(folder, word):
    titles = [f"{word} {number % 997} lamp {number % 89}" for number in range(ITEMS)]
    pq.write_table(pa.table({"item_id": range(ITEMS), "title": titles}), folder / "items.parquet")


def start(folder, module, *arguments):
    """A stage in a process of its own; its output goes into a file beside the run."""
    settings = [
        f"run={folder / 'run'}",
        "data.source=columnar",
        f"data.path={folder}",
        "data.items.text=[title]",
        "data.log=null",
        "text.encoder=bag_of_words",
    ]
    with (folder / "log").open("a") as log:
        return subprocess.Popen([sys.executable, "-m", module, *arguments, *settings], stdout=log, stderr=subprocess.STDOUT)


def shards(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.tfrecord")}


@pytest.mark.slow
def test_killed_in_the_middle_the_old_table_stays_and_a_rerun_completes(tmp_path):
    def log():
        return (tmp_path / "log").read_text()

    write(tmp_path, "old")
    assert start(tmp_path, "pipelines.embed", "title").wait() == 0, log()
    workspace = Workspace(tmp_path / "run")
    table, staging = workspace.path("tables/title"), workspace.folder / ".state" / "new-tables-title"
    before = shards(table)
    catalog = ItemCatalog.read(workspace.path("data") / "catalog")
    write(tmp_path, "new")
    assert start(tmp_path, "pipelines.prepare").wait() == 0, log()
    killed = 0
    for seconds in (0.0, 0.2, 0.5, 0.8, 1.1):
        process = start(tmp_path, "pipelines.embed", "title")
        while process.poll() is None and not (staging / ".job").exists():
            time.sleep(0.01)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break  # it was faster
        killed += 1
        assert shards(table) == before
        assert read_table(table, catalog).present.sum() == ITEMS
    assert killed >= 2
    assert start(tmp_path, "pipelines.embed", "title").wait() == 0, log()
    about = Manifest.read(table).about
    assert (about["items"], about["encoded"], about["kept"]) == (ITEMS, ITEMS, 0)
    assert shards(table) != before
    assert not staging.exists()
    again = start(tmp_path, "pipelines.embed", "title", "embed.shards=5")
    assert again.wait() == 0, log()
    assert Manifest.read(table).about["kept"] == ITEMS
