"""Updates of a tiny shop, day by day: what is read, refused, gone on from and published. Trainings are made up here."""

import json
import shutil
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipelines import prepare
from pipelines.update import command, day, steps
from pipelines.update.folders import due, folder_of
from ppm_tf.config import load
from ppm_tf.daily import UpdateManifest
from ppm_tf.workspace import Recipe, Workspace
from tests.daily.made_up import rows as scored

FIRST = date(2024, 1, 1)
SHOP = [
    "data.by_day=true", "data.users=150", "data.items=120", "data.days=10", "data.requests_per_user=30", "data.shards=2", "data.history_length=8",
    "data.candidates=5", "model.backbone.name=din", "update.start_days=3", "update.keep_days=5", "gate.min_rows=100", "gate.min_positives=20",
    "gate.slices=[all]", "gate.resamples=20",
]  # fmt: skip
SEEDS = {"candidate": 1, "live": 1}


def served(number):
    """The day on which the log of day `number` is the newest."""
    return FIRST + timedelta(number + 1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    prepare.prepare_days(load([f"run={folder}", *SHOP, f"day={FIRST + timedelta(3)}"]), Workspace(folder))
    return folder


@pytest.fixture
def run(shop, tmp_path, monkeypatch):
    """A run folder of its own over the same raw files, its first four days prepared, with trainings that take no time."""
    folder = tmp_path / "run"
    for name in ("raw", "days"):
        shutil.copytree(shop / name, folder / name)
    for made_by in folder.glob("days/*/made_by.yaml"):  # as if these had been prepared from the copy
        made_by.write_text(made_by.read_text().replace(f"{shop}/", f"{folder}/"))
    of_model = {"candidate": {}, "live": {"seed": 0}}

    def train(update):
        made = Recipe({"plan": [str(part) for part in update.plan.train]}, parents={"data": update.workspace.id("data")})
        with update.workspace.commit(update.model, made) as artifact:
            (artifact / "weights").write_text("1")

    def export(config, workspace, judge=None):
        base = folder / "exports" / config.model.folder
        number = max((int(path.name) for path in base.glob("[0-9]*")), default=0) + 1
        (base / str(number) / "assets.extra").mkdir(parents=True)
        about = {"trained": workspace.id(f"models/{config.model.folder}"), "tables_only": False}
        (base / str(number) / "assets.extra" / "export.json").write_text(json.dumps(about))
        return base / str(number)

    fakes = {
        "vectors": lambda update: None, "pretrain": lambda update: None, "train": train, "described": lambda update: {},
        "moved_tables": lambda update: [], "frequencies": lambda update, users: (np.zeros(100), np.zeros(len(users))),
        "candidate_scores": lambda update: scored(**of_model["candidate"]),
        "live_scores": lambda update: scored(**of_model["live"]) if update.before else None,
    }  # fmt: skip
    for name, fake in fakes.items():
        monkeypatch.setattr(steps, name, fake)
    monkeypatch.setattr(day, "export", export)
    monkeypatch.setattr(steps.GoldenGate, "__call__", lambda gate, version: None)
    return Run(folder, of_model)


class Run:
    """A run folder, and the command on it."""

    def __init__(self, folder, of_model):
        self.folder, self.of_model = folder, of_model

    def update(self, *arguments):
        """The exit code of the command."""
        try:
            command.main([f"run={self.folder}", *SHOP, *arguments])
        except SystemExit as ended:
            return ended.code
        return 0

    def day(self, number, *arguments):
        return self.update(f"day={served(number)}", *arguments)

    def manifest(self, number):
        return UpdateManifest.read(folder_of(load([f"run={self.folder}"]), served(number)) / "manifest.json")

    def log(self, number):
        return self.folder / "raw" / f"day={FIRST + timedelta(number)}" / "interactions.parquet"

    def change(self, number, how):
        table = how(pq.read_table(self.log(number)))
        pq.write_table(table, self.log(number))

    def versions(self):
        return sorted(int(path.name) for path in (self.folder / "exports").glob("*/[0-9]*"))


def with_column(table, name, values):
    return table.set_column(table.schema.get_field_index(name), name, values)


def without_half_of_the_labels(table):
    gone = pa.array(np.arange(len(table)) % 2 == 0)
    for task in ("click", "order", "cart"):
        table = with_column(table, task, pc.if_else(gone, pa.scalar(0, pa.int32()), table.column(task)))
    return table


POISONS = {
    "half the labels are gone": (without_half_of_the_labels, "positives a label, over those of the days before"),
    "ids of another catalog": (
        lambda table: with_column(table, "item_id", pc.add(table.column("item_id"), 10**9)), "unknown item|must be known|of another catalog",
    ),
    "times in milliseconds": (lambda table: with_column(table, "time", pc.multiply(table.column("time"), 1000)), "time"),
    "delivered twice": (lambda table: pa.concat_tables([table, table]), "share of log rows that repeat another|log rows, over those of"),
}  # fmt: skip


def test_days_are_published_one_after_the_other(run, capsys):
    shutil.rmtree(run.folder / "days")  # the first update prepares them all
    assert [run.day(number) for number in (3, 4)] == [0, 0]
    first, second = run.manifest(3), run.manifest(4)
    assert (first.status, first.version, second.version) == ("published", 1, 2)
    assert first.window["held out"] == [f"{FIRST + timedelta(3)} tail"]
    assert second.window["ranker"] == [f"{FIRST + timedelta(3)} tail", f"{FIRST + timedelta(4)} head"]
    assert second.started == first.day and second.learnt["ranker"] == str(FIRST + timedelta(4))
    assert first.verdict.no_live and not second.verdict.no_live
    assert (run.folder / "index.html").is_file() and (folder_of(load([f"run={run.folder}"]), served(4)) / "card" / "card.html").is_file()
    assert f"{served(4)}: published, version 2 of din-finetune" in capsys.readouterr().out


def test_days_that_were_prepared_by_hand_are_taken_as_they_are(run):
    config = load([f"run={run.folder}", *SHOP, f"day={FIRST + timedelta(4)}"])
    prepare.prepare_days(config, Workspace(run.folder))
    assert [run.day(4), run.day(5)] == [0, 0]
    assert set(run.manifest(4).inputs) == {str(FIRST + timedelta(number)) for number in (2, 3, 4)} and all(run.manifest(4).inputs.values())


def test_a_day_that_was_done_is_not_done_again(run, capsys):
    run.day(3)
    before = sorted((path, path.stat().st_mtime_ns) for path in run.folder.rglob("*") if path.is_file() and ".state" not in path.parts)
    assert run.day(3) == command.NOTHING_TO_DO
    assert "published, version 1 of din-finetune (done before)" in capsys.readouterr().out
    assert before == sorted((path, path.stat().st_mtime_ns) for path in run.folder.rglob("*") if path.is_file() and ".state" not in path.parts)


def test_several_days_are_caught_up_with_in_order(run):
    assert run.update(f"from={served(3)}", f"to={served(5)}") == 0
    assert [run.manifest(number).status for number in (3, 4, 5)] == ["published"] * 3
    assert run.versions() == [1, 2, 3]


def test_a_day_that_is_not_there_yet_is_waited_for(run, capsys):
    shutil.rmtree(run.log(4).parent)
    run.day(3)
    assert run.day(4) == command.NOTHING_TO_DO
    out = capsys.readouterr().out
    assert "nothing to do" in out and "Remedy: wait for them, and run the same command again" in out
    assert not folder_of(load([f"run={run.folder}"]), served(4)).exists()


def test_a_folder_without_any_day_is_an_error_and_not_waited_for(tmp_path, capsys):
    (tmp_path / "log").mkdir()
    columnar = ["data.source=columnar", f"data.path={tmp_path / 'log'}", "data.log.files=day={day}/log.parquet", "data.log.time=time"]
    with pytest.raises(SystemExit) as ended:
        command.main([f"run={tmp_path / 'run'}", *columnar, "data.requests=bursts", "model.ppm=none", "day=2024-01-05"])
    assert ended.value.code == 1
    assert "data.log.files must name files of some day. Received: day={day}/log.parquet, which matches none" in capsys.readouterr().err


def test_a_missing_day_before_one_that_is_there_is_waited_for_or_passed_over(run):
    run.log(4).unlink()
    run.day(3)
    assert run.day(5) == command.NOTHING_TO_DO
    assert run.day(5, "update.missing_days=pass_over") == 0
    assert run.manifest(5).window["ranker"] == [f"{FIRST + timedelta(3)} tail", f"{FIRST + timedelta(5)} head"]


@pytest.mark.parametrize("poison", POISONS)
def test_a_poisoned_day_is_refused_and_the_next_one_publishes_without_it(run, poison, capsys):
    how, reason = POISONS[poison]
    assert run.day(3) == 0
    run.change(4, how)
    assert run.day(4) == command.REFUSED_BY_GATE
    refused = run.manifest(4)
    assert refused.status == "refused" and refused.version is None
    assert any(part in refused.reason.lower() for part in reason.split("|")), refused.reason
    assert refused.reason.split(".")[0] in capsys.readouterr().out.replace("\n", " ")
    assert run.versions() == [1]
    assert run.day(5) == 0
    good = run.manifest(5)
    assert good.status == "published" and good.started == run.manifest(3).day
    assert good.window["ranker"] == [f"{FIRST + timedelta(3)} tail", f"{FIRST + timedelta(5)} head"]


def test_a_refused_day_stays_refused_until_its_log_is_mended(run):
    run.day(3)
    whole = run.log(4).read_bytes()
    run.change(4, without_half_of_the_labels)
    assert [run.day(4), run.day(4)] == [command.REFUSED_BY_GATE] * 2
    run.log(4).write_bytes(whole)
    assert run.day(4) == 0
    assert run.manifest(4).version == 2


def test_rows_that_are_not_believed_enter_no_history(run, tmp_path):
    run.day(3)
    run.change(4, without_half_of_the_labels)
    run.day(4)
    states = [run.folder / "days" / str(FIRST + timedelta(number)) / "state" / "histories" for number in (3, 4)]
    files = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in states]
    assert files[0] == files[1] != {}


def test_labels_that_do_not_belong_to_their_rows_are_found_by_the_live_model(run):
    run.day(3)
    run.of_model["live"] = {"shuffled": True}
    assert run.day(4) == command.REFUSED_BY_GATE
    assert "The live model, which has not changed, ranks the day's rows far worse" in run.manifest(4).reason
    assert not run.manifest(4).trained
    run.of_model["live"] = {}
    assert run.day(5) == 0


def test_a_worse_version_is_refused_and_not_gone_on_from(run):
    run.day(3)
    run.of_model["candidate"] = {"noise": 3.0}
    assert run.day(4) == command.REFUSED_BY_GATE
    refused = run.manifest(4)
    assert "Change of AUC against the live model (click, all) must be at least -0.002" in refused.reason and refused.trained
    run.of_model["candidate"] = {}
    assert run.day(5) == 0
    # what the refused day holds is learnt by nobody, its history stays
    assert run.manifest(5).window["ranker"] == [f"{FIRST + timedelta(3)} tail", f"{FIRST + timedelta(5)} head"]
    assert run.manifest(5).parents == {} and run.manifest(5).started == run.manifest(3).day


def test_a_refused_version_passes_by_hand_with_its_reason(run):
    run.day(3)
    run.of_model["candidate"] = {"noise": 3.0}
    run.day(4)
    assert run.day(4, f"gate.override='{served(4)}: the schema has changed, as was agreed'") == 0
    passed = run.manifest(4)
    assert passed.version == 2 and passed.verdict.override == "the schema has changed, as was agreed" and passed.verdict.failed


def test_a_version_that_passes_under_other_bounds_is_gone_on_from(run):
    run.day(3)
    run.of_model["candidate"] = {"noise": 3.0}
    assert run.day(4) == command.REFUSED_BY_GATE
    run.of_model["candidate"] = {}
    assert run.day(4, "gate.min_rows=101") == 0
    assert run.day(5) == 0
    assert run.manifest(5).window["ranker"] == [f"{FIRST + timedelta(4)} tail", f"{FIRST + timedelta(5)} head"]


def test_a_version_that_was_rolled_back_has_no_children(run):
    from serving.publish import rollback

    run.update(f"from={served(3)}", f"to={served(4)}")
    base = run.folder / "exports"
    for number in (1, 2):
        version = base / "din-finetune" / str(number)
        (version / "variables").mkdir()
        for name in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
            (version / name).write_text("x")
        (version / "assets.extra" / "tf_serving_warmup_requests").write_text("x")
        (version / "assets.extra" / "golden.json").write_text('{"inputs": {}, "outputs": {}}')
    rollback(base, "din-finetune")
    assert run.day(5) == 0
    assert run.manifest(5).window["ranker"][0] == f"{FIRST + timedelta(3)} tail"


def test_old_days_and_updates_go_but_for_what_is_live_and_the_manifests(run):
    assert run.update(f"from={served(2)}", f"to={served(8)}", "serve.keep=2") == 0
    for number in (1, 2, 3, 4):  # as `serving.publish` removes versions beyond serve.keep
        shutil.rmtree(run.folder / "exports" / "din-finetune" / str(number))
    assert run.day(9) == 0
    kept = [FIRST + timedelta(number) for number in range(5, 10)]
    assert [path.name for path in sorted((run.folder / "days").iterdir())] == [str(one) for one in kept]
    updates = sorted((run.folder / "updates").iterdir())
    assert len(updates) == 8 and all((one / "manifest.json").is_file() and (one / "card").is_dir() for one in updates)
    whole = [one.name for one in updates if (one / "models").is_dir()]
    assert whole == [str(served(number)) for number in (4, 5, 6, 7, 8, 9)]


def test_a_refusal_that_a_kill_cut_off_is_the_same_afterwards(run, monkeypatch):
    run.day(3)
    run.change(4, without_half_of_the_labels)
    with monkeypatch.context() as patched:
        patched.setattr(day, "write_reports", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            day.update_day(load([f"run={run.folder}", *SHOP]), served(4))
    assert run.day(4) == command.REFUSED_BY_GATE
    assert "positives a label, over those of the days before" in run.manifest(4).reason.lower()


def test_from_scratch_learns_from_the_last_days_anew(run):
    run.day(3)
    assert run.day(4, "--from-scratch") == 0
    anew = run.manifest(4)
    assert anew.started == anew.day and set(anew.window) == {"ppm", "ranker", "held out"}
    assert {part.split()[0] for part in (*anew.window["ppm"], *anew.window["ranker"])} == {str(FIRST + timedelta(number)) for number in (2, 3, 4)}


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, ((), False)),
        (1, (("encoders/aligned",), False)),
        (3, (("encoders/aligned",), True)),
        (7, (("encoders/adapted", "encoders/text", "encoders/aligned"), False)),
        (10, (("encoders/text", "encoders/bow", "encoders/image", "encoders/aligned"), False)),
    ],
)
def test_what_is_trained_anew_follows_its_own_cadence(number, expected):
    """CELA, section 5.7: DAP weekly, ROMA daily."""
    cadence = "update.cadence={adapt: 7, align: 1, embed: 3, finetune: 10}"
    assert due(load([cadence]), FIRST + timedelta(number), FIRST) == expected
    assert due(load([]), FIRST + timedelta(number), FIRST) == ((), False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], r"An update needs day=YYYY-MM-DD, or from=YYYY-MM-DD and to=YYYY-MM-DD"),
        (["from=2024-01-04"], "An update needs day"),
        (["from=2024-01-04", "to=2024-01-03"], "to must not lie before from"),
        (["from=2024-01-04", "to=soon"], "from and to must be days"),
        (["day=2024-01-05", "model.warm_start=x"], "model.warm_start is set by the update itself"),
        (["day=2024-01-05", "model.backbone.name=p5", "model.ppm=none"], "publishes a model of ids"),
    ],
)
def test_settings_that_no_update_can_come_of_are_refused_first(tmp_path, capsys, arguments, message):
    import re

    with pytest.raises(SystemExit) as ended:
        command.main([f"run={tmp_path}", *SHOP, *arguments])
    assert ended.value.code == 2 and re.search(message, capsys.readouterr().err)
