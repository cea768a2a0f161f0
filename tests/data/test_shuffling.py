import tensorflow as tf

from ppm_tf.data.shuffling import shuffled_indices


def test_every_pass_holds_each_index_once_in_another_order():
    indices = [int(index) for index, _ in shuffled_indices(50, 2, seed=1)]
    assert sorted(indices[:50]) == sorted(indices[50:]) == list(range(50))
    assert indices[:50] != indices[50:]
    assert indices[:50] != list(range(50))


def test_the_seed_decides():
    orders = [[int(index) for index, _ in shuffled_indices(50, 1, seed)] for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_a_saved_iterator_goes_on_where_it_was(tmp_path):
    iterator = iter(shuffled_indices(50, 2, seed=1).batch(7))
    for _ in range(3):
        next(iterator)
    path = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "place"))
    expected = [batch[0].numpy().tolist() for batch in iterator]
    again = iter(shuffled_indices(50, 2, seed=1).batch(7))
    tf.train.Checkpoint(iterator=again).restore(path)
    assert [batch[0].numpy().tolist() for batch in again] == expected
