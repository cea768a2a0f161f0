"""An example of a gRPC client, with the package tensorflow-serving-api: half the time of REST for long lists of candidates.

    python -m serving.grpc_client --target 127.0.0.1:8500 --model synthetic --user 5 --history 3,2,1 --candidates 7,8,9

Prints what `python -m serving.client ... rank` prints; histories are given NEWEST FIRST, as there. Only the real server
speaks gRPC, `serving.local` does not.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from serving.client import BadInputError, add_rank_arguments, printing, read_arguments, request_row

_PREDICT = "/tensorflow.serving.PredictionService/Predict"
_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"


class GrpcClient:
    """Asks one model over gRPC. May be shared by threads.

    Args:
        target: `host:port`.
        model: the model's name.
        timeout: seconds that a call may take; also ends the model's run on the server.
        label: a label of the server's model.config, such as `stable`, instead of the latest version.

    Example:

    ```python
    with GrpcClient("127.0.0.1:8500", "synthetic") as client:
        client.rank(user_id=5, history=[3, 2], candidates=[7, 8, 9])
    ```
    """

    def __init__(self, target: str, model: str, *, timeout: float = 2.0, label: str | None = None):
        import grpc
        from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

        self.model, self._timeout, self._label = model, timeout, label
        self._channel = grpc.insecure_channel(target)
        self._predict = _method(self._channel, _PREDICT, predict_pb2.PredictRequest, predict_pb2.PredictResponse)
        self._metadata = _method(
            self._channel, _METADATA, get_model_metadata_pb2.GetModelMetadataRequest, get_model_metadata_pb2.GetModelMetadataResponse
        )

    def signature(self, name: str = "serving_default") -> dict[str, Any]:
        """What the model says of a signature: `inputs` and `outputs`, in the form of the REST interface.

        Raises:
            BadInputError: it has none of that name.
        """
        from google.protobuf.json_format import MessageToDict
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self.model
        if self._label is not None:
            request.model_spec.version_label = self._label
        found = get_model_metadata_pb2.SignatureDefMap()
        self._metadata(request, timeout=self._timeout).metadata["signature_def"].Unpack(found)
        if name not in found.signature_def:
            raise BadInputError(f"The signature must be one of {', '.join(sorted(found.signature_def))}. Received: {name}.")
        return MessageToDict(found.signature_def[name], preserving_proto_field_name=True)

    def rank(self, **arguments: Any) -> dict[str, list[float]]:
        """Scores by task, in the order of the candidates; the arguments are those of `serving.client.Client.rank` without `by`."""
        import tensorflow as tf

        signature = self.signature()
        request = predict_request(self.model, signature, request_row(signature, **arguments))
        if self._label is not None:
            request.model_spec.version_label = self._label
        response = self._predict(request, timeout=self._timeout)
        return {task: tf.make_ndarray(value)[0].tolist() for task, value in sorted(response.outputs.items())}

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def __enter__(self) -> GrpcClient:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def predict_request(model: str, signature: Mapping[str, Any], row: Mapping[str, Any]) -> Any:
    """A `PredictRequest` of one row: each value gets a leading batch of one."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, "serving_default"
    for name, value in row.items():
        dtype = getattr(tf, signature["inputs"][name]["dtype"].removeprefix("DT_").lower())
        request.inputs[name].CopyFrom(tf.make_tensor_proto([value], dtype=dtype))
    return request


def _method(channel: Any, path: str, request: Any, response: Any) -> Any:
    return channel.unary_unary(path, request_serializer=request.SerializeToString, response_deserializer=response.FromString)


@printing()
def main(arguments: list[str] | None = None) -> None:
    """The command line. Exits with 1 where the server refuses or is not there, 2 where the arguments do not fit the model."""
    parser = argparse.ArgumentParser(prog="python -m serving.grpc_client", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="127.0.0.1:8500", help="host and port of the gRPC interface (default: %(default)s)")
    parser.add_argument("--model", required=True, help="the model's name")
    parser.add_argument("--label", help="a label of the server's model.config, such as stable (default: the latest version)")
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds that a call may take (default: %(default)s)")
    add_rank_arguments(parser)
    options = parser.parse_args(arguments)
    import grpc

    try:
        with GrpcClient(options.target, options.model, timeout=options.timeout, label=options.label) as client:
            answer = client.rank(**read_arguments(options, client.signature()))
    except BadInputError as error:
        print(f"serving.grpc_client: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except grpc.RpcError as error:
        print(f"serving.grpc_client: {error.code().name}: {error.details()}", file=sys.stderr)
        raise SystemExit(1) from None
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
