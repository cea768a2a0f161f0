"""The JSON reader's rules, and the tensors and texts at its edges that no request of the contract suite reaches."""

import math

import numpy as np
import pytest

from serving.local.json_tensors import answer_of, tensor
from serving.local.json_values import MAX_NESTING, quote, read_json
from serving.local.status import Code, StatusError


def test_integers_and_decimals_are_kept_apart():
    values = read_json(b"[1, 1.0, 1e0, -0, 18446744073709551615, 18446744073709551616, -9223372036854775809]")
    assert [type(value) for value in values] == [int, float, float, int, int, float, float]
    assert values[4] == 2**64 - 1 and values[5] == 2.0**64


def test_the_first_of_equal_keys_wins_at_any_depth():
    assert read_json(b'{"a": {"b": 1, "b": 2}, "a": 3}') == {"a": {"b": 1}}


def test_literals_of_no_number():
    nan, inf, low = read_json(b"[NaN, Infinity, -Infinity]")
    assert math.isnan(nan) and (inf, low) == (math.inf, -math.inf)


@pytest.mark.parametrize("body", [b" \n\t {} rest", b"\xef\xbb\xbf{}"])
def test_what_surrounds_the_document_is_ignored(body):
    assert read_json(body) == {}


def test_bytes_that_are_no_text_survive():
    assert tensor(read_json(b'["\xff\xc3\xa9"]'), "string").tolist() == [b"\xff\xc3\xa9"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The document is empty"),
        (b"  ", "The document is empty"),
        (b"{", "JSON Parse error: .* at offset: 1"),
        (b"[1e400]", "Number too big to be stored in double"),
        (b"[" + b"9" * 5000 + b"]", "Number too big to be stored in double"),
    ],
)
def test_what_is_no_json_is_named(body, message):
    with pytest.raises(StatusError, match=message) as caught:
        read_json(body)
    assert caught.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_nesting_ends_at_the_limit(opening):
    depth = MAX_NESTING // (opening.count(b"[") + opening.count(b"{"))
    closing = opening.translate(bytes.maketrans(b"[{", b"]}"), b'"a:')[::-1]
    assert read_json(opening * depth + b"1" + closing * depth)
    for bad in (opening * (depth + 1) + b"1" + closing * (depth + 1), opening * 20_000):
        with pytest.raises(StatusError, match=f"nest at most {MAX_NESTING} deep"):
            read_json(bad)


def test_brackets_in_strings_do_not_nest():
    text = "[" * 100 + '"' + "{" * 100
    assert read_json(b'["' + text.replace('"', '\\"').encode() + b'"]') == [text]


def test_a_long_value_is_quoted_in_part():
    assert quote([1, 2]) == "[1, 2]"
    assert len(quote(list(range(10_000)))) < 1100


def test_a_lone_surrogate_is_refused():
    with pytest.raises(StatusError, match="surrogate"):
        tensor("\ud800", "string")


@pytest.mark.parametrize(("dtype", "expected"), [("uint8", [44]), ("int8", [44]), ("int16", [300])])
def test_narrow_integers_keep_their_low_bits(dtype, expected):
    assert tensor([300], dtype).tolist() == expected


def test_unsigned_64_bits():
    assert tensor([2**64 - 1], "uint64").tolist() == [2**64 - 1]
    with pytest.raises(StatusError, match="is not of expected type: uint64"):
        tensor([-1], "uint64")


def test_floats_are_written_with_as_few_digits_as_bring_them_back():
    values = np.array([0.1, 1 / 3, 9000000.0, 0.00003, 100000.0, 16777217.0, -2.0], np.float32)
    assert answer_of({"y": values}, {"y": "float"}, row=False) == b'{"outputs": [0.1, 0.333333343, 9000000.0, 3e-05, 100000.0, 16777216.0, -2.0]}'


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3), (2, 3, 0), (2, 0, 3), (1, 2, 3)])
@pytest.mark.parametrize("row", [True, False])
def test_any_shape_is_written(shape, row):
    values = np.arange(math.prod(shape), dtype=np.int64).reshape(shape)
    document = read_json(answer_of({"y": values}, {"y": "int64"}, row))
    assert document == {"predictions" if row else "outputs": values.tolist()}
