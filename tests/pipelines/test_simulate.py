"""A simulated month with versions that are made up: arms, their folders, resumption, and the report."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipelines.simulate import command, days, month
from pipelines.simulate.arms import arms_of
from pipelines.simulate.command import of_month
from ppm_tf.config import ConfigError, load
from ppm_tf.workspace import StaleArtifactError, Workspace

ARMS = "simulate.arms={Old: {update: frozen}, New: {control: Old}, Other: {control: New, settings: {model: {backbone: {name: din}, ppm: none}}}}"
SIZES = [
    "data.users=60",
    "data.items=90",
    "data.requests_per_user=8",
    "data.candidates=5",
    "simulate.pool=12",
    "simulate.days=3",
    "online.aa_splits=5",
    "online.groups=2",
]


class Updates:
    """Publishes versions without a model: what a version ranks by is its number's."""

    def __init__(self, refuses=(), fails=None):
        self.made, self.refuses, self.fails = [], refuses, fails

    def __call__(self, config, day):
        arm, number = Path(config.run).name, (day - date(2024, 1, 1)).days
        logs = sorted(path.parent.name for path in Path(config.run, "shop").glob("day=*/interactions.parquet"))
        assert logs[-1] == f"day={date.fromordinal(day.toordinal() - 1)}"  # the log ends the day before
        self.made.append((arm, day.isoformat()))
        if (arm, number) == self.fails:
            raise RuntimeError("killed")
        if (arm, number) in self.refuses:
            return {"status": "refused", "version": None, "reason": "AUC too low."}
        (Path(config.run) / "exports" / config.model.folder / str(number)).mkdir(parents=True, exist_ok=True)
        return {"status": "published", "version": number}


def load_version(path):
    weights = np.random.default_rng([int(path.name), *path.parent.name.encode()]).normal(size=1000)
    return lambda inputs: {"click": weights[inputs["candidate_ids"] % 1000], "order": weights[0]}


def config(folder, *settings):
    return of_month(load([f"run={folder}", "simulate.start_days=2", *SIZES, ARMS, *settings]))


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A month of three days, and which updates it asked for."""
    folder, updates = tmp_path_factory.mktemp("month") / "run", Updates(refuses=[("new", 3)])
    month.run(config(folder), updates, load_version)
    return folder, updates


def about(folder, arm):
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"arms/{arm}/shop/day=*/day.json"))]


def contents(folder):
    """Every file of the arms' days, the exposures and the report, but for seconds and times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        where = str(path.relative_to(folder))
        if path.suffix == ".parquet":
            found[where] = pq.read_table(path)
        elif path.name == "figures.jsonl":
            found[where] = path.read_text()
        elif path.name == "day.json":
            found[where] = {name: value for name, value in json.loads(path.read_text()).items() if not name.endswith("seconds")}
        elif path.name == "histories.npz":
            with np.load(path) as arrays:
                found[where] = {name: arrays[name].tolist() for name in arrays}
    return found


# === Arms ===


def test_who_is_updated_when(lived):
    """The frozen arm takes the first version of the one of equal settings; a refused day goes on with the version before."""
    folder, updates = lived
    assert {arm for arm, _ in updates.made} == {"new", "other"}
    assert [one["version"] for one in about(folder, "old")] == [2, 2, 2]
    assert [one["update"] for one in about(folder, "old")] == [None] * 3
    assert [(one["update"], one["version"]) for one in about(folder, "new")] == [("published", 2), ("refused", 2), ("published", 4)]
    assert [one["version"] for one in about(folder, "other")] == [2, 3, 4]
    assert [one["version"] for one in about(folder, "chance")] == [None] * 3


def test_arms_that_show_the_same_are_answered_the_same(lived):
    folder, _ = lived
    log = lambda arm, day: pd.read_parquet(folder / "arms" / arm / "shop" / f"day=2024-01-0{day}" / "interactions.parquet")
    for day in (1, 2, 3, 4):  # the first days, the first version, the refused day
        assert log("old", day).equals(log("new", day))
    assert not log("old", 5).equals(log("new", 5)) and not log("old", 3).equals(log("other", 3))
    paired = log("old", 5).merge(log("new", 5), on=["request_id", "item_id", "slot"])
    assert len(paired) > 20 and (paired.click_x == paired.click_y).all() and (paired.order_x == paired.order_y).all()
    assert set(log("old", 5).request_id) == set(log("other", 5).request_id)


def test_all_arms_share_the_shop_and_have_their_own_log(lived):
    folder, _ = lived
    arms = {arm.name: arm for arm in arms_of(config(folder))}
    new, other = arms["New"].config, arms["Other"].config
    assert new.data.path == other.data.path == str(folder / "shop") and new.data.items == other.data.items
    assert new.data.log.files == "../arms/new/shop/day={day}/interactions.parquet"
    assert (other.model.backbone.name, other.model.ppm, new.model.backbone.name) == ("din", "none", "urm")
    assert new.update.start_days == 2 and new.serve.base is None
    assert new.gate.label_rate is None and load([]).gate.label_rate is not None


def test_given_bounds_of_the_gate_stay(tmp_path):
    assert config(tmp_path, "gate.label_rate=[0.1, 9]").gate.label_rate == (0.1, 9)


# === Resumption ===


def test_the_same_command_goes_on(lived, tmp_path):
    """Killed before one update, and after a day's files were written in part: the end is that of a month that was not."""
    folder, _ = lived
    run = tmp_path / "run"
    with pytest.raises(RuntimeError, match="killed"):
        month.run(config(run), Updates(refuses=[("new", 3)], fails=("new", 4)), load_version)
    assert not (run / "reports").exists() and not (run / "arms" / "new" / "shop" / "day=2024-01-05").exists()
    half = run / "arms" / "new" / ".state" / "new-shop-day=2024-01-05"
    half.mkdir(parents=True)
    (half / "interactions.parquet").write_bytes(b"half")
    again = Updates(refuses=[("new", 3)])
    month.run(config(run), again, load_version)
    assert ("new", "2024-01-04") not in again.made and ("new", "2024-01-05") in again.made  # a day that was lived is not lived again
    expected, found = contents(folder), contents(run)
    assert set(found) == set(expected)
    assert all(value.equals(found[name]) if hasattr(value, "equals") else value == found[name] for name, value in expected.items())


def test_a_month_that_is_there_is_not_lived_again(lived, monkeypatch):
    folder, _ = lived
    updates = Updates(refuses=[("new", 3)])
    monkeypatch.setattr(days, "live", lambda *a: pytest.fail("lived again"))
    month.run(config(folder), updates, load_version)
    assert not updates.made


def test_more_days_go_on(lived, tmp_path):
    run = tmp_path / "run"
    sizes = ["simulate.arms={A: {}}", "data.requests_per_user=8"]
    month.run(config(run, *sizes, "simulate.days=1"), Updates(), load_version)
    with pytest.raises(StaleArtifactError, match="data.days was 3, and 4 is asked for"):  # visits of other days are other visits
        month.run(config(run, *sizes, "simulate.days=2"), Updates(), load_version)


def test_other_settings_are_refused(lived):
    folder, _ = lived
    with pytest.raises(StaleArtifactError, match="simulate.explore was 0.1, and 0.3 is asked for now"):
        month.run(config(folder, "simulate.explore=0.3"), Updates(), load_version)


def test_a_first_update_must_publish(tmp_path):
    with pytest.raises(RuntimeError, match="must publish a version.* Received: refused of New: AUC too low."):
        month.run(config(tmp_path / "run"), Updates(refuses=[("new", 2)]), load_version)


# === The report ===


def test_the_table_and_the_plot(lived):
    folder, _ = lived
    report = folder / "reports" / "simulate"
    table = (report / "table.md").read_text()
    rows = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")] for line in table.splitlines() if line.startswith("|")}
    assert list(rows)[2:] == ["Old", "New", "Other", "best possible", "chance"]
    assert rows["New"][2] == "2 published, 1 refused" and rows["Other"][4] == "New" and rows["Old"][6] == ""
    assert (report / "days.png").stat().st_size > 10_000
    assert len((report / "days.jsonl").read_text().splitlines()) == 5 * 3


def test_figures_are_those_of_the_logs(lived):
    """UCTR by equation 12, and shares of items that the first days showed little or never, from the arms' logs by pandas."""
    folder, _ = lived
    found = {}
    for line in (folder / "reports" / "simulate" / "figures.jsonl").read_text().splitlines():
        one = json.loads(line)
        found[one["arm"], one["figure"], one["scope"]] = one
    start = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("arms/new/shop/day=2024-01-0[12]/interactions.parquet"))])
    log = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("arms/new/shop/day=2024-01-0[345]/interactions.parquet"))])
    log["day"] = log.time // 86_400
    user_days = log.groupby("day").user_id.nunique().sum()
    value = lambda figure, scope="total": found["New", figure, scope]["ratio"]["value"]
    assert value("UCTR") == pytest.approx(log.click.sum() / user_days) and value("UCVR") == pytest.approx(log.order.sum() / user_days)
    assert value("CTR") == pytest.approx(log.click.mean())
    assert value("new-item share") == pytest.approx((~log.item_id.isin(start.item_id)).mean())
    ids = 1_000_001 + np.arange(90)
    counts = pd.Series(0, ids).add(start.item_id.value_counts(), fill_value=0).sort_values(kind="stable")
    most = counts.iloc[int(0.8 * 90) - 1]
    assert value("long-tail share") == pytest.approx(log.item_id.map(counts).le(most).mean())
    day = log[log.day == log.day.min()]
    assert value("UCTR", "day=2024-01-03") == pytest.approx(day.click.sum() / day.user_id.nunique())


def test_the_report_of_an_experiment_against_each_control(lived):
    """The product's own report has the same figures, popularity of the first days, and the two days before as pre-period."""
    folder, _ = lived
    online = folder / "reports" / "online"
    assert sorted(path.name for path in online.iterdir()) == ["new", "old"]
    mine = {
        (one["arm"], one["figure"], one["scope"]): one
        for one in map(json.loads, (folder / "reports/simulate/figures.jsonl").read_text().splitlines())
    }
    for control, arms in (("old", ("Old", "New")), ("new", ("New", "Other"))):
        lines = [json.loads(line) for line in (online / control / "figures.jsonl").read_text().splitlines()]
        assert {line["bucket"] for line in lines} == set(arms)
        compared = [
            line for line in lines if line["figure"] in ("UCTR", "UCVR", "CTR", "long-tail share", "new-item share") and "group" not in line["scope"]
        ]
        assert len(compared) == 5 * 4 * 2
        for line in compared:
            assert line["value"] == pytest.approx(mine[line["bucket"], line["figure"], line["scope"]]["ratio"]["value"])
        assert "exposures in the training data" in (online / control / "report.md").read_text()


def test_the_lines_lie_where_they_must(lived):
    folder, _ = lived
    totals = {arm: sum(one["expected_clicks"] for one in about(folder, arm)) for arm in ("old", "new", "other", "best-possible", "chance")}
    assert max(totals, key=totals.get) == "best-possible" and totals["best-possible"] > 1.3 * totals["chance"]
    clicks = {arm: sum(one["clicks"] for one in about(folder, arm)) for arm in totals}
    assert all(abs(clicks[arm] - totals[arm]) < 4 * totals[arm] ** 0.5 for arm in totals)


# === Settings ===


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["simulate.arms={A: {control: B}}"], "the control of A must be another arm"),
        (["simulate.arms={A b: {}, a-B: {}}"], "arms must have names that differ in letters or digits, for their folders. Received: A b and a-B"),
        (["simulate.arms={chance: {}}"], "arms must have names of letters or digits, and not best possible or chance"),
        (["simulate.arms={A: {settings: {data.users: 5}}}"], "an arm's settings are of its model and its updates. Received: data"),
        (["simulate.rank_by={click: 0}"], "rank_by must give a task a weight"),
        (["simulate.rank_by={like: 1}"], "simulate.rank_by must name tasks of the shop: click, order, cart. Received: like."),
        (["data.days=9"], "data.days is set by the month.* Received: 9, and 37. Remedy: leave it out."),
        (["data={source: columnar, path: x}"], "A month is simulated with the embedded shop. Received: data.source=columnar."),
        (["simulate.arms={A: {settings: {model.backbone.name: dinn}}}"], "simulate.arms.A: Setting model.backbone"),
    ],
)
def test_settings_that_do_not_go_together(settings, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(settings)
    import re

    assert re.search(message, capsys.readouterr().err)


def test_a_month_has_its_own_sizes():
    found = of_month(load([]))
    assert (found.data.days, found.data.users, found.data.requests_per_user, found.data.by_day) == (37, 4000, 21, True)
    assert of_month(load(["data.users=12000"])).data.users == 12000
    with pytest.raises(ConfigError, match="leave it out"):
        of_month(load(["data.days=3"]))


def test_two_cannot_simulate_in_one_folder(lived, tmp_path):
    import subprocess
    import sys

    folder = tmp_path / "run"
    code = f"from ppm_tf.workspace import Workspace\nwith Workspace({str(folder)!r}).lock('simulate'): print('on', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "on\n"
        with pytest.raises(RuntimeError, match="Another process is making"):
            month.run(config(folder), Updates(), load_version)
        other.communicate("\n")
    assert not Workspace(folder).exists("shop")
