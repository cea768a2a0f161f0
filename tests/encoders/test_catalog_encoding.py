import numpy as np
import pyarrow as pa

from ppm_tf.encoders.catalog_encoding import encode_catalog


class Catalog:
    """Five items in two row groups."""

    num_items = 5

    def batches(self, columns):
        assert columns == ("item_id", "image")
        yield 2, pa.record_batch([pa.array([10, 11, 12]), pa.array([b"1", None, b"bad"])], ["item_id", "image"])
        yield 5, pa.record_batch([pa.array([13, 14]), pa.array([b"3", b"0"])], ["item_id", "image"])


def encode(contents):
    if b"bad" in contents:
        raise ValueError("cannot read it")
    return np.array([[float(content), 0.0] for content in contents], "float32")


def test_missing_broken_and_empty_items_are_absent_and_cost_nobody_else():
    refused = []
    batches = list(encode_catalog(Catalog(), "image", encode, 2, refused))
    assert np.concatenate([batch.item_ids for batch in batches]).tolist() == [10, 11, 12, 13, 14]
    assert np.concatenate([batch.vectors for batch in batches])[:, 0].tolist() == [1, 0, 0, 3, 0]
    assert np.concatenate([batch.present for batch in batches]).tolist() == [True, False, False, True, False]
    assert refused == [(12, "cannot read it")]


def test_the_hash_follows_the_content():
    one, two = ([batch.content_hashes for batch in encode_catalog(Catalog(), "image", encode, 2)] for _ in range(2))
    assert one == two
    assert one[0][0] != one[0][1] != one[0][2]
