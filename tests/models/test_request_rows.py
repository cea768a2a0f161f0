"""Prepared requests in the rows of an earlier training."""

from dataclasses import replace

import numpy as np
import pytest

from ppm_tf.data.schema import Field
from ppm_tf.models.request_rows import RequestRows
from tests.models.tiny_ranking import SCHEMA, batch

GENDER, DEVICE = Field("gender", "user", ("f", "m")), Field("device", "context", ("desk", "phone"))
ITEM = SCHEMA.side("item")
DATA = replace(
    SCHEMA,
    history_length=6,
    fields=(*ITEM, Field("tier", "user", ("gold",)), Field("gender", "user", ("d", "f", "m"), 2), Field("device", "context", ("phone", "tv"))),
)


def test_the_same_preparation_changes_nothing():
    rows, found = batch(), RequestRows(SCHEMA, SCHEMA)(batch())
    assert set(found) == set(rows)
    for name, value in rows.items():
        np.testing.assert_array_equal(found[name], value)


def test_values_get_the_rows_by_which_the_training_knew_them():
    """padding 0, unknown 1; of the data f is 3 and m 4, of the training 2 and 3.

    A field that the training did not have, and a second value, are left out.
    """
    rows = {"user": np.array([[2, 3, 4], [0, 4, 0], [2, 2, 0], [1, 1, 0]], "int32"), "context": np.array([[2], [3], [1], [0]], "int32")}
    found = RequestRows(DATA, SCHEMA)({**rows, "history": np.arange(24).reshape(4, 6), "history_time": np.arange(24).reshape(4, 6)})
    assert found["user"].numpy().tolist() == [[2], [3], [1], [1]]
    assert found["context"].numpy().tolist() == [[3], [1], [1], [0]]
    assert found["history"].tolist() == found["history_time"].tolist() == [[0, 1, 2, 3], [6, 7, 8, 9], [12, 13, 14, 15], [18, 19, 20, 21]]


def test_a_training_that_kept_more_values_gets_padding():
    wide = replace(SCHEMA, fields=(*ITEM, replace(GENDER, num_values=3), DEVICE))
    assert RequestRows(SCHEMA, wide)({"user": np.array([[3]], "int32"), "context": np.array([[2]], "int32")})["user"].numpy().tolist() == [[3, 0, 0]]


def test_data_of_another_kind_are_refused():
    with pytest.raises(ValueError, match="The data must hold the user field gender of the training. Received: none"):
        RequestRows(replace(SCHEMA, fields=(*ITEM, DEVICE)), SCHEMA)
    for name, other in (("item_id_type", "string"), ("user_id_type", "string"), ("has_time", False)):
        with pytest.raises(ValueError, match=f"{name} of the data must be that of the training"):
            RequestRows(replace(SCHEMA, **{name: other}), SCHEMA)
