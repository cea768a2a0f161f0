"""Five items, a schema with every kind of field, and requests over them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ppm_tf.config import load
from ppm_tf.data.id_vocabulary import IdVocabulary
from ppm_tf.data.schema import Field, Schema
from ppm_tf.data.tables import EmbeddingTable
from ppm_tf.models.build import build_ranking_model
from ppm_tf.models.vocabularies import Vocabularies

SCHEMA = Schema(
    fields=(
        Field("brand", "item", ("acme", "bolt")),
        Field("tags", "item", ("new", "red", "sale"), num_values=2),
        Field("gender", "user", ("f", "m")),
        Field("device", "context", ("desk", "phone")),
    ),
    numbers=("price",),
    tasks=("click", "order"),
    history_task="click",
    history_length=4,
    num_candidates=3,
    item_id_type="int",
    user_id_type="int",
    has_time=True,
    has_slot=True,
    has_truth=False,
)
SMALL = ["model.dim=4", "model.initializer_stddev=0.3", "ppm.num_heads=2", "ppm.width=8", "ppm.mlp_units=[8]", "ppm.initializer_stddev=0.3"]
URM = [
    "model.backbone={name: urm, num_heads: 2, width: 8, num_encoder_layers: 1, num_decoder_layers: 1, expert_units: [8], tower_units: [4],"
    " initializer_stddev: 0.3}"
]
DIN = ["model.backbone={name: din, mlp_units: [8], attention_units: [4]}"]


class Catalog:
    """Items 10 to 50 in rows 2 to 6."""

    num_rows = 7
    ids = pa.array([10, 20, 30, 40, 50])

    def __init__(self):
        self.fields = {
            "brand": np.array([[0], [1], [2], [3], [2], [3], [1]], np.int32),
            "tags": np.array([[0, 0], [0, 0], [2, 3], [4, 0], [0, 0], [3, 4], [2, 0]], np.int32),
        }
        self.numbers = {"price": np.array([np.nan, np.nan, 1, 5, 20, np.nan, 100], np.float32)}


def tables():
    rng = np.random.default_rng(0)
    present = np.array([0, 0, 1, 1, 0, 1, 1], bool)
    return {name: EmbeddingTable(name, rng.normal(size=(7, 4)).astype("float16"), present, "v1") for name in ("title", "image")}


def vocabularies(items=(10, 30), users=(7, 8)):
    return Vocabularies(IdVocabulary(np.array(items), 2), IdVocabulary(np.array(users), 2))


def settings(*more):
    return load([*SMALL, *more])


def model(*more, schema=SCHEMA, catalog=None, ids=None, pretrained=None):
    return build_ranking_model(settings(*more), schema, catalog or Catalog(), tables(), ids or vocabularies(), pretrained)


def batch():
    """Three requests of three candidates; the last has no history, and the second a padding candidate."""
    return {
        "request": np.array([1, 2, 3]),
        "user_id": np.array([7, 9, 8]),
        "history": np.array([[2, 3, 4, 6], [5, 6, 0, 0], [0, 0, 0, 0]], "int32"),
        "history_time": np.array([[90, 50, 20, 10], [80, 10, 0, 0], [0, 0, 0, 0]]),
        "time": np.array([100, 200, 300]),
        "item": np.array([[5, 6, 4], [2, 3, 0], [4, 5, 2]], "int32"),
        "user": np.array([[2], [3], [0]], "int32"),
        "context": np.array([[2], [1], [3]], "int32"),
        "slot": np.array([[0, 1, 2], [0, 1, -1], [0, 1, 2]], "int32"),
        "labels": np.array([[[1, 0], [0, 0], [0, -1]], [[1, 1], [0, 0], [-1, -1]], [[0, 0], [1, 0], [0, 0]]], "float32"),
    }
