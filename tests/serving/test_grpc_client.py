"""The gRPC example against a server of the same service in this process, which keeps what it was asked."""

import json
from concurrent import futures

import pytest

from serving.client import BadInputError
from serving.grpc_client import GrpcClient, main

grpc = pytest.importorskip("grpc")
pytest.importorskip("tensorflow_serving")

INPUTS = {"candidate_ids": "DT_INT64", "history_ids": "DT_INT64", "history_times": "DT_INT64", "time": "DT_INT64", "user_city": "DT_STRING"}


class Service(grpc.GenericRpcHandler):
    """`Predict` answers click = candidate / 10; `GetModelMetadata` describes `INPUTS`."""

    def __init__(self):
        self.asked = []

    def service(self, call):
        from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

        function, request = {
            "/tensorflow.serving.PredictionService/Predict": (self.predict, predict_pb2.PredictRequest),
            "/tensorflow.serving.PredictionService/GetModelMetadata": (self.metadata, get_model_metadata_pb2.GetModelMetadataRequest),
        }[call.method]
        return grpc.unary_unary_rpc_method_handler(function, request.FromString, lambda response: response.SerializeToString())

    def predict(self, request, context):
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        self.asked.append(request)
        response = predict_pb2.PredictResponse()
        click = tf.make_ndarray(request.inputs["candidate_ids"]).astype("float32") / 10
        response.outputs["click"].CopyFrom(tf.make_tensor_proto(click))
        return response

    def metadata(self, request, context):
        from tensorflow.core.framework import types_pb2
        from tensorflow_serving.apis import get_model_metadata_pb2

        if request.model_spec.name != "m":
            context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found for request: Latest(nobody)")
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, dtype in INPUTS.items():
            signatures.signature_def["serving_default"].inputs[name].dtype = types_pb2.DataType.Value(dtype)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(signatures)
        return response


@pytest.fixture
def service():
    service = Service()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((service,))
    service.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield service
    server.stop(None).wait()


def test_a_row_is_sent_with_a_batch_of_one(service):
    import tensorflow as tf

    with GrpcClient(service.target, "m", timeout=30) as client:
        scores = client.rank(candidates=[7, 9], history=[(1, 20), (2, 30)], time=40, user={"city": "Oslo"})
    assert scores == {"click": [pytest.approx(0.7), pytest.approx(0.9)]}
    [request] = service.asked
    assert (request.model_spec.name, request.model_spec.signature_name) == ("m", "serving_default")
    sent = {name: (tf.dtypes.as_dtype(value.dtype), tf.make_ndarray(value).tolist()) for name, value in request.inputs.items()}
    assert sent == {
        "candidate_ids": (tf.int64, [[7, 9]]),
        "history_ids": (tf.int64, [[2, 1]]),
        "history_times": (tf.int64, [[30, 20]]),
        "time": (tf.int64, [40]),
        "user_city": (tf.string, [[b"Oslo"]]),
    }


def test_a_label_goes_with_each_request(service, capsys):
    main(
        [
            "--target",
            service.target,
            "--model",
            "m",
            "--timeout",
            "30",
            "--label",
            "stable",
            "--candidates",
            "7",
            "--time",
            "40",
            "--user-field",
            "city=",
        ]
    )
    assert [request.model_spec.version_label for request in service.asked] == ["stable"]


def test_empty_lists_keep_their_dtype(service):
    import tensorflow as tf

    with GrpcClient(service.target, "m", timeout=30) as client:
        client.rank(candidates=[7], time=40, user={"city": []})
    inputs = service.asked[0].inputs
    assert [tf.dtypes.as_dtype(inputs[name].dtype) for name in ("history_ids", "user_city")] == [tf.int64, tf.string]
    assert tf.make_ndarray(inputs["history_ids"]).shape == (1, 0)


def test_a_missing_input_is_named_before_anything_is_sent(service):
    with GrpcClient(service.target, "m", timeout=30) as client, pytest.raises(BadInputError, match="The model needs time"):
        client.rank(candidates=[7], user={"city": []})
    assert service.asked == []


def test_the_command_prints_json(service, capsys):
    main(["--target", service.target, "--model", "m", "--timeout", "30", "--candidates", "7,9", "--time", "40", "--user-field", "city="])
    assert json.loads(capsys.readouterr().out) == {"click": [pytest.approx(0.7), pytest.approx(0.9)]}


@pytest.mark.parametrize(("model", "code", "message"), [("nobody", 1, "NOT_FOUND: Servable not found"), ("m", 2, "The model needs time")])
def test_the_command_exits_with_a_message(service, capsys, model, code, message):
    with pytest.raises(SystemExit, match=str(code)):
        main(["--target", service.target, "--model", model, "--timeout", "30", "--candidates", "7", "--user-field", "city="])
    assert message in capsys.readouterr().err
