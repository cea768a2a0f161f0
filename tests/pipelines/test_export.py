"""From a trained ranking model to scores over HTTP, on a small shop, through the command lines."""

import json

import numpy as np
import pytest

from pipelines import export, train
from pipelines.stage import main
from ppm_tf.evaluation import load_scores
from tests.pipelines.small_shop import SETTINGS

DIN = [
    "model.backbone={name: din, mlp_units: [16], attention_units: [8]}",
    "model.name=served",
    "model.train.batch_size=64",
    "model.train.max_step=20",
    "model.tables=[title]",
]


def arguments(shop, *more):
    return [f"run={shop.folder}", *SETTINGS, *DIN, *more]


@pytest.fixture(scope="module")
def shop(small_shop):
    export.main(arguments(small_shop))
    return small_shop


def about(shop, version):
    return json.loads((shop.folder / "exports" / "served" / str(version) / "assets.extra" / "export.json").read_text())


def test_a_version_is_whole_and_says_what_it_is(shop):
    found = about(shop, 1)
    assert found["tasks"] == ["click", "order", "cart"] and found["items"] == 300 and found["max_history"] == 10
    assert found["verified"]["difference"] <= 1e-5
    assert found["tables"]["title"] == {"dim": 32, "dtype": "float16"}  # of PPM
    assert found["folded_tables"] == {"title": {"dim": 16, "dtype": "float32"}}  # of the item fields: what comes out of the dense layer
    assert found["inputs"]["candidate_ids"] == ["int64", [None, None]]
    assert not list((shop.folder / ".state").glob("export-*"))


def test_the_local_server_scores_the_test_split_as_the_evaluation_did(shop):
    """Requests of the test split, as a client sends them, against the scores that `evaluate` keeps."""
    from pipelines import evaluate
    from ppm_tf.data.schema import Schema
    from ppm_tf.models.inputs import Inputs
    from serving.client import Client
    from serving.local.models import Models
    from serving.local.server import LocalServer
    from serving.requests import raw_requests, sample_batches

    main(evaluate.STAGE, arguments(shop))
    kept = load_scores(shop.path("reports/served") / "scores.npz")
    inputs = Inputs.read(shop, ("title",))
    schema = Schema.read(shop.path("models/served") / "schema.json")
    assert all(batch["item"].shape == (1, 3) for batch in sample_batches(shop, inputs, 2, 3))  # serve.max_candidates holds for them too
    with LocalServer(Models(shop.folder / "exports"), port=0, poll_seconds=None) as server, Client(server.url, "served") as client:
        for batch in sample_batches(shop, inputs, 5, 1000)[:5]:
            request = raw_requests(batch, inputs, schema, -1, True)
            plain = {
                name: [[one.decode() for one in row] for row in value] if value.dtype == object else value.tolist() for name, value in request.items()
            }
            answer = client.predict(plain)
            rows = kept.request == batch["request"][0]
            assert rows.any()
            for place, task in enumerate(schema.tasks):
                np.testing.assert_allclose(np.array(answer[task])[0][batch["item"][0] != 0], kept.scores[rows, place], atol=1e-5)


def test_new_tables_take_the_graph_of_the_version_before(shop, capsys):
    export.main([*arguments(shop), "--tables-only"])
    assert capsys.readouterr().out.strip().endswith("exports/served/2")
    graphs = [(shop.folder / "exports" / "served" / version / "saved_model.pb").read_bytes() for version in "12"]
    assert graphs[0] == graphs[1] and about(shop, 2)["tables_only"]


def test_int8_tables_are_measured(shop):
    export.main(arguments(shop, "serve.table_dtype=int8", "serve.model=small"))
    found = json.loads((shop.folder / "exports" / "small" / "1" / "assets.extra" / "export.json").read_text())
    assert found["tables"]["title"]["dtype"] == "int8" and found["folded_tables"]["title"]["dtype"] == "float32"
    for task in ("click", "order", "cart"):
        stored, eight = found["auc_of_tables"][task]["stored"], found["auc_of_tables"][task]["int8"]
        assert eight == pytest.approx(stored, abs=0.02) and stored != eight


def test_what_cannot_be_is_refused(shop, capsys):
    with pytest.raises(SystemExit):
        export.main([*arguments(shop), "--tables-only", "model.name=nobody"])
    assert "--tables-only needs a trained model. Received: none" in capsys.readouterr().err
    main(train.STAGE, arguments(shop, "model.seed=5"))
    with pytest.raises(SystemExit):
        export.main([*arguments(shop, "model.seed=5"), "--tables-only"])
    assert "Received: other weights than those of" in capsys.readouterr().err
    assert not (shop.folder / "exports" / "served" / "3").exists()
