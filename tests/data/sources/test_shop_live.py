"""The shop that can be asked: paired answers, turns of a day, policies, and a log that is what `prepare` reads."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from ppm_tf.config import BeamSettings, SyntheticData
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.preparation.day import prepare_day
from ppm_tf.data.sources.shop.live import NO_ITEM, Histories, LiveShop, live
from ppm_tf.data.sources.shop.live_files import day_folder, mapping, write_day, write_exposures, write_goods, write_searches
from ppm_tf.data.sources.shop.log import examination
from ppm_tf.data.sources.shop.policies import arrange, by_chance, by_model, by_truth, exploration
from ppm_tf.data.sources.shop.synthetic import date_of
from ppm_tf.data.sources.shop.world import generator, uniform
from ppm_tf.rows import FIRST_ROW
from tests.raw_logs import read_samples

SETTINGS = SyntheticData(users=150, items=200, days=4, requests_per_user=12, candidates=6, history_length=5, shards=2)


@pytest.fixture(scope="module")
def shop():
    return LiveShop(SETTINGS, pool=15)


def histories(shop):
    return Histories(len(shop.users.user_id), SETTINGS.history_length)


def first_of(pool):
    """A policy: the first candidates as they come, and what it was told of each request."""
    told = {}

    def choose(requests, histories):
        user = requests.visits.user
        told.update({n: (histories.item[u].copy(), histories.time[u].copy()) for n, u in zip(requests.number.tolist(), user.tolist(), strict=True)})
        return requests.pool[:, :pool]

    return choose, told


# === Random numbers ===


def test_numbers_are_uniform_independent_and_the_same_again():
    rows, columns = np.arange(400)[:, None], np.arange(500)
    found = uniform(3, "answers", rows, columns, 1)
    assert found.shape == (400, 500) and found.min() >= 0 and found.max() < 1
    counts = np.bincount((found.ravel() * 20).astype(int), minlength=20)
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 43.8  # chi-squared of 19 degrees of freedom, .001
    beside = [uniform(3, "answers", rows, columns, 2), uniform(4, "answers", rows, columns, 1), uniform(3, "policy", rows, columns, 1), found[::-1]]
    assert all(abs(np.corrcoef(found.ravel(), one.ravel())[0, 1]) < 0.01 for one in (*beside, np.roll(found, 1, axis=1)))
    assert np.array_equal(uniform(3, "answers", 17, 23, 1), found[17, 23:24])


# === Requests and answers ===


def test_every_visit_is_a_request_of_its_day(shop):
    days = [shop.requests(day) for day in range(SETTINGS.days)]
    number = np.concatenate([one.number for one in days])
    assert len(np.unique(number)) == len(number) == (shop.visits.day < SETTINGS.days).sum()
    for day, one in enumerate(days):
        assert (one.visits.day == day).all()
        frame = pd.DataFrame({"user": one.visits.user, "time": one.visits.time})
        assert (frame.groupby("user").time.rank() - 1 == one.turn).all()
        assert (shop.items.born_day[one.pool] <= day).all()
        assert (np.sort(one.pool, axis=1)[:, 1:] != np.sort(one.pool, axis=1)[:, :-1]).all()


def test_two_who_show_the_same_get_the_same_answers(shop):
    """Whatever else they show: an item in the same slot of the same request is answered alike."""
    requests = shop.requests(1)
    here, there = requests.pool[:, :6], requests.pool[:, [0, 7, 2, 8, 9, 5]]
    first, second = shop.answer(requests, here), shop.answer(requests, there)
    for task in ("click", "cart", "order"):
        same = here == there
        assert same.any() and np.array_equal(first.labels[task][same], second.labels[task][same])
        assert (first.labels[task] != second.labels[task])[~same].any()


def test_an_item_that_is_looked_at_is_clicked_or_not_in_any_slot(shop):
    requests = shop.requests(1)
    block, turned = shop.answer(requests, requests.pool[:, :6]), shop.answer(requests, requests.pool[:, [5, 4, 3, 2, 1, 0]])
    assert (block.labels["click"] == turned.labels["click"][:, ::-1]).mean() > 0.8  # they differ where one was not looked at


def test_answers_are_as_frequent_as_their_probability():
    shop = LiveShop(SETTINGS.model_copy(update={"users": 2000}), pool=15)
    requests = shop.requests(2)
    item = shop.usual(2)
    block, looks = shop.answer(requests, item), examination(6)
    expected = looks * shop.appeal(requests, item)
    z = (block.labels["click"].sum(axis=0) - expected.sum(axis=0)) / np.sqrt((expected * (1 - expected)).sum(axis=0))
    assert (abs(z) < 4).all()
    for task in ("cart", "order"):
        expected = block.probability[task]
        assert abs(block.labels[task].sum() - expected.sum()) < 4 * np.sqrt(expected.sum())
    assert not (block.labels["order"] | block.labels["cart"])[~block.labels["click"]].any()


def test_a_pool_must_fit_the_shop():
    with pytest.raises(ValueError, match="simulate.pool must be at least data.candidates .* Received: simulate.pool=101, data.candidates=6"):
        LiveShop(SETTINGS, pool=101)
    with pytest.raises(ValueError, match="simulate.pool must be at least"):
        LiveShop(SETTINGS, pool=5)


# === Histories and turns ===


def test_histories_are_newest_first():
    found = Histories(3, 4)
    found.add(np.array([0, 2]), np.array([100, 100]), np.array([[5, 6, 7], [5, 6, 7]]), np.array([[True, False, True], [False] * 3]))
    found.add(np.array([0]), np.array([200]), np.array([[8, 9, 5]]), np.array([[True, True, True]]))
    assert found.item.tolist() == [[5, 9, 8, 7], [NO_ITEM] * 4, [NO_ITEM] * 4]
    assert found.time.tolist() == [[200, 200, 200, 100], [0] * 4, [0] * 4]


def test_histories_are_kept_in_a_file(tmp_path):
    found = Histories(2, 3)
    found.add(np.array([1]), np.array([7]), np.array([[4]]), np.array([[True]]))
    found.save(tmp_path / "histories.npz")
    again = Histories.load(tmp_path / "histories.npz")
    assert np.array_equal(again.item, found.item) and np.array_equal(again.time, found.time)


@pytest.fixture(scope="module")
def lived(shop, tmp_path_factory):
    """Three days under a policy: their files, blocks, and what the policy was told of each request."""
    folder, told, blocks, clicks = tmp_path_factory.mktemp("lived"), {}, [], histories(shop)
    write_goods(shop, folder)
    for day in range(3):
        choose, of_day = first_of(6)
        requests = shop.requests(day)
        block = live(shop, requests, clicks, choose)
        write_day(shop, requests, block, folder / day_folder(day))
        write_searches(shop, block, day, folder / day_folder(day))
        blocks.append((requests, block))
        told |= of_day
    return folder, blocks, told


def test_a_request_knows_the_clicks_of_those_before_it_that_day(lived):
    folder, blocks, told = lived
    log = pd.concat([pd.read_parquet(folder / day_folder(day) / "interactions.parquet") for day in range(3)])
    clicks = log[log.click == 1].sort_values(["time", "slot"], ascending=False)
    seen = same_day = 0
    for request, rows in log.groupby("request_id"):
        user, time = rows.user_id.iloc[0], rows.time.iloc[0]
        before = clicks[(clicks.user_id == user) & (clicks.time < time)].head(5)
        item, times = told[request]
        assert (item[item != NO_ITEM] + 1_000_001).tolist() == before.item_id.tolist()
        assert times[item != NO_ITEM].tolist() == before.time.tolist()
        seen += len(before)
        same_day += (before.time // 86_400 == time // 86_400).sum()
    assert seen > 500 and same_day > 100


def test_the_log_is_what_prepare_reads(shop, lived, tmp_path):
    """Days prepared from the written files hold the requests, labels and histories that the policy met."""
    folder, blocks, told = lived
    columns = mapping(SETTINGS, folder)
    found, earlier = [], None
    for day in range(2):
        target = tmp_path / str(day)
        statistics = prepare_day(columns, BeamSettings(), date_of(day), earlier, target, 3.0)
        requests, block = blocks[day]
        assert statistics["rows_read"] == block.item.size and not any(statistics["rows_rejected"].values())
        ids = ItemCatalog.read(target / "catalog").ids.to_numpy()
        for half in ("head", "tail"):
            for one in read_samples(target / "samples" / half):
                clicked = np.reshape(one["labels"], (len(one["item"]), -1))[:, 0]
                found.append((one["user_id"], one["time"], ids[np.array(one["item"]) - FIRST_ROW].tolist(), clicked.tolist(),
                              ids[np.array(one["history"], int) - FIRST_ROW].tolist(), one["history_time"]))  # fmt: skip
        earlier = target
    expected = []
    for requests, block in blocks[:2]:
        for row, number in enumerate(requests.number.tolist()):
            item, times = told[number]
            expected.append((int(shop.users.user_id[block.user[row]]), int(block.time[row]), shop.items.item_id[block.item[row]].tolist(),
                             block.labels["click"][row].astype(int).tolist(), shop.items.item_id[item[item != NO_ITEM]].tolist(),
                             times[item != NO_ITEM].tolist()))  # fmt: skip
    assert sorted(found) == sorted(expected)


def test_files_hold_a_day_each(shop, lived):
    folder, blocks, _ = lived
    for day in range(3):
        where = folder / f"day={date_of(0) + timedelta(day)}"
        assert pd.read_parquet(where / "items.parquet").born_day.eq(day).all()
        assert (pd.read_parquet(where / "interactions.parquet").time // 86_400).nunique() == 1
        assert pd.read_parquet(where / "queries.parquet").item_id.isin(shop.items.item_id[shop.items.born_day <= day]).all()


def test_exposures_hold_the_user_in_the_arm(shop, lived, tmp_path):
    _, blocks, _ = lived
    _, block = blocks[0]
    write_exposures(shop, block, "A b", tmp_path / "new" / "one.parquet")
    found = pd.read_parquet(tmp_path / "new" / "one.parquet")
    assert (found.user_id == found.person.astype(str) + "@A b").all() and set(found.bucket) == {"A b"}
    assert np.array_equal(found.click.to_numpy().reshape(block.item.shape), block.labels["click"])
    assert np.array_equal(found.item_id, shop.items.item_id[block.item].ravel()) and np.array_equal(found.time, np.repeat(block.time, 6))


# === Nothing of the truth ===


def test_a_log_does_not_tell_the_truth(lived):
    folder, _, _ = lived
    names = pq.read_schema(folder / day_folder(1) / "interactions.parquet").names
    assert names == ["request_id", "user_id", "item_id", "time", "slot", "hour", "device", "click", "order", "cart"]
    assert mapping(SETTINGS, folder).log.truth == {}


def test_what_a_model_sees_does_not_depend_on_what_users_like(shop):
    requests, clicks = shop.requests(2), histories(shop)
    before = shop.inputs(requests, clicks, -1)
    other = LiveShop(SETTINGS, pool=15)
    rng = np.random.default_rng(0)
    for values in (other.users.taste, other.users.hidden, other.users.eagerness, other.items.quality, other.items.hidden):
        values[:] = rng.normal(size=values.shape)
    after = other.inputs(requests, clicks, -1)
    assert set(before) == {"candidate_ids", "history_ids", "history_times", "time", "user_id", "user_gender", "user_age_group", "context_hour",
                           "context_device"}  # fmt: skip
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert not np.allclose(shop.appeal(requests, requests.pool), other.appeal(requests, requests.pool))


def test_the_order_of_candidates_says_nothing(shop):
    requests = shop.requests(2)
    best = np.argmax(shop.appeal(requests, requests.pool), axis=1)
    assert abs(best.mean() - 7) < 4 * np.sqrt((15**2 - 1) / 12 / len(best))  # of a uniform place among 15


def test_inputs_are_raw(shop):
    requests, clicks = shop.requests(1), histories(shop)
    clicks.add(requests.visits.user[:1], requests.visits.time[:1] - 50, requests.pool[:1, :2], np.array([[True, True]]))
    found = shop.inputs(requests, clicks, pad_id=-9)
    assert found["history_ids"][0].tolist() == [*shop.items.item_id[requests.pool[0, [1, 0]]].tolist(), -9, -9, -9]
    assert found["history_times"][0].tolist() == [requests.visits.time[0] - 50] * 2 + [0] * 3
    assert found["candidate_ids"].shape == (len(requests.number), 15)
    assert found["context_hour"][0, 0] == str(requests.visits.time[0] % 86_400 // 3600).encode()
    assert {name[0] for name in found["context_device"]} == {b"phone", b"desktop", b"tablet"}


# === Policies ===


def test_slots_that_explore_show_what_the_others_leave():
    rng = np.random.default_rng(1)
    scores, draw, explores = rng.random((200, 9)), rng.random((200, 9)), rng.random((200, 5)) < 0.4
    found = arrange(scores, explores, draw)
    for row in range(200):
        ranked, kept = np.argsort(-scores[row]), (~explores[row]).sum()
        assert found[row][~explores[row]].tolist() == ranked[:kept].tolist()
        assert found[row][explores[row]].tolist() == sorted(ranked[kept:], key=lambda place: -draw[row, place])[: explores[row].sum()]


def test_all_slots_may_explore():
    assert sorted(arrange(np.zeros((1, 3)), np.ones((1, 3), bool), np.array([[0.1, 0.2, 0.3]]))[0].tolist()) == [0, 1, 2]


def test_as_many_slots_explore_as_were_asked_for(shop):
    requests = shop.requests(0)
    slots, draw = exploration(shop, requests, 0.2, "any")
    assert abs(slots.mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / slots.size)
    assert (abs(slots.mean(axis=0) - 0.2) < 4 * np.sqrt(0.2 * 0.8 / len(slots))).all()
    assert not exploration(shop, requests, 0.0, "any")[0].any()
    assert abs(draw.mean() - 0.5) < 4 * np.sqrt(1 / 12 / draw.size)


def test_new_arrivals_explore_first():
    shop = LiveShop(SyntheticData(users=200, items=400, days=8, requests_per_user=20, candidates=6), pool=15)
    requests = shop.requests(6)
    score = lambda inputs: {"click": -inputs["candidate_ids"].astype(float)}
    chosen = by_model(shop, score, {"click": 1.0}, 0.3, "new", -1)(requests, Histories(200, 5))
    slots, _ = exploration(shop, requests, 0.3, "new")
    new = lambda item: requests.visits.day[:, None] - shop.items.born_day[item] < 3
    kept = [[item for item in row if item not in shown[~slot]] for row, shown, slot in zip(requests.pool, chosen, slots, strict=True)]
    offered = [sum(6 - shop.items.born_day[item] < 3 for item in row) for row in kept]
    assert (np.where(slots, new(chosen), False).sum(axis=1) == np.minimum(offered, slots.sum(axis=1))).all() and slots.any()


def test_a_model_ranks_by_its_tasks(shop):
    requests, clicks = shop.requests(1), histories(shop)
    rng = np.random.default_rng(2)
    found = {task: rng.random(requests.pool.shape) for task in ("click", "order")}
    chosen = by_model(shop, lambda inputs: found, {"click": 1.0, "order": 3.0}, 0.0, "any", -1)(requests, clicks)
    best = np.argsort(-(found["click"] + 3 * found["order"]), axis=1)[:, :6]
    assert np.array_equal(chosen, np.take_along_axis(requests.pool, best, axis=1))


def test_a_policy_with_the_truth_beats_all_others(shop):
    requests = shop.requests(1)
    looks = examination(6)
    uctr, expected = {}, {}
    policies = {
        "truth": by_truth(shop), "chance": by_chance(shop),
        "model": by_model(shop, lambda inputs: {"click": np.sin(inputs["candidate_ids"])}, {"click": 1.0}, 0.1, "any", -1),
        "nearly": by_model(shop, lambda inputs: {"click": shop.appeal(requests, requests.pool)}, {"click": 1.0}, 0.1, "any", -1),
    }  # fmt: skip
    for name, policy in policies.items():
        chosen = policy(requests, histories(shop))
        expected[name] = (looks * shop.appeal(requests, chosen)).sum()
        uctr[name] = shop.answer(requests, chosen).labels["click"].sum() / len(np.unique(requests.visits.user))
    assert uctr["truth"] > 1.3 * uctr["chance"]
    assert expected["truth"] > expected["nearly"] > expected["chance"]
    # No other order of the same items, and no other items, promise more.
    rng = generator(1, "policy")
    for _ in range(20):
        other = np.take_along_axis(requests.pool, np.argsort(rng.random(requests.pool.shape), axis=1)[:, :6], axis=1)
        assert (
            (looks * shop.appeal(requests, other)).sum(axis=1)
            <= (looks * shop.appeal(requests, policies["truth"](requests, None))).sum(axis=1) + 1e-12
        ).all()
