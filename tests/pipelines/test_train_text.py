"""Text models through the command line: trained, reloaded, scored and reported, on a shop of a few users."""

import json

import numpy as np
import pytest

from pipelines import evaluate
from pipelines.benchmark import costs
from pipelines.stage import main
from ppm_tf.config import load
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


def test_what_is_served_is_counted_and_timed(shop):
    """Each model scores the same requests; of a model of ids what the folded table holds counts, of one of texts all of its language model."""
    main(evaluate.STAGE, [f"run={shop.folder}", *SHOP, "model.backbone.name=ctr_bert"])
    main(evaluate.STAGE, [f"run={shop.folder}", *SHOP, "model.backbone.name=din", "model.tables=[bow]"])
    chosen = (["model.backbone.name=din", "model.tables=[bow]"], ["model.backbone.name=ctr_bert"])
    (din, ctr_bert), about = costs.time_together([load([f"run={shop.folder}", *SHOP, *more]) for more in chosen])
    assert len(din.milliseconds) == len(ctr_bert.milliseconds) == 7 and min(din.milliseconds + ctr_bert.milliseconds) > 0
    assert (
        about.startswith("batches of 32 requests with 4 candidates and 4 behaviors at most, the same")
        and "took turns: the median of 7 rounds; " in about
    )
    summaries = {name: json.loads((shop.path(f"models/{name}") / "summary.json").read_text()) for name in ("din-bow", "ctr_bert")}
    projection = 16 * 16 + 16 + 16  # dense layer, and what stands for an item without a vector
    assert din.weights == summaries["din-bow"]["trainable_weights"] - projection and din.cached_values == 42 * 16
    assert ctr_bert.cached_values == 0 and ctr_bert.weights == summaries["ctr_bert"]["trainable_weights"]


def test_what_a_training_cost_lies_in_the_artifact(shop):
    main(evaluate.STAGE, [f"run={shop.folder}", *SHOP, "model.backbone.name=ptab", "model.backbone.mlm.max_step=4"])
    summary = json.loads((shop.path("models/ptab") / "summary.json").read_text())
    assert summary["examples"] == 4 * 16 and summary["mlm_examples"] == 4 * 16 and summary["seconds"] > 0 and summary["mlm_seconds"] > 0
    assert summary["trainable_weights"] - summary["language_weights"] == 16 * 128 + 128 + 128 * 3 + 3 and summary["id_table_weights"] == 0


def test_the_language_model_is_part_of_what_a_model_is_made_of(shop, capsys):
    given = [f"run={shop.folder}", *SHOP, "model.backbone.name=ctr_bert"]
    main(evaluate.STAGE, given)  # which is there already, unless this test runs alone
    with pytest.raises(SystemExit):
        main(evaluate.STAGE, [*given, "text.width=32", "text.dim=32"])
    assert "text.width" in capsys.readouterr().err
