"""Paths, verbs, codes, status and metadata: what TF Serving 2.20 answers, held against any server (`--server http://host:port`)."""

import gzip

import pytest

ROW = '{"signature_name": "floats", "instances": [[1.0, 2.5]]}'
VALUES = {"instances": [[3.0]]}


def available(version):
    return {"version": version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}


@pytest.mark.parametrize("path", ["/", "/v1", "/healthz", "/metrics"])
def test_other_paths_get_a_page_and_no_json(ask, path):
    reply = ask.get(path)
    assert reply.status == 404
    assert reply.body.lower().lstrip().startswith(b"<html")
    assert "json" not in reply.headers["content-type"]


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("GET", "/v1/models/plain:predict"),
        ("POST", "/v1/models/plain"),
        ("POST", "/v1/models/plain/metadata"),
        ("POST", "/v1/models/plain:Predict"),
        ("POST", "/v1/models/plain:PREDICT"),
        ("POST", "/v1/models/plain:rank"),
        ("POST", "/v1/models/plain/versions/one:predict"),
        ("PUT", "/v1/models/plain:predict"),
        ("DELETE", "/v1/models/plain"),
        ("GET", "/v1/models/plain/other"),
        ("GET", "/v1/other"),
    ],
)
def test_a_wrong_verb_or_suffix_is_400_and_never_405(ask, verb, path):
    reply = ask.send(verb, path, ROW if verb in ("POST", "PUT") else None)
    assert (reply.status, reply.error) == (400, f"Malformed request: {verb} {path}")


def test_the_path_is_matched_without_regard_to_case(ask):
    assert ask.send("POST", "/V1/Models/plain:predict", ROW).json == {"predictions": [[2.0, 5.0]]}
    assert ask.get("/v1/MODELS/latest").json == {"model_version_status": [available("2")]}


def test_the_model_name_is_case_sensitive(ask):
    assert ask.predict(VALUES, model="Latest").status == 404


@pytest.mark.parametrize("path", ["/v1/models/plain/versions/9223372036854775808", "/v1/models/plain/versions/99999999999999999999999999999"])
def test_a_version_beyond_64_bits_is_400_with_an_empty_body(ask, path):
    for reply in (ask.get(path), ask.send("POST", f"{path}:predict", ROW)):
        assert (reply.status, reply.body) == (400, b"")


def test_the_largest_version_is_merely_unknown(ask):
    reply = ask.send("POST", "/v1/models/plain/versions/9223372036854775807:predict", ROW)
    assert (reply.status, reply.error) == (404, "Servable not found for request: Specific(plain, 9223372036854775807)")


@pytest.mark.parametrize(
    ("model", "code", "message"),
    [
        ("nobody", 404, "Servable not found for request: Latest(nobody)"),
        ("nobody/versions/3", 404, "Servable not found for request: Specific(nobody, 3)"),
        ("latest/versions/9", 404, "Servable not found for request: Specific(latest, 9)"),
        ("versions/labels/nothing", 400, "Unrecognized servable version label: nothing"),
    ],
)
def test_what_is_not_served_is_named(ask, model, code, message):
    reply = ask.predict(VALUES, model=model)
    assert (reply.status, reply.error) == (code, message)


def test_an_older_version_is_not_served_unless_the_policy_says_so(ask):
    assert ask.predict(VALUES, model="latest").json == {"predictions": [[6.0]]}
    assert ask.predict(VALUES, model="latest/versions/2").json == {"predictions": [[6.0]]}
    assert ask.predict(VALUES, model="latest/versions/1").status == 404


@pytest.mark.parametrize(
    ("which", "factor"), [("", 2.0), ("/versions/1", 1.0), ("/versions/2", 2.0), ("/labels/stable", 1.0), ("/labels/canary", 2.0)]
)
def test_versions_and_labels_choose(ask, which, factor):
    assert ask.predict(VALUES, model=f"versions{which}").json == {"predictions": [[3.0 * factor]]}


def test_status_lists_the_newest_first(ask):
    assert ask.get("/v1/models/versions").json == {"model_version_status": [available("2"), available("1")]}
    assert ask.get("/v1/models/versions/versions/1").json == {"model_version_status": [available("1")]}
    for label in ("stable", "nothing"):  # read over
        assert ask.get(f"/v1/models/versions/labels/{label}").json == ask.get("/v1/models/versions").json


def test_status_of_what_is_not_there(ask):
    reply = ask.get("/v1/models/nobody")
    assert (reply.status, reply.error) == (404, "Could not find any versions of model nobody")
    reply = ask.get("/v1/models")
    assert (reply.status, reply.error) == (400, "Missing model name in request.")
    reply = ask.get("/v1/models/latest/versions/9")
    assert reply.status == 404 and reply.error


def test_metadata_holds_the_signatures_as_protobuf_json(ask):
    content = ask.get("/v1/models/latest/metadata").json
    assert content["model_spec"] == {"name": "latest", "signature_name": "", "version": "2"}
    signatures = content["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default", "__saved_model_init_op"}
    x = signatures["serving_default"]["inputs"]["x"]
    assert x["dtype"] == "DT_FLOAT"
    assert [(axis["size"], axis["name"]) for axis in x["tensor_shape"]["dim"]] == [("-1", ""), ("-1", "")]
    assert x["tensor_shape"]["unknown_rank"] is False
    assert set(signatures["serving_default"]["outputs"]) == {"y"}
    assert signatures["serving_default"]["method_name"] == "tensorflow/serving/predict"


def test_metadata_of_a_version(ask):
    assert ask.get("/v1/models/versions/versions/1/metadata").json["model_spec"]["version"] == "1"
    assert ask.get("/v1/models/versions/labels/canary/metadata").json["model_spec"]["version"] == "2"
    assert ask.get("/v1/models/nobody/metadata").status == 404


def test_the_content_type_of_a_request_is_ignored(ask):
    assert ask.predict(ROW, Content_Type="text/plain").json == {"predictions": [[2.0, 5.0]]}


def test_a_gzip_body_is_read_and_no_answer_is_packed(ask):
    reply = ask.predict(gzip.compress(ROW.encode()), Content_Encoding="gzip", Accept_Encoding="gzip")
    assert reply.json == {"predictions": [[2.0, 5.0]]}
    assert "content-encoding" not in reply.headers


def test_options_with_an_origin_is_200(ask):
    assert ask.send("OPTIONS", "/v1/models/plain", None, {"Origin": "http://shop.example"}).status == 200


def test_answers_are_json(ask):
    assert ask.predict(ROW).headers["content-type"].startswith("application/json")
    assert ask.get("/v1/models/plain").headers["content-type"].startswith("application/json")


def test_an_unknown_signature_is_400(ask):
    reply = ask.predict({"signature_name": "nope", "instances": [[1.0]]})
    assert (reply.status, reply.error) == (400, 'Serving signature name: "nope" not found in signature def')


def test_not_found_inside_the_graph_is_404_too(ask):
    reply = ask.predict({"signature_name": "missing_file", "instances": [[1.0]]})
    assert reply.status == 404
    assert "/no/such/file" in reply.error and "Servable" not in reply.error
