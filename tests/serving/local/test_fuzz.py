"""Malformed requests without end: each gets a 4xx with a JSON error, or 200 if it happens to be valid, and the server lives.

Bounded and the same on each run. With `--server` it tries any other server, which must not be one in use.
"""

import json
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, configuration, given, settings
from hypothesis import strategies as st

from tests.serving.asking import Asker
from tests.serving.local.contract_models import MAX_CANDIDATES

# before any strategy is made: its caches go outside the repository
configuration.set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "ppm_tf_hypothesis")

SIGNATURES = ["serving_default", "floats", "longs", "texts", "capped", "scalar", "total", "same_shape", "batches", "lengths", "raw_bytes", "nope"]
GOOD = '{"signature_name": "floats", "inputs": [[1.0]]}'
VALID = [
    json.dumps({"instances": [{"ids": [1, 2], "weights": [0.5, 1.5], "words": ["a", "\u4e2d"], "flags": [True, False]}]}, ensure_ascii=False),
    json.dumps({"inputs": {"ids": [[1]], "weights": [[0.5]], "words": [[{"b64": "/w=="}]], "flags": [[True]]}}),
    json.dumps({"signature_name": "capped", "instances": [{"candidate_ids": [1, 2, 3]}]}),
]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),  # NaN and the infinities, too, as the literals that the server knows
    st.text(max_size=5),
    st.fixed_dictionaries({"b64": st.text(max_size=5)}),
)
keys = st.sampled_from(["x", "ids", "words", "b64", "a"])
values = st.recursive(scalars, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=3)), max_leaves=12)
documents = st.one_of(
    values,
    st.fixed_dictionaries(
        {},
        optional={
            "signature_name": st.one_of(st.sampled_from(SIGNATURES), values),
            "instances": values,
            "inputs": values,
            "other": values,
        },
    ),
    st.fixed_dictionaries({"signature_name": st.sampled_from(SIGNATURES), "instances": st.lists(values, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"signature_name": st.sampled_from(SIGNATURES), "inputs": values}),
)

# the server is the suite's; each example is a request of its own
bounded = settings(derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture(autouse=True)
def alive(ask):
    """The server answers a good request after each test."""
    yield
    assert ask.predict(GOOD).json == {"outputs": [[2.0]]}


def check(reply):
    if reply.status == 200:
        assert set(reply.json) <= {"predictions", "outputs"}
    else:
        assert 400 <= reply.status < 500, (reply.status, reply.body[:300])
        assert reply.error
    return reply


@settings(bounded, max_examples=250)
@given(documents)
def test_any_document(server_url, document):
    check(Asker(server_url).predict(json.dumps(document)))


@settings(bounded, max_examples=80)
@given(st.binary(max_size=60))
def test_any_bytes(server_url, body):
    check(Asker(server_url).predict(body))


@settings(bounded, max_examples=200)
@given(st.sampled_from(VALID), st.data())
def test_valid_requests_cut_or_changed(server_url, text, data):
    body = bytearray(text.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body) - 1))
        change = data.draw(st.sampled_from(["cut", "flip", "drop", "insert", "double"]))
        if change == "cut" and place:
            del body[place:]
        elif change == "flip":
            body[place] ^= 1 << data.draw(st.integers(0, 7))
        elif change == "insert":
            body[place:place] = data.draw(
                st.sampled_from([b"[", b"]", b"{", b"}", b'"', b",", b":", b"\\", b"1", b"-", b"e", b"null", b"NaN", b"\x00", b"\xff"])
            )
        elif change == "double":
            body[place:place] = body[max(0, place - 8) : place]
        elif len(body) > 1:
            del body[place]
    check(Asker(server_url).predict(bytes(body)))


@settings(bounded, max_examples=60)
@given(
    st.sampled_from(SIGNATURES),
    st.lists(st.lists(st.one_of(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=2)), max_size=3), min_size=2, max_size=4),
)
def test_ragged_rows(server_url, signature, rows):
    for form in ("instances", "inputs"):
        reply = check(Asker(server_url).predict({"signature_name": signature, form: rows}))
        if len({len(row) for row in rows}) > 1:
            assert reply.status == 400 or signature in ("scalar", "nope")


@settings(bounded, max_examples=80)
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]), st.text("/v1models:predictlabn2%.-_ ~", max_size=30).map(lambda text: text.replace(" ", "%20"))
)
def test_any_path_below_the_models(server_url, verb, path):
    from http import HTTPStatus

    reply = Asker(server_url).send(verb, f"/v1/models/{path}", GOOD if verb == "POST" else None)
    assert reply.status in (HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND)
    if "json" in reply.headers.get("content-type", ""):  # a server may refuse a bad escape before it looks at the path
        assert reply.body == b"" or reply.json


def nested(opening, leaf, depth):
    closing = {"[": "]", "{": "}"}
    return opening * depth + leaf + "".join(closing[letter] for letter in reversed(opening) if letter in closing) * depth


@pytest.mark.parametrize("depth", [100, 1_000, 20_000])
@pytest.mark.parametrize("opening", ["[", '{"x":', '[{"x":'])
@pytest.mark.parametrize("frame", ['{{"signature_name": "floats", "instances": {}}}', '{{"signature_name": "floats", "inputs": {}}}', "{}"])
def test_deep_nesting_is_refused(ask, opening, depth, frame):
    depth //= opening.count("[") + opening.count("{")  # the real server survives 20,000 levels and no 50,000
    assert check(ask.predict(frame.format(nested(opening, "1.0", depth)))).status == 400
    assert check(ask.predict(frame.format(opening * depth))).status == 400


def test_a_deep_key_that_nobody_reads_does_no_harm(ask):
    check(ask.predict(f'{{"signature_name": "floats", "inputs": [[1.0]], "other": {nested("[", "1", 20_000)}}}'))


@pytest.mark.parametrize("size", [1_900_000, 5_000_000])  # below and above what the local server reads
@pytest.mark.parametrize("filler", ['"', "[0],", "1,", "\\", " ", "[", '{"a":0},'])
def test_a_huge_body_is_refused(ask, filler, size):
    body = '{"signature_name": "capped", "inputs": [[' + filler * (size // len(filler)) + "?]]}"
    assert check(ask.predict(body)).status in (400, 413)


def test_a_huge_valid_document_is_refused_by_the_model(ask):
    body = json.dumps({"signature_name": "capped", "inputs": [list(range(250_000))]})
    assert 1_000_000 < len(body) < 2_000_000
    reply = check(ask.predict(body))
    assert reply.status == 400 and f"at most {MAX_CANDIDATES} candidates" in reply.error


def test_ten_thousand_candidates_are_refused(ask):
    for form, value in (("instances", [{"candidate_ids": list(range(10_000))}]), ("inputs", [list(range(10_000))])):
        reply = check(ask.predict({"signature_name": "capped", form: value}))
        assert reply.status == 400 and f"at most {MAX_CANDIDATES} candidates" in reply.error


def test_a_thousand_rows_of_which_one_is_odd(ask):
    rows = [[1.0, 2.0] for _ in range(1000)]
    rows[random.Random(5).randrange(1000)] = [1.0]
    assert check(ask.predict({"signature_name": "floats", "instances": rows})).status == 400
