"""A simulated month with real updates and versions, from the command line: slow."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.simulate import command
from pipelines.simulate.command import of_month
from ppm_tf.config import load
from ppm_tf.data.sources.shop.live import Histories, LiveShop
from ppm_tf.data.sources.shop.policies import exploration

ARMS = "simulate.arms={Frozen: {update: frozen, settings: {model: {backbone: {name: din}, ppm: none}}}, Daily: {control: Frozen, settings: {model: {backbone: {name: din}, ppm: none}}}}"  # fmt: skip  # noqa: E501
SETTINGS = [
    "simulate.days=2", "simulate.start_days=3", "data.users=250", "data.items=150", "data.requests_per_user=20", "data.shards=2",
    "data.history_length=10", "model.train.epochs=4", "model.dim=8", "evaluate.bootstrap=20", "gate.min_rows=200", "gate.min_positives=20",
    "gate.min_auc=0.4", "gate.min_auc_change=-0.2", "gate.max_log_loss_change=0.5", "online.aa_splits=5", "online.groups=2", ARMS,
]  # fmt: skip


@pytest.mark.slow
def test_models_run_the_shop(tmp_path, capsys):
    folder = tmp_path / "run"
    command.main([f"run={folder}", *SETTINGS])
    printed = capsys.readouterr().out
    assert "| Daily " in printed and str(folder / "reports" / "simulate" / "days.png") in printed

    about = {arm: [json.loads(path.read_text()) for path in sorted(folder.glob(f"arms/{arm}/shop/day=*/day.json"))] for arm in ("frozen", "daily")}
    assert [one["update"] for one in about["daily"]] == ["published"] * 2 and [one["version"] for one in about["daily"]] == [1, 2]
    assert [one["version"] for one in about["frozen"]] == [1, 1] and not (folder / "arms" / "frozen" / "updates").exists()

    # What was shown is what the published version ranks highest, under the histories of the day before, in each user's first request.
    config = of_month(load([f"run={folder}", *SETTINGS]))
    shop = LiveShop(config.data, config.simulate.pool)
    requests = shop.requests(3)
    requests = requests.at(requests.turn == 0)
    from serving.in_process import Scorer

    scores = Scorer(Path(folder, "arms", "daily", "exports", "din", "1"))(
        shop.inputs(requests, Histories.load(folder / "shop" / "histories.npz"), -1)
    )
    log = pd.read_parquet(folder / "arms" / "daily" / "shop" / "day=2024-01-04" / "interactions.parquet").set_index(["request_id", "slot"]).item_id
    explores, _ = exploration(shop, requests, 0.1, "any")
    for row, number in enumerate(requests.number.tolist()):
        ranked = shop.items.item_id[requests.pool[row][np.argsort(-scores["click"][row], kind="stable")]]
        kept = [slot for slot in range(10) if not explores[row, slot]]
        assert log.loc[number].loc[kept].tolist() == ranked[: len(kept)].tolist()

    # Even a little model, after three days of a little shop, is better than chance.
    totals = {arm: sum(json.loads(path.read_text())["expected_clicks"] for path in folder.glob(f"arms/{arm}/shop/day=*/day.json")) for arm in
              ("frozen", "daily", "chance", "best-possible")}  # fmt: skip
    assert totals["best-possible"] > max(totals["frozen"], totals["daily"]) and min(totals["frozen"], totals["daily"]) > totals["chance"]

    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and "reports/simulate" not in str(path)}
    command.main([f"run={folder}", *SETTINGS])
    changed = [path for path, time in before.items() if path.stat().st_mtime_ns != time and ".state" not in path.parts]
    assert not changed
