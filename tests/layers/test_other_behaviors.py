import numpy as np

from ppm_tf.layers.other_behaviors import behaviors_of_others

MASK = np.array([[1, 1, 0], [0, 0, 0], [1, 1, 1], [1, 0, 0]], bool)


def test_every_behavior_of_the_others_is_as_likely_and_none_else():
    """60 even draws a request: 4, 6, 3 and 5 behaviors of others come 15, 10, 20 and 12 times."""
    places, some = behaviors_of_others(MASK, np.tile((np.arange(60) + 0.5) / 60, (4, 1)).astype("float32"))
    assert np.asarray(some).all()
    own = np.arange(12) // 3
    for request, (found, each) in enumerate(zip(np.asarray(places), (15, 10, 20, 12), strict=True)):
        np.testing.assert_array_equal(np.bincount(found, minlength=12), np.where(MASK.ravel() & (own != request), each, 0))


def test_the_largest_draw_is_still_a_behavior():
    places, _ = behaviors_of_others(MASK, np.full((4, 1), 1 - 2.0**-24, "float32"))
    assert np.asarray(places)[:, 0].tolist() == [9, 9, 9, 8]


def test_a_request_alone_has_none():
    for mask in (MASK[:1], MASK[[1, 0]], np.zeros((2, 3), bool)):
        places, some = behaviors_of_others(mask, np.full((len(mask), 2), 0.5, "float32"))
        assert np.asarray(some)[:, 0].tolist() == [bool(np.delete(mask, row, 0).any()) for row in range(len(mask))]
        assert (np.asarray(places) < mask.size).all()
