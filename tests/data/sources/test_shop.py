"""The embedded shop: what its files hold, and that the truth they state is the truth they were drawn from."""

import io
import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.metrics import roc_auc_score

from ppm_tf.config import ColumnarData, SyntheticData, from_dict
from ppm_tf.data.sources.shop import images as shop_images
from ppm_tf.data.sources.shop import language as shop_language
from ppm_tf.data.sources.shop import log as shop_log
from ppm_tf.data.sources.shop import synthetic
from ppm_tf.data.sources.shop import world as shop_world

SETTINGS = SyntheticData(users=500, items=600, days=14, requests_per_user=10)
TASKS = ("click", "order", "cart")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    synthetic.write(SETTINGS, folder)
    return folder


@pytest.fixture(scope="module")
def items(folder):
    return pd.read_parquet(folder / "items.parquet")


@pytest.fixture(scope="module")
def log(folder):
    return pd.read_parquet(folder / "interactions.parquet")


@pytest.fixture(scope="module")
def truth(folder):
    return json.loads((folder / "truth.json").read_text())


@pytest.fixture(scope="module")
def world():
    return shop_world.make_items(SETTINGS.seed, SETTINGS.items, SETTINGS.days)


# === Files ===


def test_same_seed_gives_equal_files(folder, tmp_path):
    synthetic.write(SETTINGS, tmp_path)
    for path in sorted(folder.glob("*.parquet")):
        assert pq.read_table(path).equals(pq.read_table(tmp_path / path.name)), path.name
    assert (tmp_path / "truth.json").read_text() == (folder / "truth.json").read_text()


def test_another_seed_gives_other_files(tmp_path):
    for seed in (1, 2):
        synthetic.write(SyntheticData(users=10, items=40, days=3, requests_per_user=4, seed=seed), tmp_path / str(seed))
    for path in sorted((tmp_path / "1").glob("*.parquet")):
        assert not pq.read_table(path).equals(pq.read_table(tmp_path / "2" / path.name)), path.name


def test_files_are_streamed_in_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "_ITEMS_A_BLOCK", 100)
    monkeypatch.setattr(synthetic, "_REQUESTS_A_BLOCK", 500)
    synthetic.write(SETTINGS.model_copy(update={"users": 120, "items": 250}), tmp_path)
    assert pq.ParquetFile(tmp_path / "items.parquet").num_row_groups == 3
    assert pq.ParquetFile(tmp_path / "interactions.parquet").num_row_groups == 3  # blocks of 50 users
    log = pd.read_parquet(tmp_path / "interactions.parquet")
    assert log.request_id.is_monotonic_increasing
    assert log.groupby("request_id").user_id.nunique().eq(1).all()
    assert log.user_id.nunique() == 120


def test_a_catalog_that_barely_fills_a_request_is_enough(tmp_path):
    synthetic.write(SyntheticData(users=5, items=20, days=1, requests_per_user=3), tmp_path)
    log = pd.read_parquet(tmp_path / "interactions.parquet")
    assert log.groupby("request_id").item_id.nunique().eq(10).all()


def test_too_few_items_are_refused(tmp_path):
    with pytest.raises(ValueError, match="data.items must be at least twice data.candidates.*19 items, 10 candidates"):
        synthetic.write(SyntheticData(items=19), tmp_path)


def test_columns_names_what_the_files_hold(folder):
    settings = SETTINGS.model_copy(update={"history_length": 7, "shards": 3, "history_task": "order"})
    data = synthetic.columns(settings, folder)
    assert isinstance(data, ColumnarData)
    assert from_dict({"data": data.model_dump(mode="json")}).data == data
    assert (data.history_length, data.shards, data.history_task, data.split.pretrain) == (7, 3, "order", 0.5)
    assert tuple(data.log.labels) == ("click", "order", "cart")

    def fields(mapping):
        return {field.column for field in mapping.values()}

    named = {
        data.items.files: {data.items.id, data.items.image, *data.items.text, *data.items.numbers, *fields(data.items.fields)},
        data.users.files: {data.users.id, *fields(data.users.fields)},
        data.log.files: {data.log.user, data.log.item, data.log.time, data.log.request, data.log.slot}
        | {*data.log.truth.values(), *fields(data.log.labels), *fields(data.log.context)},
        data.queries.files: {data.queries.text, data.queries.item},
    }
    for file, columns in named.items():
        assert columns <= set(pq.read_schema(folder / file).names), file


# === Requests ===


def test_a_request_is_one_user_at_one_time_with_distinct_items_in_slots(log):
    requests = log.groupby("request_id")
    assert (requests.size() == SETTINGS.candidates).all()
    assert (requests[["user_id", "time", "hour", "device"]].nunique() == 1).all(axis=None)
    assert (requests.item_id.nunique() == SETTINGS.candidates).all()
    assert (log.slot.to_numpy().reshape(-1, SETTINGS.candidates) == np.arange(SETTINGS.candidates)).all()


def test_times_of_a_user_rise_strictly_and_come_in_sessions(log):
    firsts = log[log.slot == 0]
    assert firsts.user_id.is_monotonic_increasing
    gaps = firsts.groupby("user_id").time.diff().dropna()
    assert (gaps > 0).all()
    assert 0.6 < (gaps < 1800).mean() < 0.9  # five requests a session: four gaps of five are short
    assert firsts.time.min() >= shop_world.EPOCH
    assert firsts.time.max() < shop_world.EPOCH + (SETTINGS.days + 0.1) * shop_world.DAY
    assert abs(len(firsts) / SETTINGS.users - SETTINGS.requests_per_user) < 1.5
    assert (log.hour == log.time % 86_400 // 3600).all()


def test_no_item_is_shown_before_its_birth(items, log):
    born = items.set_index("item_id").born_day[log.item_id].to_numpy()
    assert (log.time.to_numpy() >= shop_world.EPOCH + born * shop_world.DAY).all()


def test_newest_rows_show_items_that_training_never_saw(log):
    test, train = log[log.time >= log.time.quantile(0.9)], log[log.time < log.time.quantile(0.8)]
    assert 0.06 < (~test.item_id.isin(train.item_id)).mean() < 0.2


def test_popularity_has_a_long_tail(log):
    counts = log.item_id.value_counts()
    assert counts.iloc[: SETTINGS.items // 20].sum() > 3 * 0.05 * len(log)
    assert counts.iloc[SETTINGS.items // 2 :].sum() < 0.33 * len(log)


def test_shelf_draws_what_is_in_stock_by_weight():
    shelf = shop_log.Shelf(born_day=np.array([0, 2, 0, 1]), weight=np.array([1.0, 5.0, 3.0, 4.0]), group=np.array([0, 0, 0, 1]))
    uniform = (np.arange(1000) + 0.5) / 1000
    day = np.zeros(1000, int)
    assert np.bincount(shelf.draw(uniform, day)).tolist() == [250, 0, 750]
    assert set(shelf.draw(uniform, day + 2, days=1)) == {1}
    assert set(shelf.draw(uniform, day, group=1)) == {-1}
    assert set(shelf.draw(uniform, day + 9, group=1)) == {3}


# === Labels and their truth ===


def test_orders_and_carts_need_a_click(log):
    assert log.click[(log.order == 1) | (log.cart == 1)].eq(1).all()
    assert log.order[log.cart == 1].mean() > 2 * log.order[(log.cart == 0) & (log.click == 1)].mean()


def test_positive_rates(log, truth):
    assert 0.12 < log.click.mean() < 0.25
    assert truth["rows"] == len(log)
    assert truth["requests"] == log.request_id.nunique()
    for task in TASKS:
        assert truth["positive_rate"][task] == pytest.approx(log[task].mean())


@pytest.mark.parametrize("task", TASKS)
def test_probabilities_are_calibrated(log, task):
    probability = log[f"p_{task}"]
    for _, rows in log.groupby(pd.qcut(probability, 8)):
        deviation = np.sqrt((rows[f"p_{task}"] * (1 - rows[f"p_{task}"])).sum())
        assert abs(rows[task].sum() - rows[f"p_{task}"].sum()) < 4.5 * deviation + 2  # 2: the rarest bins expect less than one


@pytest.mark.parametrize("task", TASKS)
def test_bayes_auc_is_that_of_scikit_learn(items, log, truth, task):
    stated = truth["bayes_auc"][task]
    looks = np.array(truth["examination"])
    new = (items.set_index("item_id").born_day[log.item_id] >= 0.9 * SETTINGS.days).to_numpy()
    assert truth["new_item_rows"] == new.sum()
    for form, score in (("slot_unknown", log[f"p_{task}"]), ("slot_known", log[f"p_{task}"] * looks[log.slot])):
        assert stated[form]["all"] == pytest.approx(roc_auc_score(log[task], score), abs=1e-4)
        assert stated[form]["new_items"] == pytest.approx(roc_auc_score(log[task][new], score[new]), abs=1e-3)  # few rows: ties count more
    assert 0.8 < truth["bayes_auc"]["click"]["slot_unknown"]["all"] < 0.88


def test_slot_changes_the_click_rate_as_stated(log, truth):
    looks = np.array(truth["examination"])
    assert (np.diff(looks) < 0).all()
    for slot, rows in log.groupby("slot"):
        expected = rows.p_click * looks[slot] / looks.mean()
        assert abs(rows.click.mean() - expected.mean()) < 4.5 * np.sqrt((expected * (1 - expected)).sum()) / len(rows)
    halves = log.click.groupby(log.slot // 2).mean()
    assert halves.is_monotonic_decreasing


def test_slot_says_nothing_of_the_item(log):
    assert abs(np.corrcoef(log.slot, log.p_click)[0, 1]) < 4.5 / np.sqrt(len(log))


def test_content_is_the_larger_part_of_the_logit(truth):
    parts = truth["logit_variance"]
    content = parts["taste"] + parts["interest"]
    assert content > 0.6 * sum(parts.values())
    assert parts["collaborative"] > 0.05 * sum(parts.values())


def test_interest_of_the_session_makes_recent_clicks_tell_more(items, log):
    category = items.set_index("item_id").category
    log = log.assign(category=category[log.item_id].to_numpy())
    clicks = log[log.click == 1].groupby(["user_id", "request_id", "time"], as_index=False).category.first()
    clicks["before"] = clicks.groupby("user_id").category.shift()
    clicks["gap"] = clicks.groupby("user_id").time.diff()
    clicks = clicks.dropna()
    same = clicks.category == clicks.before
    assert same[clicks.gap < 1800].mean() > same[clicks.gap > 7200].mean() + 0.03


# === Text, images, queries ===


def test_some_items_lack_text_or_image():
    items = shop_world.make_items(1, 20_000, 28)
    assert (~items.has_text).mean() == pytest.approx(0.03, abs=0.005)
    assert (~items.has_image).mean() == pytest.approx(0.03, abs=0.005)


def test_missing_text_and_image_are_null_in_the_file(items, world):
    assert (items.title.isna() == ~world.has_text).all()
    assert (items.description.isna() == ~world.has_text).all()
    assert (items.image.isna() == ~world.has_image).all()


def test_a_word_belongs_to_one_value():
    words = [word for synonyms in shop_language.WORDS.values() for group in synonyms.values() for word in group]
    assert len(words) == len(set(words))


@pytest.mark.parametrize("attribute", ["type", "style", "colour", "material", "audience", "tier"])
def test_words_tell_the_attribute(items, world, attribute):
    texts = (items.title.fillna("") + " " + items.description.fillna("")).str.lower().str.findall(r"\w+")
    tables = list(shop_language.WORDS[attribute].values())
    named = np.array([[not set(words).isdisjoint(found) for words in tables] for found in texts])  # [V, values]
    own = named[np.arange(len(named)), world.values[attribute]]
    others = named.sum(axis=1) - own
    told, spurious = {"type": (1.0, 0.0), "colour": (0.36, 0.07)}.get(attribute, (0.86, 0.0))
    assert own[world.has_text].mean() == pytest.approx(told, abs=0.08)
    assert others.mean() == pytest.approx(spurious, abs=0.03)  # a description may name another colour in which the item is to be had


def test_images_tell_the_colour_that_texts_often_leave_out(items, world):
    palette = np.array([shop_images.COLOURS[name] for name in shop_language.WORDS["colour"]])
    plain = np.flatnonzero(world.has_image & (world.values["pattern"] == 0))
    bags = plain[world.values["type"][plain] == list(shop_language.WORDS["type"]).index("suitcase")]
    for row in bags:
        image = Image.open(io.BytesIO(items.image[row]))
        assert image.size == (shop_images.SIZE, shop_images.SIZE)
        centre = np.asarray(image.convert("RGB"), float)[22:34, 18:30].mean(axis=(0, 1))
        assert np.argmin(np.square(palette - centre).sum(axis=1)) == world.values["colour"][row]
    texts = items.title.fillna("") + " " + items.description.fillna("")
    told = texts.str.lower().str.contains("|".join(word for words in shop_language.WORDS["colour"].values() for word in words))
    assert told.mean() < 0.6


def test_every_image_opens(items):
    for data in items.image.dropna():
        Image.open(io.BytesIO(data)).verify()


def test_text_tells_quality_but_not_the_collaborative_part():
    world = shop_world.make_items(3, 1600, 28)
    titles, descriptions = shop_language.write_texts(world.values, world.brand, np.random.default_rng(0))
    texts = [f"{title} {description}" for title, description in zip(titles, descriptions, strict=True)]
    words = HashingVectorizer(n_features=256, alternate_sign=False).transform(texts).toarray()

    def explained(target):
        """R2 on the second half of the items of a ridge regression fitted to the first."""
        half = len(target) // 2
        mean, centre = target[:half].mean(), words[:half].mean(axis=0)
        known = words[:half] - centre
        weights = np.linalg.solve(known.T @ known + 3.0 * np.eye(known.shape[1]), known.T @ (target[:half] - mean))
        rest = target[half:] - mean
        return 1 - np.square(rest - (words[half:] - centre) @ weights).sum() / np.square(rest).sum()

    assert max(explained(column) for column in world.hidden.T) < 0.02
    assert explained(world.values["tier"].astype(float)) > 0.4  # what texts do speak of is found


def test_queries_speak_of_the_item_clicked_for_them(folder, world, log):
    queries = pd.read_parquet(folder / "queries.parquet")
    assert 0.28 < len(queries) / log.request_id.nunique() < 0.38
    tables = {attribute: list(words.values()) for attribute, words in shop_language.WORDS.items()}
    lengths = set()
    for query, item_id in zip(queries["query"], queries.item_id, strict=True):
        row = item_id - world.item_id[0]
        true_words = {word for attribute, table in tables.items() for word in table[world.values[attribute][row]]} | {world.brand[row].lower()}
        words = query.split()
        lengths.add(len(words))
        assert set(words) <= true_words
    assert lengths == {1, 2, 3, 4}
    assert queries.user_id.isin(log.user_id).all()


# === By day ===


@pytest.fixture(scope="module")
def by_day(tmp_path_factory):
    folder = tmp_path_factory.mktemp("by_day")
    synthetic.write(SETTINGS.model_copy(update={"by_day": True}), folder)
    return folder


def days_of(folder, name):
    """The rows of a file by the number of its folder."""
    return {
        number: pd.read_parquet(folder / f"day={pd.Timestamp(shop_world.EPOCH, unit='s').date() + pd.Timedelta(days=number)}" / name)
        for number in range(SETTINGS.days)
    }


def test_a_day_holds_the_rows_of_its_utc_day_and_no_other(by_day, log):
    assert len(list(by_day.glob("day=*"))) == SETTINGS.days and shop_world.EPOCH % shop_world.DAY == 0
    found = days_of(by_day, "interactions.parquet")
    for number, rows in found.items():
        assert len(rows) and set((rows["time"] - shop_world.EPOCH) // shop_world.DAY) == {number}
    # Together they are the log of the same seed, but for what comes after its last day; request ids count what is there.
    whole = log[log["time"] < shop_world.EPOCH + SETTINGS.days * shop_world.DAY]
    columns = [name for name in log.columns if name != "request_id"]
    together = pd.concat(found.values())
    key = ["user_id", "time", "slot"]
    pd.testing.assert_frame_equal(together[columns].sort_values(key, ignore_index=True), whole[columns].sort_values(key, ignore_index=True))
    assert together["request_id"].nunique() * SETTINGS.candidates == len(together)


def test_items_come_on_the_day_they_are_born(by_day, items):
    found = days_of(by_day, "items.parquet")
    for number, rows in found.items():
        assert set(rows["born_day"]) <= {number}
    together = pd.concat(found.values()).sort_values("item_id", ignore_index=True)
    pd.testing.assert_frame_equal(together, items.sort_values("item_id", ignore_index=True))
    assert len(found[0]) >= len(items) / 2


def test_queries_come_with_their_requests_and_for_items_that_are_there(by_day):
    known = set()
    queries, items_by_day = days_of(by_day, "queries.parquet"), days_of(by_day, "items.parquet")
    for number in range(SETTINGS.days):
        known |= set(items_by_day[number]["item_id"])
        assert len(queries[number]) and set(queries[number]["item_id"]) <= known


def test_a_day_on_which_nothing_is_born_has_a_file_without_rows(tmp_path):
    synthetic.write(SyntheticData(users=20, items=20, days=12, requests_per_user=4, candidates=5, by_day=True), tmp_path)
    sizes = [pq.read_metadata(path).num_rows for path in sorted(tmp_path.glob("day=*/items.parquet"))]
    assert len(sizes) == 12 and 0 in sizes and sum(sizes) == 20


def test_the_mapping_of_a_shop_by_day_names_the_day():
    found = synthetic.columns(SETTINGS.model_copy(update={"by_day": True}), "raw")
    assert (found.log.files, found.items.files, found.queries.files, found.users.files) == (
        "day={day}/interactions.parquet", "day={day}/items.parquet", "day={day}/queries.parquet", "users.parquet",
    )  # fmt: skip
