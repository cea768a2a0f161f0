"""`LoadedVersion`: one SavedModel in its own graph and session, loaded and run the way TF Serving does it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.local.status import Code, StatusError, invalid

if TYPE_CHECKING:
    import numpy as np

DEFAULT_SIGNATURE = "serving_default"
PREDICT_METHOD = "tensorflow/serving/predict"
# A ranking request is some thousand small operations. Splitting each over the cores costs more than it saves (measured: README,
# Serving); operations that do not need each other run beside each other anyway, and so do requests.
INTRA_OP_THREADS = 1
# The server has no Python; here they would run if the process that wrote the model were this one.
_PYTHON_OPS = {"EagerPyFunc", "PyFunc", "PyFuncStateless"}


@dataclass(frozen=True)
class Signature:
    """One named computation of a model.

    Attributes:
        name: its name in the SavedModel.
        method: method name, such as `tensorflow/serving/predict`.
        inputs, outputs: TensorFlow's short dtype names, by input and by output.
    """

    name: str
    method: str
    inputs: dict[str, str]
    outputs: dict[str, str]


class LoadedVersion:
    """A version in memory.

    Loads with `tf.compat.v1.saved_model.load`; a folder without variables loads too, as on the server, and fails when it is
    run. Records in `assets.extra/tf_serving_warmup_requests` are replayed.

    Args:
        folder: the version's folder, `<base>/<model>/<version>`.
        timeout_ms: longest run of a signature.
        intra_op_threads: threads that one operation may use, 0 for all cores. TensorFlow takes it from what starts first in a
            process, a session or eager execution, and then keeps it.

    Raises:
        StatusError: it cannot be loaded, or a warm-up record fails.
    """

    def __init__(self, folder: Path, timeout_ms: int = 30_000, intra_op_threads: int = INTRA_OP_THREADS):
        import tensorflow as tf

        self._timeout_ms = timeout_ms
        self._lock = threading.Lock()
        self._runs: dict[str, Any] = {}
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=tf.compat.v1.ConfigProto(intra_op_parallelism_threads=intra_op_threads))
        try:
            with graph.as_default():
                self.meta_graph = _load(self._session, folder)
            self.signatures = {name: _signature(name, value) for name, value in self.meta_graph.signature_def.items()}
            self._python_op = _python_op(self.meta_graph.graph_def)
            self._replay(folder)
        except Exception as error:
            self._session.close()
            raise status_of(error) from error

    def signature(self, name: str) -> Signature:
        """The signature of that name; the default one for an empty name.

        Raises:
            StatusError: INVALID_ARGUMENT; there is none, or it takes no input.
        """
        found = self.signatures.get(name or DEFAULT_SIGNATURE)
        if found is None:
            raise invalid(f'Serving signature name: "{name or DEFAULT_SIGNATURE}" not found in signature def')
        if not found.inputs:
            raise invalid(f"Failed to get input map for signature: {name or 'DEFAULT'}")
        return found

    def run(self, signature: Signature, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a signature. Feeds pass the placeholders by: declared shapes are not checked, dtypes must fit.

        Args:
            inputs: one array an input of the signature.

        Raises:
            StatusError: what the graph raised.
        """
        if self._python_op:
            raise invalid(f"No OpKernel was registered to support Op '{self._python_op}' used by the model: the server has no Python")
        try:
            return dict(zip(signature.outputs, self._run_of(signature)(*(inputs[name] for name in signature.inputs)), strict=True))
        except Exception as error:
            raise status_of(error) from error

    def close(self) -> None:
        """Gives the memory back. No run may be under way."""
        self._session.close()

    def _run_of(self, signature: Signature) -> Any:
        from tensorflow.core.protobuf import config_pb2

        with self._lock:
            if signature.name not in self._runs:
                definition = self.meta_graph.signature_def[signature.name]
                options = config_pb2.CallableOptions(
                    feed=[definition.inputs[name].name for name in signature.inputs],
                    fetch=[definition.outputs[name].name for name in signature.outputs],
                )
                options.run_options.timeout_in_ms = self._timeout_ms
                # session.run would check fed values against the placeholders' shapes, which the server does not
                self._runs[signature.name] = self._session._make_callable_from_options(options)
            return self._runs[signature.name]

    def _replay(self, folder: Path) -> None:
        from serving.layout import EXTRA, WARMUP

        if not (folder / EXTRA / WARMUP).is_file():
            return
        from serving.warmup import MAX_RECORDS, read_warmup

        records = read_warmup(folder / EXTRA)
        if len(records) > MAX_RECORDS:
            raise invalid(f"Number of warmup records exceeds the maximum ({MAX_RECORDS})")
        for name, inputs in records:
            self.run(*self._checked(name, inputs))

    def _checked(self, name: str, inputs: dict[str, np.ndarray]) -> tuple[Signature, dict[str, np.ndarray]]:
        """What gRPC checks of a request, which is what a warm-up record is."""
        import tensorflow as tf

        signature = self.signatures.get(name or DEFAULT_SIGNATURE)
        if signature is None:
            raise StatusError(Code.FAILED_PRECONDITION, f'Serving signature key "{name or DEFAULT_SIGNATURE}" not found.')
        extra, missing = sorted(set(inputs) - set(signature.inputs)), sorted(set(signature.inputs) - set(inputs))
        if extra or missing:
            raise invalid(f"input size does not match signature. Sent extra: {{{','.join(extra)}}}. Missing but required: {{{','.join(missing)}}}.")
        for index, (key, expected) in enumerate(signature.inputs.items()):
            received = _dtype_name(tf.dtypes.as_dtype(inputs[key].dtype).as_datatype_enum)
            if received != expected:
                raise invalid(f"Expects arg[{index}] to be {expected} but {received} is provided")
        return signature, inputs


def status_of(error: Exception) -> StatusError:
    """Any failure of TensorFlow as a code and a message."""
    if isinstance(error, StatusError):
        return error
    code = getattr(error, "error_code", None)  # of tf.errors.OpError
    if code is not None:
        return StatusError(Code(code), str(getattr(error, "message", error)).removeprefix("Graph execution error:").strip())
    kind = Code.INVALID_ARGUMENT if isinstance(error, (ValueError, TypeError)) else Code.INTERNAL
    return StatusError(kind, f"{type(error).__name__}: {error}")


def _load(session: Any, folder: Path) -> Any:
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    file = folder / "saved_model.pb"
    if not file.is_file():
        raise StatusError(Code.NOT_FOUND, f"Could not find SavedModel .pb at supplied export directory path: {folder}")
    if (folder / "variables" / "variables.index").is_file():
        try:
            return tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], str(folder))
        except OSError as error:
            raise StatusError(Code.OUT_OF_RANGE, f"Read less bytes than requested: {error}") from None
        except RuntimeError as error:  # no graph with that tag
            raise StatusError(Code.NOT_FOUND, str(error)) from None
    # The Python loader refuses a folder without variables; the server takes it, since a model may have none.
    try:
        saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    except DecodeError as error:
        raise StatusError(Code.OUT_OF_RANGE, f"Read less bytes than requested: {error}") from None
    meta = next((meta for meta in saved.meta_graphs if list(meta.meta_info_def.tags) == [tf.saved_model.SERVING]), None)
    if meta is None:
        raise StatusError(Code.NOT_FOUND, f"Could not find meta graph def matching supplied tags: {{ {tf.saved_model.SERVING} }}")
    tf.compat.v1.train.import_meta_graph(meta)
    if "__saved_model_init_op" in meta.signature_def:
        session.run(meta.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name)
    return meta


def _signature(name: str, definition: Any) -> Signature:
    return Signature(name, definition.method_name, _dtypes(definition.inputs), _dtypes(definition.outputs))


def _dtypes(tensors: Any) -> dict[str, str]:
    return {name: _dtype_name(tensors[name].dtype) for name in sorted(tensors)}


def _dtype_name(enum: int) -> str:
    from tensorflow.core.framework import types_pb2

    return types_pb2.DataType.Name(enum).removeprefix("DT_").lower()


def _python_op(graph: Any) -> str:
    ops = {node.op for node in graph.node} | {node.op for function in graph.library.function for node in function.node_def}
    return min(ops & _PYTHON_OPS, default="")
