"""What becomes of versions that are put into a model's folder, good and bad: as TF Serving was seen to treat them; on the local server only."""

import os
import shutil
import threading

import numpy as np
import pytest

from serving.local.json_values import read_json
from serving.local.loaded_version import LoadedVersion
from serving.local.models import Models
from serving.local.rest import RestApi
from serving.local.server import LocalServer
from serving.local.status import Code, StatusError
from tests.serving.asking import Asker
from tests.serving.local.contract_models import write_multiplier

REQUEST = b'{"inputs": [[3.0]]}'


@pytest.fixture(scope="module")
def made(contract_folder):
    """Two good versions: x times 1, x times 2."""
    return {version: contract_folder / "versions" / str(version) for version in (1, 2)}


@pytest.fixture
def base(tmp_path, made):
    """A base whose model `m` has version 1."""
    shutil.copytree(made[1], tmp_path / "base" / "m" / "1")
    return tmp_path / "base"


@pytest.fixture
def models(base):
    models = Models(base)
    models.poll()
    yield models
    models.close()


@pytest.fixture
def api(models):
    return RestApi(models)


def publish(base, source, version, change=lambda folder: None):
    """Copies a version, changes the copy, and puts it in place by rename."""
    staged = base / "m" / f"tmp{version}"
    shutil.copytree(source, staged)
    change(staged)
    staged.rename(base / "m" / str(version))


def predict(api, which=""):
    answer = api.answer("POST", f"/v1/models/m{which}:predict", REQUEST)
    return answer.code, read_json(answer.body)


def states(api):
    content = read_json(api.answer("GET", "/v1/models/m", b"").body)
    return {line["version"]: (line["state"], line["status"]["error_code"]) for line in content["model_version_status"]}


AVAILABLE, ENDED = ("AVAILABLE", "OK"), ("END", "OK")


def write_warmup(folder, name="serving_default", model="m", **inputs):
    from serving.layout import EXTRA
    from serving.warmup import write_warmup as write

    (folder / EXTRA).mkdir()
    write(folder / EXTRA, model, [(name, inputs)])


def flip(file):
    content = bytearray(file.read_bytes())
    content[1] ^= 0xFF
    file.write_bytes(content)


def rename_op(folder):
    """Makes the graph use an op that no binary knows."""
    from tensorflow.core.protobuf import saved_model_pb2

    file = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for function in saved.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            node.op = "OpOfNobody" if node.op == "Mul" else node.op
    assert "OpOfNobody" in str(saved)
    file.write_bytes(saved.SerializeToString())


def test_a_good_version_replaces_the_old_one(base, models, api, made):
    assert predict(api) == (200, {"outputs": [[3.0]]})
    publish(base, made[2], 2)
    assert predict(api) == (200, {"outputs": [[3.0]]})  # nobody has looked yet
    models.poll()
    assert predict(api) == (200, {"outputs": [[6.0]]})
    assert states(api) == {"2": AVAILABLE, "1": ENDED}
    assert predict(api, "/versions/1") == (404, {"error": "Servable not found for request: Specific(m, 1)"})


def test_every_request_is_answered_while_versions_change(base, made):
    models = Models(base)
    answers, answered, done = [], threading.Semaphore(0), threading.Event()
    with LocalServer(models, port=0, poll_seconds=None) as server:
        asker = Asker(server.url)

        def keep_asking():
            while not done.is_set():
                answers.append(asker.predict(REQUEST, model="m"))
                answered.release()

        thread = threading.Thread(target=keep_asking)
        thread.start()
        try:
            for version in (2, 3):
                assert answered.acquire(timeout=60)
                publish(base, made[2], version)
                models.poll()
            for _ in range(2):  # the first of them may have been under way before the last version was
                assert answered.acquire(timeout=60)
        finally:
            done.set()
            thread.join()
        assert asker.predict(REQUEST, model="m").json == {"outputs": [[6.0]]}
    assert len(answers) >= 4
    assert {reply.status for reply in answers} == {200}
    assert [reply.json["outputs"][0][0] for reply in answers] == sorted(reply.json["outputs"][0][0] for reply in answers)


def test_a_version_in_use_ends_after_its_last_request(base, models, api, made):
    with models.serving("m").use() as (version, loaded):
        publish(base, made[2], 2)
        models.poll()
        assert version == 1 and states(api)["1"] == ("UNLOADING", "OK")
        assert loaded.run(loaded.signature(""), {"x": np.float32([[3.0]])})["y"].tolist() == [[3.0]]
    assert states(api)["1"] == ENDED


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(lambda folder: os.truncate(folder / "saved_model.pb", 2000), "OUT_OF_RANGE", id="truncated graph"),
        pytest.param(lambda folder: flip(folder / "variables" / "variables.data-00000-of-00001"), "DATA_LOSS", id="flipped byte"),
        pytest.param(lambda folder: os.truncate(folder / "variables" / "variables.data-00000-of-00001", 2), "OUT_OF_RANGE", id="truncated variables"),
        pytest.param(lambda folder: (folder / "saved_model.pb").unlink(), "NOT_FOUND", id="no graph"),
        pytest.param(
            lambda folder: (write_warmup(folder, x=np.float32([[1]])), shutil.rmtree(folder / "variables")), "NOT_FOUND", id="no variables, warm-up"
        ),
        pytest.param(lambda folder: (rename_op(folder), write_warmup(folder, x=np.float32([[1]]))), "NOT_FOUND", id="unknown op, warm-up"),
        pytest.param(lambda folder: write_warmup(folder, x=np.int64([[1]])), "INVALID_ARGUMENT", id="warm-up of another dtype"),
        pytest.param(lambda folder: write_warmup(folder, z=np.float32([[1]])), "INVALID_ARGUMENT", id="warm-up of another input"),
        pytest.param(lambda folder: write_warmup(folder, "nope", x=np.float32([[1]])), "FAILED_PRECONDITION", id="warm-up of another signature"),
    ],
)
def test_a_bad_version_ends_and_the_old_one_stays(base, models, api, made, change, code):
    publish(base, made[2], 2, change)
    models.poll()
    assert states(api) == {"2": ("END", code), "1": AVAILABLE}
    assert predict(api) == (200, {"outputs": [[3.0]]})
    content = read_json(api.answer("GET", "/v1/models/m/versions/2", b"").body)
    assert content["model_version_status"][0]["status"]["error_message"]


def test_a_version_without_variables_and_warm_up_goes_live_and_fails(base, models, api, made):
    publish(base, made[2], 2, lambda folder: shutil.rmtree(folder / "variables"))
    models.poll()
    assert states(api) == {"2": AVAILABLE, "1": ENDED}
    assert predict(api)[0] == 404


def test_python_ops_never_run(base, models, api):
    import tensorflow as tf

    spec = tf.TensorSpec([None, None], tf.float32, name="x")
    function = tf.function(lambda x: {"y": tf.py_function(lambda value: value, [x], tf.float32)}, input_signature=[spec])
    tf.saved_model.save(tf.Module(), str(base / "tmp"), signatures={"serving_default": function})
    (base / "tmp").rename(base / "m" / "2")
    models.poll()
    assert states(api) == {"2": AVAILABLE, "1": ENDED}
    code, content = predict(api)
    assert code == 400 and "No OpKernel was registered to support Op 'EagerPyFunc'" in content["error"]


def test_a_warm_up_that_fits_is_replayed(base, models, api, made, monkeypatch):
    seen = []
    run = LoadedVersion.run
    monkeypatch.setattr(
        LoadedVersion, "run", lambda self, signature, inputs: seen.append((signature.name, inputs["x"].tolist())) or run(self, signature, inputs)
    )
    publish(base, made[2], 2, lambda folder: write_warmup(folder, x=np.float32([[1.5, 2.5]])))
    models.poll()
    assert states(api)["2"] == AVAILABLE
    assert seen == [("serving_default", [[1.5, 2.5]])]


@pytest.mark.parametrize("name", ["tmp5", "5.part", "05", "-5", "v5", "99999999999999999999"])
def test_a_folder_that_is_no_number_is_no_version(base, models, api, made, name):
    shutil.copytree(made[2], base / "m" / name)
    models.poll()
    assert states(api) == {"1": AVAILABLE}


def test_a_file_is_no_version(base, models, api):
    (base / "m" / "5").write_text("")
    models.poll()
    assert states(api) == {"1": AVAILABLE}


def test_when_bad_versions_go_the_highest_good_one_comes_back(base, models, api, made):
    publish(base, made[2], 2, lambda folder: shutil.rmtree(folder / "variables"))
    publish(base, made[2], 3, lambda folder: os.truncate(folder / "saved_model.pb", 10))
    models.poll()
    assert states(api) == {"3": ("END", "OUT_OF_RANGE"), "1": AVAILABLE}  # only the highest is ever tried
    shutil.rmtree(base / "m" / "3")
    models.poll()
    assert states(api)["2"] == AVAILABLE and predict(api)[0] == 404
    shutil.rmtree(base / "m" / "2")
    models.poll()
    assert states(api) == {"3": ("END", "OUT_OF_RANGE"), "2": ENDED, "1": AVAILABLE}
    assert predict(api) == (200, {"outputs": [[3.0]]})


def test_a_failed_version_is_tried_again_when_its_folder_was_gone(base, models, api, made):
    publish(base, made[2], 2, lambda folder: os.truncate(folder / "saved_model.pb", 10))
    models.poll()
    shutil.rmtree(base / "m" / "2")
    models.poll()
    publish(base, made[2], 2)
    models.poll()
    assert states(api) == {"2": AVAILABLE, "1": ENDED}


def test_a_half_copied_version_is_tried_again_when_it_is_complete(base, models, api, made):
    """Not while the copy goes on, which the next look tells, and once only."""
    publish(base, made[2], 2, lambda folder: (folder / "saved_model.pb").unlink())
    models.poll()
    assert states(api) == {"2": ("END", "NOT_FOUND"), "1": AVAILABLE}
    shutil.copy(made[2] / "saved_model.pb", base / "m" / "2")
    models.poll()
    assert states(api) == {"2": ("END", "NOT_FOUND"), "1": AVAILABLE}
    models.poll()
    assert states(api) == {"2": AVAILABLE, "1": ENDED}


def test_pinned_versions_that_are_absent_are_said_once(base, made, caplog):
    shutil.copytree(made[2], base / "m" / "2")
    (base / "model.config").write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{base}/m" model_platform: "tensorflow" model_version_policy {{ specific {{ versions: 1'
        ' versions: 4 } } version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 6 } } }'
    )
    models = Models(config_file=base / "model.config")

    def told():
        found = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        caplog.clear()
        return found

    models.poll()
    assert told() == [f"m: version 4, which the policy names, is not in {base}/m", f"m: version 6, which label canary names, is not in {base}/m"]
    models.poll()
    assert told() == []
    shutil.rmtree(base / "m" / "1")
    models.poll()
    assert told() == [f"m: version 1, which label stable names, is not in {base}/m"]
    models.close()


def test_a_failed_version_is_not_loaded_at_each_look(base, made):
    tries = []

    def load(folder):
        tries.append(folder.name)
        raise StatusError(Code.DATA_LOSS, "broken on purpose")

    models = Models(base, load=load)
    for _ in range(3):
        models.poll()
    assert tries == ["1"]
    assert states(RestApi(models)) == {"1": ("END", "DATA_LOSS")}


def test_an_emptied_folder_ends_the_model(base, models, api):
    shutil.rmtree(base / "m" / "1")
    models.poll()
    assert states(api) == {"1": ENDED}
    assert predict(api) == (404, {"error": "Servable not found for request: Latest(m)"})


def test_a_new_model_below_the_base_is_served(base, models, api):
    write_multiplier(base / "other" / "1", 5.0)
    assert api.answer("POST", "/v1/models/other:predict", REQUEST).code == 404
    models.poll()
    assert read_json(api.answer("POST", "/v1/models/other:predict", REQUEST).body) == {"outputs": [[15.0]]}


def test_the_watcher_polls_until_told_to_stop_and_survives_a_failure(base, monkeypatch):
    models = Models(base)
    polls = []

    def poll():
        polls.append(len(polls))
        if len(polls) == 1:
            raise OSError("the disk is away")

    class Stop:
        def wait(self, seconds):
            assert seconds == 0.5
            return len(polls) == 3

    monkeypatch.setattr(models, "poll", poll)
    models.watch(Stop(), 0.5)
    assert polls == [0, 1, 2]
