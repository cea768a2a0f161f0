import numpy as np

from ppm_tf.layers.fields import concat_fields, concat_shape, mean_history


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
