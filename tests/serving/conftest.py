"""The server under test: the local one in a thread, or any other with `--server http://host:port` (give a path below tests/serving, too)."""

from __future__ import annotations

import pytest

from tests.serving.asking import Asker


def pytest_addoption(parser):
    parser.addoption(
        "--server", metavar="URL", help="test the server at this address, over the models of `python -m tests.serving.local.contract_models`"
    )


@pytest.fixture(scope="session")
def contract_folder(tmp_path_factory):
    """The contract models and their model.config, for the local server."""
    from tests.serving.local.contract_models import write_contract_models

    folder = tmp_path_factory.mktemp("contract_models")
    write_contract_models(folder)
    return folder


@pytest.fixture(scope="session")
def server_url(request):
    """Where the server under test is."""
    # None, too, where pytest was not started for this folder and never saw the option
    url = request.config.getoption("--server", default=None)
    if url:
        yield url.rstrip("/")
        return
    from serving.local.models import Models
    from serving.local.server import LocalServer

    folder = request.getfixturevalue("contract_folder")
    with LocalServer(Models(config_file=folder / "model.config"), port=0, poll_seconds=None) as server:
        yield server.url


@pytest.fixture
def ask(server_url):
    """Asks the server under test."""
    return Asker(server_url)
