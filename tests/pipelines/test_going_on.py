"""Two days by the command lines: PPM and the ranking model go on from yesterday's, over a catalog and vocabularies that have grown."""

import json
import shutil

import numpy as np
import pytest

from pipelines import embed, evaluate, prepare, pretrain, train
from pipelines.stage import main
from ppm_tf.data.sample_counts import SampleCounts, count_samples
from ppm_tf.data.samples import find_shards
from ppm_tf.data.schema import Schema
from ppm_tf.rows import FIRST_ROW
from ppm_tf.workspace import Workspace
from tests.pipelines.test_export_new_values import write_shop
from tests.pipelines.test_train import weights_of

SETTINGS = [
    "data={source: columnar, requests: single, shards: 1, history_length: 4, split: {by: time, valid: 0.1, test: 0.2}}",
    "data.items={id: item_id, text: [title], fields: {brand: brand}}",
    "data.users={id: user_id, fields: {city: city}}",
    "data.log={user: user_id, item: item_id, time: time, labels: {click: click}, context: {device: device}}",
    "text.encoder=bag_of_words", "text.dim=8", "ppm.tables=[title]", "ppm.width=8", "ppm.num_heads=2", "ppm.mlp_units=[8]", "ppm.splits=[train]",
    "ppm.num_encoder_layers=1", "ppm.num_decoder_layers=1", "ppm.similarity_heads=0",
    "model.backbone={name: din, mlp_units: [8], attention_units: [4]}", "model.name=shop", "model.dim=4", "evaluate.bootstrap=20",
    *(f"{section}.{setting}" for section in ("train", "model.train")
      for setting in ("batch_size=16", "warmup=0", "cooldown=0", "validate_every=100000", "keep_optimizer=true")),
]  # fmt: skip


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    """The first day's run, and the second day's, which went on from it with the same encoder."""
    folder = tmp_path_factory.mktemp("days")
    arguments = [f"run={folder / 'second'}", *SETTINGS, f"data.path={folder / 'raw'}"]
    write_shop(folder / "raw", 12, ["paris", "rome"], ["desk", "phone"], ["ace", "bolt"])
    main(train.STAGE, arguments)
    shutil.copytree(folder / "second", folder / "first")
    write_shop(folder / "raw", 20, ["aachen", "paris", "rome", "zagreb"], ["car", "desk", "phone", "watch"], ["aaa", "ace", "bolt", "zzz"])
    arguments += [
        f"ppm.warm_start={folder / 'first/ppm'}", "ppm.warm_start_optimizer=true",
        f"model.warm_start={folder / 'first/models/shop'}", "model.warm_start_optimizer=true", "model.warm_start_ppm=average",
    ]  # fmt: skip
    for stage in (prepare.STAGE, embed.STAGES["title"], pretrain.STAGE, train.STAGE):
        main(stage, arguments)
    return Workspace(folder / "first"), Workspace(folder / "second"), arguments


def steps_of(workspace, artifact):
    with np.load(workspace.path(artifact) / "optimizer.npz") as file:
        return int(file["steps"]), {name: file[name].shape for name in file}


def test_the_second_day_goes_on_from_the_first(days):
    first, second, _ = days
    for artifact in ("ppm", "models/shop"):
        (earlier, shapes), (later, grown) = (steps_of(one, artifact) for one in (first, second))
        steps = json.loads((second.path(artifact) / "summary.json").read_text())["steps"]
        assert later == earlier + steps and steps > 0
        larger = [name for name in grown if name in shapes and grown[name][:1] > shapes[name][:1]]
        assert bool(larger) == (artifact == "models/shop") and all("embeddings." in name for name in larger)


def test_a_model_counts_all_that_it_has_met(days):
    """So that an id that comes once a day is admitted in the end; the same samples again count once."""
    first, second, arguments = days
    counts = [SampleCounts.read(one.path("models/shop")) for one in (first, second)]
    files = find_shards(second.path("data") / "samples", ["train"])
    own = count_samples(files, Schema.read(second.path("data") / "schema.json"), len(counts[1].exposures))
    was = dict(zip(counts[0].item_id.tolist(), counts[0].exposures[FIRST_ROW:].tolist(), strict=True))
    earlier = [was.get(item, 0) for item in counts[1].item_id.tolist()]
    assert sum(earlier) > 0 and 0 in earlier
    np.testing.assert_array_equal(counts[1].exposures[FIRST_ROW:], own.exposures[FIRST_ROW:] + earlier)
    np.testing.assert_array_equal(
        counts[1].requests_of(counts[1].user_id), own.requests_of(counts[1].user_id) + counts[0].requests_of(counts[1].user_id)
    )
    main(train.STAGE, [*arguments, f"model.warm_start={second.path('models/shop')}", "model.name=again"])
    again = SampleCounts.read(second.path("models/again"))
    np.testing.assert_array_equal(again.exposures, own.exposures)


def test_item_vectors_are_seen_by_the_scales_of_the_first_day(days):
    """Though the catalog is another: PPM's, and those of PPM in the ranking model."""
    first, second, _ = days
    scales = [
        {name: value for name, value in weights_of(file).items() if name.endswith(("vars/mean", "vars/scale"))}
        for file in (one.path(path) for path in ("ppm/ppm.weights.h5", "models/shop/ranking.weights.h5") for one in (first, second))
    ]
    for mine, theirs in (scales[:2], scales[2:]):
        assert mine.keys() == theirs.keys() and len(mine) >= 2
        assert all(np.array_equal(mine[name], theirs[name]) for name in mine)


def test_an_unchanged_recipe_is_up_to_date(days, caplog):
    _, second, arguments = days
    caplog.set_level("INFO")
    before = [(second.path(name) / "summary.json").stat().st_mtime_ns for name in ("ppm", "models/shop")]
    main(train.STAGE, arguments)
    main(pretrain.STAGE, arguments)
    main(evaluate.STAGE, arguments)
    assert [(second.path(name) / "summary.json").stat().st_mtime_ns for name in ("ppm", "models/shop")] == before
    assert sum("is up to date" in record.getMessage() for record in caplog.records) == 2


def test_the_earlier_artifact_is_an_input(days):
    first, second, _ = days
    for artifact, name in (("ppm", "ppm.weights.h5"), ("models/shop", "ranking.weights.h5")):
        assert str(first.path(artifact) / name) in second.made_by(artifact)["inputs"]
        assert str(first.path(artifact) / "optimizer.npz") in second.made_by(artifact)["inputs"]


def test_settings_that_change_nothing_are_in_no_recipe(days):
    first, _, _ = days
    unused = {"warm_start_optimizer", "warm_start_ppm_share", "warm_start_part"}
    assert not unused & {*first.made_by("ppm")["settings"]["ppm"], *first.made_by("models/shop")["settings"]["model"]}


@pytest.mark.parametrize(
    ("stage", "more", "message"),
    [
        (pretrain.STAGE, ["ppm.mlp_units=[4]"], "must be a PPM of the same network. Received: {first}/ppm, where ppm.mlp_units was [8] and is [4]."),
        (pretrain.STAGE, ["ppm.warm_start=/not/there"], "ppm.warm_start must be a folder that is there. Received: /not/there."),
        (
            train.STAGE,
            ["model.warm_start={bare}", "model.name=other"],
            "model.warm_start_optimizer needs the optimiser's state beside the weights of model.warm_start. Received: no optimizer.npz in {bare}.",
        ),
        (
            pretrain.STAGE,
            ["ppm.warm_start={other}"],
            "{other} must read vectors of the encoders that it was trained on. Received: the table title was",
        ),
    ],
)
def test_what_cannot_be_gone_on_from_is_refused_before_it_is_trained(days, tmp_path, capsys, stage, more, message):
    first, second, arguments = days
    bare, other, copy = tmp_path / "bare", tmp_path / "other", tmp_path / "run"
    shutil.copytree(first.path("models/shop"), bare)
    (bare / "optimizer.npz").unlink()
    shutil.copytree(first.path("ppm"), other)
    made_of = json.loads((other / "made_of.json").read_text())
    (other / "made_of.json").write_text(json.dumps({**made_of, "tables": {"title": "another"}}))
    shutil.copytree(second.folder, copy, ignore=shutil.ignore_patterns("ppm") if stage is pretrain.STAGE else None)
    names = {"first": first.folder, "bare": bare, "other": other}
    with pytest.raises(SystemExit):
        main(stage, [*arguments, f"run={copy}", *(one.format(**names) for one in more)])
    assert message.format(**names) in capsys.readouterr().err
    assert not list((copy / ".state").glob("work-*/checkpoints"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["ppm.warm_start_optimizer=true"], "warm_start_optimizer goes on from warm_start. Received: warm_start_optimizer: true, warm_start: null"),
        (
            ["model.warm_start_optimizer=true"],
            "goes on from an earlier ranking model, all of it. Received: warm_start_optimizer: true, warm_start: null",
        ),
        (["model.warm_start=x", "model.warm_start_part=ids", "model.warm_start_optimizer=true"], "warm_start: x, warm_start_part: ids"),
        (["model.warm_start_ppm=average", "model.ppm=random"], "needs a pre-trained PPM, ppm: frozen or finetune. Received: ppm: random"),
        (["model.backbone.name=ptab", "model.ppm=none", "model.train.keep_optimizer=true"], "Received: train.keep_optimizer: true"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(capsys, more, message):
    with pytest.raises(SystemExit) as stopped:
        main(train.STAGE, more)
    assert stopped.value.code == 2 and message in capsys.readouterr().err
