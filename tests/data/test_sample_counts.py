import tracemalloc

import numpy as np
import pytest

from ppm_tf.data.manifest import DamagedDataError
from ppm_tf.data.sample_counts import SampleCounts, count_samples, time_of_newest
from ppm_tf.data.samples import find_shards, read
from tests.shards import SCHEMA, example, random_requests, write_split

# user, time, history, items, clicks
REQUESTS = [(7, 10, [], [2, 3], [1, 0]), (7, 20, [2], [4, 2], [0, 1]), (9, 30, [3, 3], [4], [1]), (8, 40, [4], [5], [0])]


@pytest.fixture
def files(tmp_path):
    records = [
        example(request=number, user_id=user, time=time, history=np.array(history, int), history_time=np.array(history, int), item=item,
                labels=np.stack([clicks, np.full(len(clicks), -1)], 1).ravel(), slot=np.arange(len(item)), truth=np.full(2 * len(item), 0.5))
        for number, (user, time, history, item, clicks) in enumerate(REQUESTS)
    ]  # fmt: skip
    write_split(tmp_path / "train", records, shards=2)
    return find_shards(tmp_path, ["train"])


def test_counts(files):
    counts = count_samples(files, SCHEMA, 7)
    assert counts.requests == 4
    assert counts.exposures.tolist() == [0, 0, 2, 1, 2, 1, 0]
    assert counts.positives.tolist() == [[0, 0], [0, 0], [2, 0], [0, 0], [1, 0], [0, 0], [0, 0]]
    assert counts.behaviors.tolist() == [0, 0, 1, 2, 1, 0, 0]
    assert dict(zip(counts.user_id.tolist(), counts.user_requests.tolist(), strict=True)) == {7: 2, 8: 1, 9: 1}
    assert counts.requests_of(np.array([9, 7, 99, 1])).tolist() == [1, 2, 0, 0]


def test_counts_of_two_trainings_are_added_by_id():
    """The later catalog lacks item 20, holds 60 first, and has the rest in another order; `requests` stay this training's."""
    earlier = SampleCounts(
        5,
        np.array([0, 4, 1, 2, 3]),
        np.array([[0], [1], [1], [0], [2]]),
        np.array([0, 0, 1, 0, 9]),
        np.array([7, 8]),
        np.array([1, 4]),
        np.array([10, 20, 30]),
    )
    later = SampleCounts(
        3,
        np.array([0, 1, 10, 20, 30]),
        np.array([[0], [0], [5], [6], [7]]),
        np.array([0, 0, 2, 2, 2]),
        np.array([8, 9]),
        np.array([2, 1]),
        np.array([60, 30, 10]),
    )
    both = later.after(earlier)
    assert both.requests == 3 and both.item_id.tolist() == [60, 30, 10]
    assert both.exposures.tolist() == [0, 5, 10, 23, 31]
    assert both.positives[:, 0].tolist() == [0, 1, 5, 8, 8]
    assert both.behaviors.tolist() == [0, 0, 2, 11, 3]
    assert both.requests_of(np.array([7, 8, 9])).tolist() == [1, 6, 1]
    assert later.exposures.tolist() == [0, 1, 10, 20, 30]
    unnamed = later.after(
        SampleCounts(*(getattr(earlier, name) for name in ("requests", "exposures", "positives", "behaviors", "user_id", "user_requests")))
    )
    assert unnamed.exposures.tolist() == [0, 5, 10, 20, 30]


def test_the_newest_share(files):
    assert time_of_newest(files, SCHEMA, 1.0) is None
    since = time_of_newest(files, SCHEMA, 0.5)
    assert count_samples(files, SCHEMA, 7, since).user_id.tolist() == [8, 9]
    assert sorted(int(time) for batch in read(files, SCHEMA, 2, shuffle_buffer=4, seed=1, epochs=2, since=since) for time in batch["time"]) == [
        30,
        30,
        40,
        40,
    ]


def test_without_times_there_is_no_newest(files):
    from dataclasses import replace

    with pytest.raises(ValueError, match=r"model.newest needs requests with a time. Received: model.newest=0.5"):
        time_of_newest(files, replace(SCHEMA, has_time=False), 0.5)


def test_write_and_read(files, tmp_path):
    counts = count_samples(files, SCHEMA, 7)
    counts.write(tmp_path)
    again = SampleCounts.read(tmp_path)
    assert again.requests == counts.requests
    for name in ("exposures", "positives", "behaviors", "user_id", "user_requests", "item_id"):
        np.testing.assert_array_equal(getattr(again, name), getattr(counts, name))


def test_counts_are_those_of_a_plain_loop_over_many_batches(tmp_path):
    write_split(tmp_path / "train", random_requests(300, seed=3), shards=3)
    files = find_shards(tmp_path, ["train"])
    exposures, behaviors, positives = np.zeros(40, int), np.zeros(40, int), np.zeros((40, 2), int)
    for batch in read(files, SCHEMA, 300):
        for row, labels in zip(batch["item"].numpy().ravel(), batch["labels"].numpy().reshape(-1, 2), strict=True):
            exposures[row] += row != 0
            positives[row] += labels > 0
        for row in batch["history"].numpy().ravel():
            behaviors[row] += row != 0
    assert exposures.max() > 10  # a row comes several times a batch
    counts = count_samples(files, SCHEMA, 40, batch_size=64)
    np.testing.assert_array_equal(counts.exposures, exposures)
    np.testing.assert_array_equal(counts.behaviors, behaviors)
    np.testing.assert_array_equal(counts.positives, positives)


def test_a_batch_makes_no_array_of_the_catalogs_length(files):
    rows = 2_000_000
    count_samples(files, SCHEMA, 7)  # what is made once a process
    tracemalloc.start()
    try:
        counts = count_samples(files, SCHEMA, rows, batch_size=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    result = counts.exposures.nbytes + counts.behaviors.nbytes + counts.positives.nbytes
    assert result <= peak < result + rows  # one further array of one byte a row would show
    assert counts.exposures[:6].tolist() == [0, 0, 2, 1, 2, 1]


def test_a_row_outside_the_catalog_is_refused(files):
    with pytest.raises(ValueError, match=r"rows of their catalog, 0 to 4. Received: rows 0 to 5. Remedy: prepare the data again"):
        count_samples(files, SCHEMA, 5)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_damage_that_a_check_of_sizes_passes_over_is_named_wherever_samples_are_read(tmp_path, compression):
    from ppm_tf.models.inputs import Inputs
    from ppm_tf.workspace import Workspace
    from serving.requests import sample_batches

    folder = tmp_path / "data" / "samples"
    write_split(folder / "test", random_requests(64), shards=2, compression=compression)
    path = folder / "test" / "part-1.tfrecord"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    files = find_shards(folder, ["test"], verify="size")
    message = (
        rf"A shard must be as it was written\. Received: {path}: .+\. Remedy: restore the file, or write it anew with `python -m pipelines\.prepare`"
    )
    for reads in (
        lambda: count_samples(files, SCHEMA, 40),
        lambda: time_of_newest(files, SCHEMA, 0.5),
        lambda: sample_batches(Workspace(tmp_path), Inputs(SCHEMA, None, {}), 64, 8),
    ):
        with pytest.raises(DamagedDataError, match=message):
            reads()
