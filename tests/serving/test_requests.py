"""What stands for the unknown in requests made from samples."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from ppm_tf.data.schema import Field
from ppm_tf.models.inputs import Inputs
from serving.requests import raw_ids, raw_requests, unknown_number, unknown_word
from tests.models.tiny_ranking import SCHEMA, Catalog, batch


def inputs(ids, schema=SCHEMA):
    catalog = Catalog()
    catalog.ids = pa.array(ids)
    return Inputs(schema, catalog, {})


@pytest.mark.parametrize(("known", "expected"), [([], "unknown"), (["a", "unknown"], "unknown_"), (["unknown", "unknown_"], "unknown__")])
def test_an_unknown_word_is_not_known(known, expected):
    assert unknown_word(known) == expected


@pytest.mark.parametrize(
    ("known", "pad_id", "expected"), [([10, 20], -1, 0), ([0, 1, 3], 2, 4), ([-3, -2], -1, 0), ([0, 2**63 - 1], -1, 1), ([0], 1, 2)]
)
def test_an_unknown_number_is_neither_known_nor_the_pad_id(known, pad_id, expected):
    """Also where the largest id is the largest number, or the one below the pad id."""
    assert unknown_number(np.array(known), pad_id) == expected
    rows = raw_ids(np.array([[0, 1, 2]]), inputs(known), pad_id)
    assert rows.tolist() == [[pad_id, expected, known[0]]] and rows.dtype == np.int64


def test_unknown_values_are_words_that_neither_the_data_nor_the_model_knows():
    data = replace(SCHEMA, fields=(*SCHEMA.side("item"), Field("gender", "user", ("f", "m")), Field("device", "context", ("desk", "phone"))))
    training = replace(SCHEMA, fields=(*SCHEMA.side("item"), Field("gender", "user", ("unknown",)), Field("device", "context", ("desk",))))
    rows = {**batch(), "user": np.array([[1], [2], [0]], "int32"), "context": np.array([[1], [3], [0]], "int32")}
    found = raw_requests(rows, inputs([10, 20, 30, 40, 50], data), training, -1, with_user=False)
    assert found["user_gender"].tolist() == [[b"unknown_"], [b"f"], [b""]]
    assert found["context_device"].tolist() == [[b"unknown"], [b"phone"], [b""]]
    assert "user_id" not in found
