import numpy as np

from ppm_tf.layers.fields import concat_fields, concat_shape, join_request, mean_history, request_fields, request_fields_shape
from tests.battery import random_features, shapes_of


def test_fields_stand_beside_each_other():
    fields = np.arange(24).reshape(2, 3, 2, 2)
    assert concat_fields(fields).numpy().tolist() == fields.reshape(2, 3, 4).tolist()
    assert concat_shape((None, 3, 2, 2)) == (None, 3, 4)


def test_no_fields_leave_the_other_axes():
    assert concat_fields(np.zeros((2, 3, 0, 4))).shape == (2, 3, 0)


def test_the_mean_is_over_the_real_behaviors():
    history = np.array([[[2.0], [4.0], [np.inf]], [[9.0], [9.0], [9.0]]])
    mask = np.array([[True, True, False], [False, False, False]])
    assert mean_history(history, mask).numpy().tolist() == [[3.0], [0.0]]


def test_the_fields_of_a_request_are_those_of_user_context_and_mean_history():
    features = random_features(np.random.default_rng(0))
    fields = request_fields(features).numpy()
    assert fields.shape == (3, *request_fields_shape(shapes_of(features))[1:]) == (3, 2 + 1 + 3, 8)
    np.testing.assert_array_equal(fields[:, :3], np.concatenate([features.user, features.context], 1))
    np.testing.assert_allclose(fields[:, 3:], mean_history(features.history, features.mask), atol=1e-6)


def test_a_request_stands_before_each_of_its_candidates():
    request, candidates = np.arange(4).reshape(2, 1, 2), 10 + np.arange(12).reshape(2, 3, 1, 2)
    joined = join_request(request, candidates, axis=2).numpy()
    assert joined[1].tolist() == [[[2, 3], [16, 17]], [[2, 3], [18, 19]], [[2, 3], [20, 21]]]
