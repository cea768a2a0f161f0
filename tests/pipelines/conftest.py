import pytest

from pipelines import pretrain
from pipelines.stage import main
from ppm_tf.workspace import Workspace
from tests.pipelines.small_shop import SETTINGS


@pytest.fixture(scope="session")
def small_shop(tmp_path_factory):
    """The run folder of a small shop: data, encoders, tables, PPM and its report."""
    folder = tmp_path_factory.mktemp("run") / "shop"
    main(pretrain.STAGE, [f"run={folder}", *SETTINGS])
    return Workspace(folder)
