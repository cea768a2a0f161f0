"""CTRL's two stages on a small shop, through the command line."""

import json

import numpy as np
import pytest

from pipelines import train
from pipelines.align import interactions
from pipelines.stage import main
from ppm_tf.config import load
from ppm_tf.evaluation import read_metrics
from ppm_tf.models.inputs import Inputs
from ppm_tf.models.ranking_files import load_ranking_model
from ppm_tf.workspace import Workspace
from tests.pipelines.small_shop import SETTINGS, copy_shop

RANKER = ["model.backbone={name: din, mlp_units: [32, 16], attention_units: [16]}", "model.train.learning_rate=3e-3", "model.train.max_step=1"]
ALIGN = ["text.interactions.batch_size=64", "text.interactions.epochs=2"]


@pytest.fixture(scope="module")
def shop(small_shop, tmp_path_factory):
    """The shop with an aligned ranking model, in a folder of its own."""
    workspace = Workspace(tmp_path_factory.mktemp("interactions") / "shop")
    copy_shop(small_shop, workspace)
    main(interactions.STAGE, arguments(workspace))
    return workspace


def arguments(workspace, *more):
    return [f"run={workspace.folder}", *SETTINGS, *RANKER, *ALIGN, *more]


def test_texts_find_their_interactions_more_often_than_by_chance(shop):
    found = {(one.model, one.metric): one.value for one in read_metrics(shop.path("interactions/din") / "metrics.jsonl")}
    assert found["after", "recall_at_1"] > 3 * found["after", "chance"]
    assert found["after", "loss"] < found["before", "loss"]
    assert shop.made_by("interactions/din")["parents"].keys() == {"data", "encoders/text"}
    summary = json.loads((shop.path("interactions/din") / "summary.json").read_text())
    assert summary["examples"] == 64 * summary["steps"] and summary["seconds"] > 0
    assert 0 < summary["language_weights"] < summary["trainable_weights"] - summary["id_table_weights"]


def test_a_training_goes_on_from_the_aligned_side_alone(shop):
    """After one step of 64 requests most users have the vectors of the alignment; the text is no part of what is trained."""
    more = ["model.ppm=none", "model.warm_start=interactions"]
    main(train.STAGE, arguments(shop, *more))
    config, inputs = load(arguments(shop, *more)), Inputs.read(shop, ())
    aligned, trained = (load_ranking_model(config, inputs, shop.path(name)) for name in ("interactions/din", "models/din-interactions"))
    assert "interactions/din" in shop.made_by("models/din-interactions")["parents"]
    mine, theirs = (np.asarray(model.embedding.embeddings["user.user_id"].table) for model in (aligned, trained))
    same = (mine == theirs).all(axis=1)
    assert 0.5 < same.mean() < 1
    brands = np.asarray(aligned.embedding.embeddings["item.brand"].table)
    np.testing.assert_allclose(brands[1], brands[2:].mean(axis=0), atol=1e-6)  # of a brand that training never met
    first = [np.asarray(model.backbone.head.first.kernel) for model in (aligned, trained)]
    assert 0 < np.abs(first[0] - first[1]).max() < 0.01  # one step of Adam at .003
    assert not [variable.path for variable in trained.variables if "encoder" in variable.path]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["text.encoder=bag_of_words"], "text.encoder must be a language model to be aligned. Received: bag_of_words"),
        (["text.interactions.temperature=0"], "text.interactions.temperature: Input should be greater than 0"),
    ],
)
def test_what_cannot_be_aligned_is_refused_by_name(shop, capsys, more, message):
    with pytest.raises(SystemExit):
        main(interactions.STAGE, arguments(shop, *more))
    assert message in capsys.readouterr().err


def test_what_is_made_is_what_a_training_goes_on_from_whatever_its_splits():
    config = load(["run=r", "model.ppm=none", "model.backbone.name=din", "model.warm_start=interactions", "model.splits=[pretrain,train]"])
    assert config.start == f"r/{interactions.STAGE.artifact(config)}"
    assert interactions.settings(config)["model"]["splits"] == ["pretrain", "train"]


@pytest.mark.parametrize("more", [["model.ppm=random"], ["model.ppm=none", "model.tables=[title]"]])
def test_what_goes_on_from_aligned_ids_is_of_ids_alone(tmp_path, capsys, more):
    with pytest.raises(SystemExit) as stopped:
        main(train.STAGE, [f"run={tmp_path}", "model.warm_start=interactions", *more])
    assert stopped.value.code == 2 and "A ranking model of ids alone is aligned with texts by its interactions" in capsys.readouterr().err
