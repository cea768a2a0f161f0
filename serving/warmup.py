"""Warm-up records: real requests that TF Serving replays when it loads a version. One that fails, fails the load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from serving.layout import WARMUP

MAX_RECORDS = 1000  # the server refuses more


def write_warmup(folder: Path, model: str, records: Iterable[tuple[str, Mapping[str, np.ndarray]]]) -> int:
    """Writes the file; returns how many records it holds.

    Args:
        folder: `assets.extra` of the SavedModel.
        model: name of the model.
        records: pairs of a signature's name and its inputs.

    Raises:
        ValueError: there are more records than the server takes, or none.
    """
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    records = list(records)
    if not 1 <= len(records) <= MAX_RECORDS:
        raise ValueError(
            f"There must be 1 to {MAX_RECORDS} warm-up records. Received: {len(records)}. Look at serve.requests and serve.warmup_batches."
        )
    with tf.io.TFRecordWriter(str(folder / WARMUP)) as writer:
        for signature, inputs in records:
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = model, signature
            for name, value in inputs.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
    return len(records)


def read_warmup(folder: Path) -> list[tuple[str, dict[str, np.ndarray]]]:
    """Reads the records that `write_warmup` wrote: signature and inputs."""
    from tensorflow_serving.apis import prediction_log_pb2

    found = []
    for record in tf.data.TFRecordDataset(str(folder / WARMUP)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        found.append((request.model_spec.signature_name, {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}))
    return found
