import numpy as np
import pytest
import tensorflow as tf

from ppm_tf.encoders.image_augmentation import augment

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(60, 190, (16, 16, 3)).astype("uint8")
augmented = tf.function(lambda seed: augment(tf.constant(PHOTO), seed))


def view(run, number):
    return augmented(tf.constant([run, number], tf.int64)).numpy()


def test_a_seed_gives_one_view_always():
    np.testing.assert_array_equal(view(1, 5), view(1, 5))
    np.testing.assert_array_equal(view(1, 5), augment(tf.constant(PHOTO), tf.constant([1, 5], tf.int64)))
    assert len({view(run, number).tobytes() for run in (1, 2) for number in range(20)}) == 40


def test_a_view_is_the_photo_moved_and_recoloured():
    """Undone by hand: of the nine places one fits the photo, up to a linear change of each channel."""
    moves = set()
    for number in range(30):
        seen, best = view(3, number).astype(float), {}
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                moved = np.pad(PHOTO, [(1, 1), (1, 1), (0, 0)], "symmetric")[1 + down : 17 + down, 1 + right : 17 + right].astype(float)
                lines = [np.polyfit(moved[..., c].ravel(), seen[..., c].ravel(), 1) for c in range(3)]
                error = max(np.abs(np.polyval(line, moved[..., c]) - seen[..., c]).max() for c, line in enumerate(lines))
                best[error] = (down, right), [line[0] for line in lines]
        move, slopes = best[min(best)]
        assert min(best) < 1.0  # rounding
        assert all(0.9 * 0.9 * 0.95 - 0.01 < slope < 1.1 * 1.1 * 1.05 + 0.01 for slope in slopes)
        moves.add(move)
    assert len(moves) > 4


@pytest.mark.parametrize("value", [0, 255])
def test_colours_stay_colours(value):
    flat = tf.fill([8, 8, 3], tf.constant(value, tf.uint8))
    seen = np.stack([augment(flat, tf.constant([0, number], tf.int64)).numpy() for number in range(20)])
    assert seen.shape == (20, 8, 8, 3) and seen.dtype == np.uint8
    assert np.all(seen == 0) if value == 0 else np.all(seen > 255 * 0.9 * 0.95 - 1)
