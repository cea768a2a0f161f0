"""Which versions publication leaves: pinned by a label or a policy of the model.config, or served."""

import json
import logging
import os

import pytest

from serving import publish as publishing
from serving.publish import main, versions
from tests.docker_tools import Server
from tests.serving.staged import FILES, published, stage


@pytest.fixture(autouse=True)
def no_models_and_no_waiting(monkeypatch):
    """The folders here hold no models, and the disk is not waited for."""
    monkeypatch.setattr(publishing, "verify_afresh", lambda folder: None)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


CONFIG = """model_config_list {{ config {{
  name: "ranker" base_path: "/models/ranker" model_platform: "tensorflow"
  model_version_policy {{ {policy} }}
  {labels}
}} }}"""
LABEL = 'version_labels {{ key: "{0}" value: {1} }}'


def configure(folder, policy="latest { num_versions: 1 }", **labels):
    """A model.config with these labels."""
    folder.mkdir(parents=True, exist_ok=True)
    text = CONFIG.format(policy=policy, labels=" ".join(LABEL.format(label, version) for label, version in labels.items()))
    (folder / "model.config").write_text(text)
    return folder / "model.config"


def go(tmp_path, *arguments, mark="new"):
    """The command line, over a newly staged folder if nothing else is asked for."""
    staged = [] if any(argument.startswith("--r") or argument == "--list" for argument in arguments) else [str(stage(tmp_path / "new", mark))]
    main([*staged, "--base", str(tmp_path / "exports"), "--model", "ranker", *arguments])


def test_what_a_label_pins_stays(tmp_path, caplog):
    """Published with --keep 2: the version that `stable` names must not go."""
    base = published(tmp_path, 3)
    config = configure(tmp_path / "elsewhere", stable=1)
    caplog.set_level(logging.INFO)
    go(tmp_path, "--keep", "2", "--model-config-file", str(config))
    assert versions(base, "ranker") == [1, 3, 4]
    assert "publish: beyond the last 2 stay 1 (pinned by label stable)" in caplog.text
    assert f"publish: removed {base / 'ranker' / '2'}, beyond the last 2" in caplog.text


def test_a_config_beside_the_models_is_read_unasked(tmp_path):
    base = published(tmp_path, 3)
    configure(base, stable=2)
    go(tmp_path, "--keep", "1")
    assert versions(base, "ranker") == [2, 3, 4]


@pytest.mark.parametrize(
    ("policy", "stay"),
    [
        ("all {}", [1, 2, 3, 4]),
        ("specific { versions: 1 versions: 2 }", [1, 2, 3, 4]),
        ("latest { num_versions: 3 }", [2, 3, 4]),
        ("latest { num_versions: 1 }", [3, 4]),
    ],
)
def test_what_the_policy_serves_stays(tmp_path, policy, stay):
    base = published(tmp_path, 3)
    configure(base, policy)
    go(tmp_path, "--keep", "2")
    assert versions(base, "ranker") == stay


def test_a_config_that_knows_the_model_by_no_name_holds_as_a_whole(tmp_path):
    """A container may serve the folder under another name."""
    base = published(tmp_path, 3)
    config = configure(tmp_path / "elsewhere", stable=1)
    config.write_text(config.read_text().replace("ranker", "shop"))
    go(tmp_path, "--keep", "2", "--model-config-file", str(config))
    assert versions(base, "ranker") == [1, 3, 4]


class Status:
    """A server that knows versions and their states."""

    def __init__(self, states):
        self.server = Server()
        lines = [
            {"version": str(version), "state": state, "status": {"error_code": "OK", "error_message": message}}
            for version, (state, message) in states.items()
        ]
        self.server.body = json.dumps({"model_version_status": lines}).encode()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/models/ranker"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()


def test_what_the_server_serves_stays(tmp_path):
    base = published(tmp_path, 4, keep=9)
    with Status({4: ("END", "broken"), 3: ("END", "broken"), 2: ("AVAILABLE", ""), 1: ("END", "")}) as server:
        go(tmp_path, "--keep", "2", "--status", server.url)
        assert server.server.seen[0][1] == "/v1/models/ranker"
    assert versions(base, "ranker") == [2, 4, 5]


def test_nothing_is_removed_where_the_server_cannot_be_asked(tmp_path, caplog):
    base = published(tmp_path, 3)
    with Status({}) as server:
        server.server.body = b"{}"
        go(tmp_path, "--keep", "2", "--status", server.url)
    assert versions(base, "ranker") == [1, 2, 3, 4]
    assert "no old version is removed, since it is not known what is served" in caplog.text
    assert "must answer with the model's status" in caplog.text


def test_a_pinned_version_that_is_absent_is_said(tmp_path, caplog):
    published(tmp_path, 1)
    configure(tmp_path / "exports", stable=1, canary=7)
    go(tmp_path)
    assert "publish: versions that must be there are not: 7 (label canary)" in caplog.text


def test_a_pinned_version_is_not_withdrawn(tmp_path, capsys):
    base = published(tmp_path, 3)
    configure(base, canary=3)
    with pytest.raises(SystemExit, match="1"):
        go(tmp_path, "--rollback")
    assert (
        "A version that is withdrawn must be pinned by nothing. Received: 3 (label canary). Change the model.config first." in capsys.readouterr().err
    )
    assert versions(base, "ranker") == [1, 2, 3]


def test_the_list_tells_what_the_server_says_and_what_pins(tmp_path, capsys):
    published(tmp_path, 3)
    configure(tmp_path / "exports", stable=1, canary=9)
    size = sum(len(text) for text in FILES.values()) + len(" 1")
    with Status({3: ("END", "Read less bytes"), 1: ("AVAILABLE", "")}) as server:
        go(tmp_path, "--list", "--status", server.url)
    assert capsys.readouterr().out.splitlines() == [
        f"1\t{size} bytes\tAVAILABLE\tpinned by label stable",
        f"2\t{size} bytes\tunknown to the server",
        f"3\t{size} bytes\tEND: Read less bytes",
        "9\tnot there\tunknown to the server\tpinned by label canary",
    ]


def test_a_status_is_a_url_and_a_config_a_file(tmp_path, capsys):
    published(tmp_path, 1)
    for wrong, message in (
        (("--status", "localhost:8501"), "The status must be a URL"),
        (("--model-config-file", "/no/such/file"), "must be a file. Received: /no/such/file"),
    ):
        with pytest.raises(SystemExit, match="1"):
            go(tmp_path, *wrong)
        assert message in capsys.readouterr().err
    assert versions(tmp_path / "exports", "ranker") == [1]
