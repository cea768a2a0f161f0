"""Days of the small shop through the command line, and the stages on a data set made of them."""

import json
import logging
import re
from datetime import date, timedelta

import pytest

from pipelines import evaluate, export, prepare
from pipelines.stage import main
from ppm_tf.config import load
from ppm_tf.data.preparation.view import write_view
from ppm_tf.workspace import Workspace
from tests.day_logs import digests, in_words
from tests.raw_logs import read_samples

FIRST = date(2024, 1, 1)
SHOP = [
    "data.by_day=true", "data.users=200", "data.items=120", "data.days=4", "data.requests_per_user=8", "data.shards=2", "data.history_length=8",
    "data.candidates=5",
]  # fmt: skip


def run_days(folder, day, *more):
    main(prepare.STAGE, [f"run={folder}", f"day={day}", *SHOP, *more], prepare.by_days)


def day(number):
    return FIRST + timedelta(number)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("days") / "run"
    run_days(folder, day(3))
    return Workspace(folder)


def test_every_day_up_to_the_one_asked_for_is_an_artifact(run):
    assert prepare.prepared_days(run) == [day(number) for number in range(4)]
    for number in range(4):
        made = run.made_by(f"days/{day(number)}")
        assert made["parents"] == ({f"days/{day(number - 1)}": run.id(f"days/{day(number - 1)}")} if number else {})
        inputs = {path.split("/")[-2] + "/" + path.split("/")[-1] for path in made["inputs"]}
        assert inputs == {f"day={day(number)}/{name}.parquet" for name in ("interactions", "items", "queries")} | {"raw/users.parquet"}
        assert made["settings"]["update"] == {"held_out_hours": 3.0}
    assert not list((run.folder / ".state").glob("new-*"))


def test_days_asked_for_one_by_one_are_the_same(run, tmp_path):
    for number in (0, 2, 3):
        run_days(tmp_path / "run", day(number))
    assert prepare.prepared_days(Workspace(tmp_path / "run")) == [day(number) for number in range(4)]
    expected, found = digests(run.folder / "days"), digests(tmp_path / "run" / "days")
    assert found == expected


def test_requests_are_those_of_the_log_as_a_whole(run, tmp_path):
    main(prepare.STAGE, [f"run={tmp_path / 'run'}", *SHOP], prepare.by_days)
    data = tmp_path / "run" / "data"
    expected = [one for split in ("pretrain", "train", "valid", "test") for one in read_samples(data / "samples" / split)]
    found = [one for number in range(4) for half in ("head", "tail") for one in read_samples(run.path(f"days/{day(number)}") / "samples" / half)]
    assert len(found) > 1000 and in_words(run.path(f"days/{day(3)}"), found) == in_words(data, expected)


def test_days_that_are_there_stay(run, caplog):
    before = digests(run.folder)
    with caplog.at_level(logging.INFO):
        run_days(run.folder, day(2))
    assert f"days/{day(2)} is up to date" in caplog.text and digests(run.folder) == before


@pytest.mark.parametrize(
    ("more", "match"),
    [
        (["data.users=201"], r"days/2024-01-04 was made otherwise: data\.users was 200, and 201 is asked for now"),
        (["data.history_length=9"], r"2024-01-05: A day must be prepared by the settings of the days before it\. Received: data\.history_length=9"),
        ([], r"2024-01-05: data\.log\.files must name files of the day.*4 days from 2024-01-01 to 2024-01-04"),
        (["day=2023-12-31"], r"day must be the first day of the log or a later one\. Received: 2023-12-31; the first is 2024-01-01"),
    ],
)
def test_refusals_end_with_one_sentence(run, capsys, more, match):
    with pytest.raises(SystemExit) as found:
        run_days(run.folder, day(5), *more)
    assert found.value.code == 1
    assert re.search(match, capsys.readouterr().err)
    assert prepare.prepared_days(run)[-1] == day(3)


def test_a_log_that_is_not_by_day(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_days(tmp_path, day(0), "data.by_day=false")
    assert "day=2024-01-01 needs a log by days. Received: data.log.files=interactions.parquet" in capsys.readouterr().err


def test_help_tells_of_days(capsys):
    main(prepare.STAGE, ["--help"], prepare.by_days)
    said = capsys.readouterr().out
    assert "day = null" in said and "update.held_out_hours = 3.0" in said and "data.by_day=true day=2024-01-07" in said


UPDATE = [
    "text.dim=8", "text.vocabulary=200", "ppm.tables=[bow]", "ppm.width=8", "ppm.num_heads=2", "ppm.num_encoder_layers=1", "ppm.num_decoder_layers=1",
    "ppm.mlp_units=[8]", "train.max_step=10", "train.steps_per_loop=5", "model.train.max_step=10", "model.train.steps_per_loop=5",
    "model.tables=[bow]", "model.ppm=frozen", "model.name=din", "model.backbone={name: din, mlp_units: [8], attention_units: [4]}",
    "evaluate.bootstrap=0",
]  # fmt: skip


@pytest.mark.slow
def test_every_stage_takes_a_view_for_its_data(run):
    arguments = [f"run={run.folder / 'updates' / '2024-01-05'}", *SHOP, *UPDATE]
    config = load(arguments)
    update = Workspace(config.run)
    with update.commit("data", prepare.STAGE.recipe(config, update)) as folder:
        write_view(run.path("days"), [(day(0), "tail"), (day(1), "head")], [(day(1), "tail"), (day(2), "head")], [(day(3), "tail")], day(3), folder)
    made = update.id("data")
    export.main(arguments)
    assert update.id("data") == made
    for name in ("tables/bow", "ppm", "models/din"):
        assert update.exists(name), name
    about = json.loads((update.folder / "exports/din/1/assets.extra/export.json").read_text())
    assert about["items"] == 120 and about["tasks"] == ["click", "order", "cart"]
    main(evaluate.STAGE, arguments)
    assert update.exists("reports/din")
