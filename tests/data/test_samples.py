import numpy as np
import pytest
import tensorflow as tf

from ppm_tf.data import samples
from ppm_tf.data.manifest import DamagedDataError
from ppm_tf.data.schema import Field, Schema
from tests.shards import SCHEMA, example, random_requests, write_split

RECORD = example(
    request=7,
    user_id=3,
    time=100,
    history=[4, 3, 2],
    history_time=[90, 60, 10],
    item=[5, 6],
    labels=[1, 0, 0, -1],
    slot=[1, 0],
    truth=[0.5, 0.25, 0.125, 0.0],
)
EMPTY = example(
    request=8, user_id=4, time=50, history=np.zeros(0, int), history_time=np.zeros(0, int), item=[2], labels=[1, 1], slot=[0], truth=[1.0, 1.0]
)


def read_all(folder, **arguments):
    files = samples.find_shards(folder, ["train"])
    return list(samples.read(files, SCHEMA, **{"batch_size": 2, **arguments}))


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_values_by_hand(tmp_path, compression):
    write_split(tmp_path / "train", [RECORD, EMPTY], compression=compression)
    (batch,) = read_all(tmp_path, with_truth=True)
    got = {name: value.numpy().tolist() for name, value in batch.items()}
    assert got == {
        "request": [7, 8],
        "user_id": [3, 4],
        "time": [100, 50],
        "history": [[4, 3, 2, 0], [0, 0, 0, 0]],
        "history_time": [[90, 60, 10, 0], [0, 0, 0, 0]],
        "item": [[5, 6, 0], [2, 0, 0]],
        "labels": [[[1, 0], [0, -1], [-1, -1]], [[1, 1], [-1, -1], [-1, -1]]],
        "slot": [[1, 0, -1], [0, -1, -1]],
        "truth": [[[0.5, 0.25], [0.125, 0], [-1, -1]], [[1, 1], [-1, -1], [-1, -1]]],
    }


def test_the_truth_is_given_only_when_asked_for(tmp_path):
    write_split(tmp_path / "train", [RECORD])
    assert "truth" not in read_all(tmp_path)[0]


def test_the_newest_behaviors_are_kept(tmp_path):
    write_split(tmp_path / "train", [RECORD])
    (batch,) = read_all(tmp_path, history_length=2)
    assert batch["history"].numpy().tolist() == [[4, 3]]
    assert batch["history_time"].numpy().tolist() == [[90, 60]]


def test_user_and_context_fields(tmp_path):
    fields = (Field("gender", "user", ("m", "f")), Field("tags", "user", ("a", "b", "c"), 2), Field("hour", "context", ("0", "1")))
    schema = Schema(fields, (), ("click",), "click", 2, 1, "int", "int", has_time=False, has_slot=False, has_truth=False)
    record = example(request=1, user_id=1, time=0, history=[2], item=[3], labels=[1], user=[2, 3, 0], context=[3])
    write_split(tmp_path / "train", [record])
    (batch,) = samples.read(samples.find_shards(tmp_path, ["train"]), schema, 4)
    assert batch["user"].numpy().tolist() == [[2, 3, 0]]
    assert batch["context"].numpy().tolist() == [[3]]
    assert "history_time" not in batch


def requests_of(batches):
    return [int(number) for batch in batches for number in batch["request"]]


def test_shuffling_loses_nothing_and_depends_on_the_seed_alone(tmp_path):
    write_split(tmp_path / "train", random_requests(100), shards=5)
    shuffled = {"shuffle_buffer": 20, "epochs": 2, "batch_size": 7}
    one, two, other = (requests_of(read_all(tmp_path, seed=seed, **shuffled)) for seed in (1, 1, 2))
    assert one == two != other
    assert sorted(one) == sorted(2 * list(range(100)))
    assert sorted(one[:100]) == list(range(100)), "an epoch sees each request once"
    assert one[:100] != one[100:], "each epoch has its own order"


@pytest.mark.parametrize("seed", [0, 5])
def test_the_order_does_not_depend_on_what_the_process_was_seeded_with(tmp_path, seed):
    write_split(tmp_path / "train", random_requests(100), shards=5)
    tf.random.set_seed(7)
    found = [requests_of(read_all(tmp_path, seed=seed, shuffle_buffer=20, batch_size=7))]
    tf.random.set_seed(0)
    found.append(requests_of(read_all(tmp_path, seed=seed, shuffle_buffer=20, batch_size=7)))
    assert found[0] == found[1] != sorted(found[0])


def test_a_saved_iterator_that_read_ahead_goes_on_into_a_further_pass(tmp_path):
    """With a buffer larger than a pass, and far enough that a reader with an end would have met it."""
    write_split(tmp_path / "train", random_requests(100), shards=5)
    files = samples.find_shards(tmp_path, ["train"])
    make = lambda: iter(samples.read(files, SCHEMA, 10, epochs=None, shuffle_buffer=300, seed=3))
    whole, first, second = make(), make(), make()
    begin = [next(first) for _ in range(19)]  # of two passes of ten batches
    path = tf.train.Checkpoint(iterator=first).save(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(iterator=second).restore(path)
    expected = requests_of([next(whole) for _ in range(30)])
    assert requests_of(begin) + requests_of([next(second) for _ in range(11)]) == expected
    assert sorted(expected[200:]) == list(range(100)) and expected[:100] != expected[200:]


def test_without_shuffling_the_order_is_that_of_the_files(tmp_path):
    write_split(tmp_path / "train", random_requests(10))
    assert requests_of(read_all(tmp_path, batch_size=3)) == list(range(10))


def test_a_saved_iterator_goes_on_where_it_was(tmp_path):
    write_split(tmp_path / "train", random_requests(100), shards=5)
    files = samples.find_shards(tmp_path, ["train"])
    make = lambda: iter(samples.read(files, SCHEMA, 10, epochs=2, shuffle_buffer=30, seed=3))
    whole = requests_of(make())
    first = make()
    begin = [next(first) for _ in range(8)]
    path = tf.train.Checkpoint(iterator=first).save(str(tmp_path / "checkpoint"))
    second = make()
    tf.train.Checkpoint(iterator=second).restore(path)
    assert requests_of(begin) + requests_of(second) == whole


def test_several_splits_are_read_as_one(tmp_path):
    records = random_requests(10)
    write_split(tmp_path / "pretrain", records[:4])
    write_split(tmp_path / "train", records[4:])
    files = samples.find_shards(tmp_path, ["pretrain", "train"])
    assert (files.records, files.candidates) == (10, 30)
    assert requests_of(samples.read(files, SCHEMA, 3)) == list(range(10))


def test_a_truncated_shard_reads_to_a_clean_end_and_is_found_by_its_manifest(tmp_path):
    """Why manifests are checked: TensorFlow itself says nothing."""
    write_split(tmp_path / "train", random_requests(100), compression="none")
    path = tmp_path / "train" / "part-0.tfrecord"
    lengths = [len(record) + 16 for record in random_requests(100)]
    path.write_bytes(path.read_bytes()[: sum(lengths[:60])])
    assert sum(1 for _ in tf.data.TFRecordDataset(str(path))) == 60
    with pytest.raises(DamagedDataError, match="1 of 1 shards are damaged"):
        samples.find_shards(tmp_path, ["train"])


def test_an_empty_split_is_refused(tmp_path):
    write_split(tmp_path / "train", [], shards=0)
    with pytest.raises(ValueError, match="must hold at least one request"):
        samples.find_shards(tmp_path, ["train"])
