"""The text encoder from the command line, on a shop of a few hundred items: adapted, fine-tuned, kept, and the same as its table."""

import json

import numpy as np
import pytest

from pipelines import adapt, embed, prepare
from pipelines.finetune import image, text
from pipelines.stage import main
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.tables import read_table
from ppm_tf.encoders.saved import load_encoder
from ppm_tf.evaluation import read_metrics
from ppm_tf.training import read_log
from ppm_tf.workspace import Workspace
from tests.raw_logs import write_file

SETTINGS = [
    "data.users=1200", "data.items=200", "data.days=8", "data.requests_per_user=6", "data.candidates=6", "data.shards=2",
    "text.num_layers=1", "text.width=32", "text.num_heads=2", "text.vocabulary=500", "text.dim=16", "text.max_tokens=24",
    "text.training=[adapt,finetune]",
    "text.adapt.epochs=20", "text.adapt.batch_size=32", "text.adapt.steps_per_loop=20", "text.adapt.validate_every=13",
    "text.adapt.valid=0.2", "text.adapt.test=0.2",
    "text.adapt.learning_rate=5e-3", "text.finetune.epochs=3", "text.finetune.batch_size=64", "text.finetune.steps_per_loop=20",
    "text.finetune.learning_rate=3e-3",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text") / "shop"
    main(text.TEXT, [f"run={folder}", *SETTINGS])
    return Workspace(folder)


def figures(path):
    return {(record.model, record.metric): record for record in read_metrics(path / "metrics.jsonl")}


def test_adaptation_lowers_perplexity_below_token_frequencies_and_spreads_the_texts(run):
    found = figures(run.path("encoders/adapted"))
    assert found["after", "perplexity"].value < found["token frequency", "perplexity"].value < found["before", "perplexity"].value
    assert found["after", "uniformity"].value < found["before", "uniformity"].value
    assert found["after", "perplexity"].count > 20
    assert [line for line in read_log(run.path("encoders/adapted") / "train.jsonl") if "valid_loss" in line]
    summary = json.loads((run.path("encoders/adapted") / "summary.json").read_text())
    assert summary["examples"] == 32 * summary["steps"] and summary["seconds"] > 0 and 0 < summary["language_weights"] <= summary["trainable_weights"]


def test_fine_tuning_finds_the_clicked_items(run):
    found = figures(run.path("encoders/text"))
    models = list(dict.fromkeys(model for model, _ in found))
    assert models == ["TF-IDF", "small BERT, before", "small BERT, after"]
    before, after = (found[f"small BERT, {when}", "recall_at_10"] for when in ("before", "after"))
    assert after.low > before.high
    assert before.low < before.value < before.high
    assert 0 < found["TF-IDF", "mrr_at_100"].value < 1


def test_a_table_row_is_the_vector_of_the_encoder(run):
    """To float16 rounding: half a unit in the last place, 2^-11 of the value."""
    main(embed.STAGES["title"], [f"run={run.folder}", *SETTINGS])
    catalog = ItemCatalog.read(run.path("data") / "catalog")
    table = read_table(run.path("tables/title"), catalog)
    encoder = load_encoder(run.path("encoders/text"))
    places = np.flatnonzero([bool(words) for words in catalog.text])
    expected = encoder.encode([catalog.text[place] for place in places])
    np.testing.assert_allclose(table.vectors[places + 2].astype("float32"), expected, rtol=2**-11, atol=2e-5)
    assert table.present.sum() == len(places) < catalog.num_items
    assert table.encoder_version == encoder.version


def test_a_run_again_does_nothing_and_an_encoder_of_this_run_serves_another(run, tmp_path, caplog):
    caplog.set_level("INFO")
    main(adapt.STAGE, [f"run={run.folder}", *SETTINGS])
    main(text.TEXT, [f"run={run.folder}", *SETTINGS])
    assert caplog.text.count("is up to date") == 2
    other = [f"run={tmp_path}", "data.users=50", "data.items=30", "text.encoder=saved", f"text.path={run.path('encoders/text')}"]
    main(text.TEXT, other)
    assert load_encoder(tmp_path / "encoders/text").version == load_encoder(run.path("encoders/text")).version


def test_what_cannot_be_trained_is_refused(tmp_path, capsys):
    small = ["data.users=50", "data.items=30"]
    for arguments, message in (
        ([*small, "text.encoder=bag_of_words"], "text.encoder must be small_bert or preset to be adapted. Received: bag_of_words"),
        ([*small, "text.adapt.test=0.001"], "Adaptation needs at least two texts in each of the train, valid and test parts"),
    ):
        with pytest.raises(SystemExit):
            main(adapt.STAGE, [f"run={tmp_path}", *arguments])
        assert message in capsys.readouterr().err
    catalog_only = tmp_path / "files"
    catalog_only.mkdir()
    (catalog_only / "items.csv").write_text("item_id,title\n1,red shoe\n2,blue lamp\n")
    columns = [f"run={tmp_path / 'csv'}", "data.source=columnar", f"data.path={catalog_only}", "data.items.files=items.csv", "data.log=null"]
    for arguments, message in (
        (
            ["data.items.text=[title]", "text.training=[finetune]"],
            "text.training names finetune, which needs search queries with clicked items. Received: data.queries=null",
        ),
        (["text.training=[finetune]"], "encoders/text needs the texts of the items. Received: data.items.text=[]"),
    ):
        main(prepare.STAGE, [*columns, *arguments])
        with pytest.raises(SystemExit):
            main(text.TEXT, [*columns, *arguments])
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(image.STAGE, columns)
    assert "The table `image` needs the images of the items. Received: data.items.image=null. Remedy: set data.items.image" in capsys.readouterr().err


def test_a_model_that_cannot_be_loaded_is_refused_before_anything_is_made(tmp_path, capsys):
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt" / "config.json").write_text('{"model_type": "opt"}')
    for stage in (text.TEXT, adapt.STAGE):
        with pytest.raises(SystemExit):
            main(stage, [f"run={tmp_path / 'run'}", "text.encoder=preset", f"text.preset={tmp_path / 'opt'}", "text.training=[adapt]"])
        assert "whose config.json says model_type 'opt'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_titles_with_odd_spaces_give_an_encoder_that_loads(tmp_path):
    """No-break spaces become white space when case is folded: pieces made of them could be learnt, but not read from their file."""
    space = "\u00a0"
    titles = [f"red{space}lamp {space} x {space}{space}{space} y {number}" for number in range(120)]
    write_file(tmp_path / "items.parquet", {"item_id": list(range(120)), "title": titles})
    run = tmp_path / "run"
    main(text.TEXT, [
        f"run={run}", "data.source=columnar", f"data.path={tmp_path}", "data.items.text=[title]", "data.log=null", "text.cleaning=none",
        "text.num_layers=1", "text.width=16",
        "text.num_heads=2", "text.vocabulary=100", "text.dim=4", "text.max_tokens=12", "text.adapt.max_step=2", "text.adapt.steps_per_loop=2",
        "text.adapt.simcse_weight=0",
    ])  # fmt: skip
    encoder = load_encoder(run / "encoders" / "text")
    assert (
        encoder.tokenize([titles[0], "red lamp x y 0"])["token_ids"].numpy().tolist()[0]
        == encoder.tokenize(["red lamp x y 0"])["token_ids"].numpy()[0].tolist()
    )
