import numpy as np

from ppm_tf.objectives.linear_probe import linear_probe, probe_sample


def test_vectors_that_tell_the_classes_are_read_off():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    vectors = np.eye(3)[labels] * 1000 + rng.normal(size=(300, 3))
    scores = linear_probe(vectors[:200], labels[:200], vectors[200:], num_classes=4)
    assert np.mean(scores.argmax(1) == labels[200:]) == 1.0
    np.testing.assert_allclose(np.exp(scores[:, :3]).sum(1), 1.0)
    assert np.all(scores[:, 3] == -np.inf)  # a class that was not among the labels


def test_vectors_that_tell_nothing():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [150, 50])
    scores = linear_probe(rng.normal(size=(200, 2)), labels, rng.normal(size=(100, 2)), num_classes=2)
    np.testing.assert_allclose(np.exp(scores[:, 0]).mean(), 0.75, atol=0.05)  # the frequency of the class


def test_a_sample_holds_every_class():
    labels = np.zeros(1000, int)
    labels[[7, 500]] = [1, 2]
    places = probe_sample(labels, 10, seed=1)
    assert set(labels[places]) == {0, 1, 2}
    assert 10 <= len(places) <= 13 and np.all(np.diff(places) > 0)
    np.testing.assert_array_equal(places, probe_sample(labels, 10, seed=1))
    np.testing.assert_array_equal(probe_sample(labels[:5], 10, seed=1), np.arange(5))
