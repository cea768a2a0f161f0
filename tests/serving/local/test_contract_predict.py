"""The JSON of predict requests: what TF Serving 2.20 takes, refuses and answers, held against any server (`--server http://host:port`)."""

import json
import math

import pytest

from tests.serving.local.contract_models import MAX_CANDIDATES

FOUR = {"ids": [1, 2], "weights": [0.5, 1.5], "words": ["a", "b"], "flags": [True, False]}
COLUMNS = {name: [value] for name, value in FOUR.items()}


def of(signature, body="", **request):
    """A request as text: literals that `json` cannot write go into `body`."""
    return f'{{"signature_name": "{signature}", {body}}}' if body else {"signature_name": signature, **request}


# --- the document


@pytest.mark.parametrize(
    "body", ["", " ", "{", "[", "nonsense", '{"instances": [[1.0]}', '{"instances": [[1.0,]]}', "{'instances': [[1.0]]}", b"\xff\xfe", '{"a"}']
)
def test_what_is_not_json_is_400(ask, body):
    reply = ask.predict(body)
    assert reply.status == 400 and reply.error


@pytest.mark.parametrize("body", ["[]", "1", '"text"', "null", "[[1.0]]"])
def test_the_top_level_must_be_an_object(ask, body):
    reply = ask.predict(body)
    assert reply.status == 400 and reply.error


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"signature_name": "floats"},
        {"signature_name": "floats", "instances": [[1.0]], "inputs": [[1.0]]},
        {"signature_name": "floats", "instances": []},
        {"signature_name": "floats", "instances": 1.0},
        {"signature_name": "floats", "instances": {"x": [1.0]}},
        {"signature_name": 5, "instances": [[1.0]]},
        {"signature_name": None, "instances": [[1.0]]},
        {"signature_name": ["floats"], "instances": [[1.0]]},
    ],
)
def test_a_document_of_another_form_is_400(ask, request_):
    reply = ask.predict(request_)
    assert reply.status == 400 and reply.error


def test_unknown_keys_are_ignored(ask):
    assert ask.predict(of("floats", inputs=[[1.0]], output_filter=["zzz"], other={"deep": [1]})).json == {"outputs": [[2.0]]}


@pytest.mark.parametrize("garbage", [" trailing", "}}}", '{"inputs": 5}', "\n\n]"])
def test_what_follows_the_document_is_ignored(ask, garbage):
    assert ask.predict(json.dumps(of("floats", inputs=[[1.0]])) + garbage).json == {"outputs": [[2.0]]}


def test_the_first_of_two_equal_keys_wins(ask):
    assert ask.predict('{"signature_name": "floats", "inputs": [[1.0]], "inputs": [[9.0]], "signature_name": "doubles"}').json == {"outputs": [[2.0]]}


def test_no_signature_name_means_serving_default(ask):
    expected = {"ids_out": [1, 2], "weights_out": [0.5, 1.5], "words_out": ["a", "b"], "flags_out": [True, False]}
    assert ask.predict({"instances": [FOUR]}).json == {"predictions": [expected]}
    assert ask.predict({"signature_name": "serving_default", "instances": [FOUR]}).json == {"predictions": [expected]}


# --- row form


def test_rows_are_stacked(ask):
    reply = ask.predict({"instances": [FOUR, {**FOUR, "ids": [7, 8]}]}).json["predictions"]
    assert [row["ids_out"] for row in reply] == [[1, 2], [7, 8]]


def test_a_single_input_goes_bare_or_by_name_and_one_output_comes_bare(ask):
    assert ask.predict(of("floats", instances=[[1.0, 2.0], [3.0, 4.0]])).json == {"predictions": [[2.0, 4.0], [6.0, 8.0]]}
    assert ask.predict(of("floats", instances=[{"x": [1.0, 2.0]}])).json == {"predictions": [[2.0, 4.0]]}


def test_a_row_without_an_input_is_400(ask):
    reply = ask.predict({"instances": [{name: value for name, value in FOUR.items() if name != "words"}]})
    assert reply.status == 400
    assert "keys must be equal to: flags,ids,weights,words" in reply.error


def test_a_row_with_another_input_is_400(ask):
    reply = ask.predict({"instances": [{**FOUR, "zzz": [1]}]})
    assert reply.status == 400
    assert "does not have named input: zzz" in reply.error


@pytest.mark.parametrize("instances", [[[1, 2]], [1], [FOUR, [1]], ["text"], [None]])
def test_rows_of_several_inputs_must_be_objects(ask, instances):
    reply = ask.predict({"instances": instances})
    assert reply.status == 400 and reply.error


@pytest.mark.parametrize("instances", [[[1.0], {"x": [1.0]}], [{"x": [1.0]}, [1.0]]])
def test_bare_and_named_rows_do_not_mix(ask, instances):
    reply = ask.predict(of("floats", instances=instances))
    assert reply.status == 400 and reply.error


def test_rows_must_have_one_shape(ask):
    reply = ask.predict(of("floats", instances=[[1.0, 2.0], [3.0]]))
    assert reply.status == 400
    assert "Expecting tensor size: 2 but got: 1" in reply.error
    reply = ask.predict({"instances": [FOUR, {**FOUR, "ids": [1]}]})
    assert reply.status == 400
    assert "Expecting tensor size: 2 but got: 1" in reply.error


def test_outputs_of_a_row_answer_need_a_batch(ask):
    reply = ask.predict(of("total", instances=[[1.0, 2.0]]))
    assert reply.status == 400
    assert "has no shape information" in reply.error
    reply = ask.predict(of("batches", instances=[1.0, 2.0]))
    assert reply.status == 400
    assert "has inconsistent batch size" in reply.error


# --- columnar form


def test_columns_are_taken_as_given(ask):
    expected = {"ids_out": [[1, 2]], "weights_out": [[0.5, 1.5]], "words_out": [["a", "b"]], "flags_out": [[True, False]]}
    assert ask.predict({"inputs": COLUMNS}).json == {"outputs": expected}
    assert ask.predict(of("batches", inputs=[1.0, 2.0])).json == {"outputs": {"a": [1.0, 2.0], "b": [1.0, 2.0, 1.0, 2.0]}}


def test_a_single_column_goes_bare_or_by_name_and_one_output_comes_bare(ask):
    assert ask.predict(of("floats", inputs=[[1.0], [2.0]])).json == {"outputs": [[2.0], [4.0]]}
    assert ask.predict(of("floats", inputs={"x": [[1.0], [2.0]]})).json == {"outputs": [[2.0], [4.0]]}


def test_scalars_go_in_and_out(ask):
    assert ask.predict(of("scalar", inputs=3.0)).json == {"outputs": 6.0}
    assert ask.predict(of("total", inputs=[[1.0, 2.5]])).json == {"outputs": 3.5}


def test_columns_may_have_different_lengths(ask):
    assert ask.predict(of("lengths", inputs={"a": [1.0, 2.0, 4.0], "b": [0.5]})).json == {"outputs": {"a_total": 7.0, "b_total": 0.5}}


def test_a_missing_column_is_400(ask):
    reply = ask.predict({"inputs": {name: value for name, value in COLUMNS.items() if name != "ids"}})
    assert (reply.status, reply.error) == (400, "Missing named input: ids in 'inputs' object.")


def test_a_column_too_many_is_ignored(ask):
    assert ask.predict({"inputs": {**COLUMNS, "zzz": ["?"]}}).json == ask.predict({"inputs": COLUMNS}).json


def test_several_inputs_need_names(ask):
    reply = ask.predict({"inputs": [[1]]})
    assert reply.status == 400 and reply.error


# --- shapes


def test_ragged_lists_are_400(ask):
    reply = ask.predict(of("floats", inputs=[[1.0, 2.0], [3.0]]))
    assert (reply.status, reply.error) == (400, "Encountered list at unexpected size: 1 at level: 1 expected size: 2")


@pytest.mark.parametrize("inputs", [[[1.0], 2.0], [1.0, [2.0]], [[1.0], [[2.0]]], [[[1.0]], [2.0]]])
def test_lists_of_uneven_depth_are_400(ask, inputs):
    reply = ask.predict(of("floats", inputs=inputs))
    assert reply.status == 400 and reply.error


def test_an_empty_list_is_a_dimension_of_zero(ask):
    assert ask.predict(of("floats", inputs=[[], []])).json == {"outputs": [[], []]}
    assert ask.predict(of("floats", instances=[[], []])).json == {"predictions": [[], []]}
    assert ask.predict(of("floats", inputs=[])).json == {"outputs": []}


def test_declared_shapes_are_not_checked(ask):
    assert ask.predict(of("four_wide", inputs=[[1.0, 2.0]])).json == {"outputs": [3.0]}


def test_shapes_that_the_graph_checks_are(ask):
    assert ask.predict(of("same_shape", inputs=[[1.0, 2.0, 3.0, 4.0]])).json == {"outputs": [[2.0, 4.0, 6.0, 8.0]]}
    reply = ask.predict(of("same_shape", inputs=[[1.0, 2.0]]))
    assert reply.status == 400 and reply.error


def test_a_cap_in_the_graph_answers_400(ask):
    within = ask.predict(of("capped", instances=[{"candidate_ids": list(range(MAX_CANDIDATES))}]))
    assert within.status == 200 and within.json["predictions"][0][999] == pytest.approx(0.999)
    for count in (MAX_CANDIDATES + 1, 10_000):
        reply = ask.predict(of("capped", instances=[{"candidate_ids": list(range(count))}]))
        assert reply.status == 400
        assert f"at most {MAX_CANDIDATES} candidates" in reply.error


# --- literals


@pytest.mark.parametrize("literal", ["10.0", "1e1", '"10"', "null", "true", "false", str(2**63), str(-(2**63) - 1), "{}", '{"b64": "MTA="}'])
def test_a_long_takes_nothing_but_a_64_bit_integer(ask, literal):
    for body in (f'"inputs": [[{literal}]]', f'"instances": [[{literal}]]'):
        reply = ask.predict(of("longs", body))
        assert reply.status == 400
        assert "is not of expected type: int64" in reply.error


@pytest.mark.parametrize("number", [0, -1, 2**53 + 1, 2**63 - 1, -(2**63)])
def test_a_long_survives_exactly(ask, number):
    assert ask.predict(of("longs", inputs=[[number]])).json == {"outputs": [[number]]}


@pytest.mark.parametrize(("signature", "dtype"), [("ints", "int32"), ("small_ints", "uint8")])
def test_narrow_integers_take_a_32_bit_integer(ask, signature, dtype):
    assert ask.predict(of(signature, inputs=[[7, 0]])).json == {"outputs": [[7, 0]]}
    for literal in ("7.0", '"7"', "true", "null", str(2**31)):
        reply = ask.predict(of(signature, f'"inputs": [[{literal}]]'))
        assert reply.status == 400
        assert f"is not of expected type: {dtype}" in reply.error


@pytest.mark.parametrize(
    ("literal", "expected"),
    [("1", 2.0), ("-0.5", -1.0), ("2e-3", 0.004), ("9007199254740993", 2.0**54), ("1e39", math.inf), ("-1e39", -math.inf), ("Infinity", math.inf)],
)
def test_a_float_takes_any_number(ask, literal, expected):
    assert ask.predict(of("floats", f'"inputs": [[{literal}]]')).json == {"outputs": [[pytest.approx(expected, rel=1e-6)]]}


@pytest.mark.parametrize("literal", ['"1"', "true", "null", "{}"])
def test_a_float_takes_nothing_but_numbers(ask, literal):
    reply = ask.predict(of("floats", f'"inputs": [[{literal}]]'))
    assert reply.status == 400
    assert "is not of expected type: float" in reply.error


def test_nan_and_infinity_are_read_and_written(ask):
    reply = ask.predict(of("floats", '"inputs": [[NaN, Infinity, -Infinity]]'))
    assert b"NaN" in reply.body and b"-Infinity" in reply.body
    values = reply.json["outputs"][0]
    assert math.isnan(values[0]) and values[1:] == [math.inf, -math.inf]


def test_a_number_beyond_a_double_is_400(ask):
    reply = ask.predict(of("doubles", '"inputs": [[1e400]]'))
    assert reply.status == 400 and reply.error


def test_numbers_are_the_shortest_that_come_back(ask):
    reply = ask.predict(of("doubles", inputs=[[0.1, 1.0, 1 / 3, 1e300, 123456789.0]]))
    assert reply.json == {"outputs": [[0.1, 1.0, 1 / 3, 1e300, 123456789.0]]}
    reply = ask.predict(of("floats", inputs=[[0.05, 1.5]])).body
    assert b"0.1" in reply and b"0.10000000" not in reply and b"3.0" in reply


@pytest.mark.parametrize("literal", ["1", "0", '"true"', "null", "1.0"])
def test_a_boolean_takes_nothing_but_true_and_false(ask, literal):
    columns = json.dumps({name: value for name, value in COLUMNS.items() if name != "flags"})[:-1]
    reply = ask.predict(f'{{"inputs": {columns}, "flags": [[{literal}]]}}}}')
    assert reply.status == 400
    assert "is not of expected type: bool" in reply.error


def test_a_string_is_plain_or_base64(ask):
    reply = ask.predict(of("texts", inputs=[["plain", {"b64": "aGVsbG8="}, "", "h\u00e9 \u4e2d \U0001f600", 'quo"te\n\\']]))
    assert reply.json == {"outputs": [["plain", "hello", "", "h\u00e9 \u4e2d \U0001f600", 'quo"te\n\\']]}
    assert ask.predict(of("texts", instances=[[{"b64": "aGVsbG8="}]])).json == {"predictions": [["hello"]]}


@pytest.mark.parametrize(
    "literal", ["1", "1.5", "true", "null", '{"b64": 1}', '{"b64": "aGVsbG8=", "more": 1}', '{"other": "aGVsbG8="}', '{"b64": "***"}']
)
def test_a_string_takes_nothing_else(ask, literal):
    reply = ask.predict(of("texts", f'"inputs": [[{literal}]]'))
    assert reply.status == 400 and reply.error


def test_bytes_come_out_raw_unless_the_output_says_bytes(ask):
    assert b'"\xff"' in ask.predict(of("texts", inputs=[[{"b64": "/w=="}]])).body
    assert ask.predict(of("raw_bytes", inputs=[[{"b64": "/w=="}, "a"]])).json == {"outputs": [[{"b64": "/w=="}, {"b64": "YQ=="}]]}
    assert ask.predict(of("raw_bytes", instances=[["a"]])).json == {"predictions": [[{"b64": "YQ=="}]]}


def test_half_precision_does_not_pass_the_rest_interface(ask):
    reply = ask.predict(of("half_in", inputs=[[1.0]]))
    assert reply.status == 501 and reply.error
    for form in ("inputs", "instances"):
        reply = ask.predict(of("half_out", **{form: [[1.0]]}))
        assert (reply.status, reply.error) == (400, "Failed to write JSON value for tensor type: half")
