"""Text models through the command line: trained, reloaded, scored and reported, on a shop of a few users."""

import json

import numpy as np
import pytest

from pipelines import evaluate
from pipelines.stage import main
from ppm_tf.evaluation import load_scores
from ppm_tf.workspace import Workspace

SHOP = [
    "data.users=60", "data.items=40", "data.days=10", "data.requests_per_user=6", "data.history_length=4", "data.candidates=4", "data.shards=1",
    "text.num_layers=1", "text.width=16", "text.num_heads=2", "text.dim=16", "text.vocabulary=400", "text.adapt.batch_size=16",
    "model.ppm=none", "model.train.batch_size=16", "model.train.max_step=4", "evaluate.bootstrap=10",
]  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return Workspace(tmp_path_factory.mktemp("run") / "shop")


@pytest.mark.parametrize("name", ["ptab", "ctr_bert", "p5"])
def test_it_is_trained_and_evaluated(shop, name, caplog):
    caplog.set_level("INFO")
    first = ["model.backbone.mlm.max_step=4"] if name == "ptab" else []
    main(evaluate.STAGE, [f"run={shop.folder}", *SHOP, f"model.backbone.name={name}", *first])
    folder = shop.path(f"models/{name}")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["steps"] == 4 and 0 <= summary["prompts_cut"] <= 1 and 10 < summary["prompt_tokens"] <= 128
    assert "prompts of the valid split are longer than 128 tokens" in caplog.text
    assert summary.get("mlm_steps") == (4 if name == "ptab" else None)
    assert {"ranking.weights.h5", "language_model", "schema.json", "counts.npz", "made_of.json"} <= {path.name for path in folder.iterdir()}
    scores = load_scores(shop.path(f"reports/{name}") / "scores.npz")
    assert np.isfinite(scores.scores).all() and 0 < scores.scores.min() and scores.scores.max() < 1 and np.ptp(scores.scores, axis=0).min() > 0


def test_the_language_model_is_part_of_what_a_model_is_made_of(shop, capsys):
    given = [f"run={shop.folder}", *SHOP, "model.backbone.name=ctr_bert"]
    main(evaluate.STAGE, given)  # which is there already, unless this test runs alone
    with pytest.raises(SystemExit):
        main(evaluate.STAGE, [*given, "text.width=32", "text.dim=32"])
    assert "text.width" in capsys.readouterr().err
