import fcntl
import shutil

import pytest

from pipelines import pretrain
from pipelines.stage import main
from ppm_tf.workspace import Workspace
from tests.pipelines.small_shop import SETTINGS


@pytest.fixture(scope="session")
def small_shop(tmp_path_factory, worker_id):
    """The run folder of a small shop: data, encoders, tables, PPM and its report. Made once; every process of the suite has a copy of its own."""
    mine, base = tmp_path_factory.mktemp("run") / "shop", tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "small_shop"
    with open(f"{shared}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "reports" / "ppm").exists():  # the last that is made
            main(pretrain.STAGE, [f"run={shared}", *SETTINGS])
    shutil.copytree(shared, mine)
    return Workspace(mine)
