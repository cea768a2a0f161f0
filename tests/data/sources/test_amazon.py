import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ppm_tf.config import AmazonData, BeamSettings, SplitSettings
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.preparation.prepare import prepare
from ppm_tf.data.sources import amazon
from ppm_tf.data.sources.amazon_log import Interactions, keep_core, sample_log
from tests.raw_logs import read_samples

DAY = 86_400
# user, item, day: A1, A2 and A3 have three items each, A4 one; B5 has one user, so core=2 drops both
REVIEWS = [
    ("A1", "B1", 1),
    ("A1", "B2", 2),
    ("A1", "B3", 3),
    ("A2", "B2", 1),
    ("A2", "B3", 1),
    ("A2", "B4", 4),
    ("A3", "B1", 2),
    ("A3", "B4", 3),
    ("A3", "B2", 5),
    ("A1", "B1", 9),
    ("A4", "B5", 1),
]
META = [
    (
        '{"asin": "B1", "title": "Ball &amp; pump", "brand": "ACME", "category": ["Sports", "Balls"], "price": "$12.99", "description": ["Round.",'
        ' "Red\\n one."], "imageURL": []}'
    ),
    '{"asin": "B9", "title": "Not reviewed", "price": "$1"}',
    (
        '{"asin": "B2", "title": "var aPageStart = (new Date()).getTime();", "brand": "", "category": [], "price": "$1,000.00 - $3,000.00",'
        ' "description": ""}'
    ),
    '{"asin": "B2", "title": "The second line of an item counts no more"}',
    '{"asin": "B3", "title": "Bat", "brand": "acme", "category": ["Sports"], "price": ".a-box-inner{background-color:#fff}"}',
]


def settings(tmp_path, reviews=REVIEWS, meta=META, **others):
    """Writes the two files; a review is (user, item, day), or a line as it is."""
    lines = [
        (
            review
            if isinstance(review, str)
            else json.dumps({"overall": 5.0, "reviewerID": review[0], "asin": review[1], "unixReviewTime": review[2] * DAY})
        )
        for review in reviews
    ]
    for name, content in (("reviews.json.gz", lines), ("meta.json.gz", meta)):
        (tmp_path / name).write_bytes(gzip.compress("".join(line + "\n" for line in content).encode()))
    return AmazonData(path=str(tmp_path), reviews="reviews.json.gz", metadata="meta.json.gz", **{"core": 2, "shards": 2, **others})


def test_items_by_hand(tmp_path):
    amazon.write(settings(tmp_path), tmp_path / "raw")
    items = pq.read_table(tmp_path / "raw" / "items.parquet").to_pylist()
    nothing = {"title": None, "description": None, "brand": None, "category": [], "price": None, "image": None}
    assert items == [
        {
            **nothing,
            "item_id": "B1",
            "title": "Ball & pump",
            "description": "Round. Red one.",
            "brand": "acme",
            "category": ["Sports", "Balls"],
            "price": pytest.approx(12.99),
        },
        {**nothing, "item_id": "B2", "price": 2000.0},
        {**nothing, "item_id": "B3", "title": "Bat", "brand": "acme", "category": ["Sports"]},
        {**nothing, "item_id": "B4"},
    ]


def test_log_by_hand(tmp_path):
    amazon.write(settings(tmp_path), tmp_path / "raw")
    rows = pq.read_table(tmp_path / "raw" / "interactions.parquet").to_pylist()
    positives = [(row["user_id"], row["item_id"], row["time"] // DAY, row["request_id"]) for row in rows if row["click"]]
    assert positives == [
        ("A1", "B1", 1, None), ("A1", "B2", 2, "A1/1"), ("A1", "B3", 3, "A1/2"),
        ("A2", "B2", 1, None), ("A2", "B3", 1, "A2/1"), ("A2", "B4", 4, "A2/2"),
        ("A3", "B1", 2, None), ("A3", "B4", 3, "A3/1"), ("A3", "B2", 5, "A3/2"),
    ]  # fmt: skip
    # Training part of each user: the first item alone, for the two others are valid and test. Four items in all.
    allowed = {"A1/1": {"B3", "B4"}, "A1/2": {"B2", "B4"}, "A2/1": {"B1", "B4"}, "A2/2": {"B1", "B3"}, "A3/1": {"B2", "B3"}, "A3/2": {"B3", "B4"}}
    negatives = {row["request_id"]: row["item_id"] for row in rows if not row["click"]}
    assert negatives.keys() == allowed.keys() and all(item in allowed[request] for request, item in negatives.items())


def test_prepared_requests_hold_one_positive_and_one_negative(tmp_path):
    reviews = [(f"U{user}", f"B{(user * 3 + place * place) % 11}", place + 1) for user in range(8) for place in range(4)]
    chosen = settings(tmp_path, reviews=reviews, core=1)
    amazon.write(chosen, tmp_path / "raw")
    columns = amazon.columns(chosen, tmp_path / "raw")
    statistics = prepare(columns, BeamSettings(), tmp_path / "out")
    # three requests a user: the first train, the second valid, the last test
    assert {split: found["requests"] for split, found in statistics["splits"].items()} == {"pretrain": 0, "train": 8, "valid": 8, "test": 8}
    for place, split in enumerate(("train", "valid", "test")):
        for found in read_samples(tmp_path / "out" / "samples" / split):
            assert found["labels"] == [1, 0] and len(found["history"]) == place + 1 and found["time"] == (place + 2) * DAY
    assert columns.candidates == 2


def test_a_missing_image_folder_is_refused(tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match=r"data.images must name a folder in data.path. Received: .*photos, which is not there. Remedy: mend it, or data.images=null",
    ):
        amazon.write(settings(tmp_path, images="photos"), tmp_path / "raw")


def test_reviews_of_one_day_see_those_before_them(tmp_path):
    """The data's clock has whole days; a user's history holds all earlier reviews, in the order of the file, as in CELA."""
    reviews = [(f"U{user}", f"B{(user + place) % 8}", 1) for user in range(8) for place in range(6)]
    chosen = settings(tmp_path, reviews=reviews, core=1)
    amazon.write(chosen, tmp_path / "raw")
    statistics = prepare(amazon.columns(chosen, tmp_path / "raw"), BeamSettings(), tmp_path / "out")
    found = [one for split in ("train", "valid", "test") for one in read_samples(tmp_path / "out" / "samples" / split)]
    lengths = [len(one["history"]) for one in found]
    # A negative may be an item of the same day; then that request sees no row of the day, for a copy would tell a label.
    told = [one for one in found if one["history"]]
    assert len(found) == 40 and len(told) > 20 and statistics["ties"] == {"requests": 0, "behaviors": 0}
    assert {5, 4, 3, 2, 1} <= set(lengths)
    assert all(item not in one["history"] for one in found for item in one["item"])


def test_images_are_paths_of_files_that_exist(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "B3.jpg").write_bytes(b"bat")
    chosen = settings(tmp_path, images="photos", split={"last": 1, "valid": 0.0})
    amazon.write(chosen, tmp_path / "raw")
    prepare(amazon.columns(chosen, tmp_path / "raw"), BeamSettings(), tmp_path / "out")
    catalog = ItemCatalog.read(tmp_path / "out" / "catalog")
    assert list(catalog.images) == [None, None, b"bat", None]
    assert catalog.text == ["Ball & pump Round. Red one.", "", "Bat", ""]


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    for name, seed in (("first", 1), ("second", 1), ("third", 2)):
        amazon.write(settings(tmp_path, seed=seed), tmp_path / name)
    first, second, third = ((tmp_path / name / "interactions.parquet").read_bytes() for name in ("first", "second", "third"))
    assert first == second != third


# === The log in arrays ===


def interactions(user, item, time=None):
    user, item = np.array(user), np.array(item)
    names = [pa.array([f"{letter}{place}" for place in range(int(codes.max()) + 1)]) for letter, codes in (("u", user), ("i", item))]
    return Interactions(user, item, np.arange(len(user)) if time is None else np.array(time), *names)


def test_core_filter_is_repeated():
    # i2 falls with one user; then u1 has one item left and falls; then i1 keeps u0 and u2
    kept = keep_core(interactions([0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 0, 1]), core=2)
    assert (kept.users.to_pylist(), kept.items.to_pylist()) == (["u0", "u2"], ["i0", "i1"])
    assert (kept.user.tolist(), kept.item.tolist()) == ([0, 0, 1, 1], [0, 1, 0, 1])


def test_the_earliest_of_equal_pairs_counts_and_ties_keep_the_order_of_the_file():
    kept = keep_core(interactions([0, 0, 0, 0], [2, 1, 0, 2], [5, 5, 9, 1]), core=1)
    assert (kept.item.tolist(), kept.time.tolist()) == ([2, 1, 0], [1, 5, 9])


def test_nothing_may_be_left():
    assert len(keep_core(interactions([0, 1], [0, 1]), core=2).user) == 0


def random_interactions(seed, users=60, items=40):
    rng = np.random.default_rng(seed)
    return keep_core(interactions(rng.integers(0, users, 900), rng.integers(0, items, 900), rng.integers(0, 300, 900)), core=3)


@pytest.mark.parametrize("negatives", ["uniform", "popularity"])
@pytest.mark.parametrize(
    "split", [SplitSettings(by="user", last=1), SplitSettings(by="user", valid=0.2, test=0.2), SplitSettings(by="time", valid=0.1, test=0.2)]
)
def test_negatives_are_never_training_items_of_the_user_nor_the_positive(negatives, split):
    data = random_interactions(3)
    log = sample_log(data, split, negatives, seed=0)
    for user in range(len(data.users)):
        rows = log.user == user
        positives = log.item[rows & (log.click == 1)]
        beside = log.item[rows & (log.click == 0)]
        assert len(beside) == len(positives) - 1 and (beside != positives[1:]).all()
        if split.last:
            train = positives[:-2]
        elif split.by == "user":
            train = positives[: len(positives) - int(np.floor((len(positives) - 1) * 0.4 + 1e-9))]
        else:
            train = positives[log.time[rows & (log.click == 1)] < np.sort(log.time)[len(log.time) - int(np.ceil(len(log.time) * 0.3))]]
        assert not set(beside.tolist()) & set(train.tolist())


def test_popular_items_are_drawn_more_often():
    data = keep_core(interactions(np.repeat(np.arange(400), 3), np.tile([0, 1, 2], 400) + 3 * (np.repeat(np.arange(400), 3) % 10 == 0)), core=1)
    log = sample_log(data, SplitSettings(by="user", test=0.1), "popularity", seed=0)
    # Items 0 to 2 belong to nine users in ten, so the tenth draws them nine times as often; the others can draw 3 to 5 only.
    drawn = log.item[(log.click == 0) & (log.user % 10 == 0)]
    assert set(drawn.tolist()) == {0, 1, 2}
    drawn = log.item[(log.click == 0) & (log.user % 10 != 0)]
    assert set(drawn.tolist()) == {3, 4, 5}


def test_uniform_draws_reach_every_item_evenly():
    data = keep_core(
        interactions(np.repeat(np.arange(500), 2), np.concatenate([[2 * (user % 10), 2 * (user % 10) + 1] for user in range(500)])), core=1
    )
    log = sample_log(data, SplitSettings(by="user", test=0.1), "uniform", seed=0)
    counts = np.bincount(log.item[log.click == 0], minlength=20)
    assert counts.sum() == 500 and np.abs(counts - 25).max() < 20  # 25 expected, standard deviation 5


def test_refuses_a_user_who_has_every_item():
    with pytest.raises(ValueError, match=r"Each user must leave an item to draw as a negative. Received: user u0, who has all 2 items"):
        sample_log(keep_core(interactions([0, 0], [0, 1]), core=1), SplitSettings(by="user", test=0.1), "uniform", seed=0)


# === Damaged files ===


def test_a_few_broken_lines_are_passed_over(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(amazon, "_MAX_BAD_LINES", 0.2)
    amazon.write(settings(tmp_path, reviews=[*REVIEWS, '{"reviewerID": "A1"']), tmp_path / "raw")
    assert "1 of 12 lines passed over; the first is" in caplog.text and "reviews.json.gz:12" in caplog.text


@pytest.mark.parametrize(
    ("reviews", "others", "match"),
    [
        ([*REVIEWS, "{'reviewerID': 'A1'}"], {},
        r"reviews.json.gz must hold one JSON object a line. Received: 1 of 12 lines "
        r"that are none; the first is .*reviews.json.gz:12: .*the data of 2014 has another form"),
        (['{"user": "A1"}'], {}, r"reviews.json.gz:1 must hold reviewerID, asin and unixReviewTime. Received: .*user"),
        ([], {}, r"reviews.json.gz must hold at least one review"),
        (REVIEWS, {"core": 4}, r"must leave users and items with data.core=4 interactions each. Received: none. Remedy: lower data.core"),
    ],
)  # fmt: skip
def test_refused_reviews(tmp_path, reviews, others, match):
    with pytest.raises(ValueError, match=match):
        amazon.write(settings(tmp_path, reviews=reviews, **others), tmp_path / "raw")


def test_refuses_a_truncated_file(tmp_path):
    chosen = settings(tmp_path)
    content = (tmp_path / "reviews.json.gz").read_bytes()
    (tmp_path / "reviews.json.gz").write_bytes(content[: len(content) - 9])
    with pytest.raises(ValueError, match=r"reviews.json.gz must be a whole file. Received: .* after line .*fetch it again"):
        amazon.write(chosen, tmp_path / "raw")


def test_refuses_a_missing_file(tmp_path):
    chosen = settings(tmp_path)
    (tmp_path / "meta.json.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"data.metadata must name a file in data.path. Received: .*meta.json.gz, which is not there"):
        amazon.write(chosen, tmp_path / "raw")
