"""Tensors out of the JSON of a predict request and back into the JSON of its answer, by the rules of TF Serving's REST side."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.local.json_values import quote
from serving.local.status import Code, StatusError, invalid

_INT32 = (-(2**31), 2**31 - 1)
# what a JSON integer must lie in, by dtype; the narrow ones take any 32-bit literal and keep its low bits, like the real server
_RANGES = {
    "int8": _INT32,
    "int16": _INT32,
    "uint8": _INT32,
    "int32": _INT32,
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
_FLOATS = {"float": np.float32, "double": np.float64}
_DIGITS = {"float": 9, "double": 17}  # enough to bring the value back
_JSON_TYPES = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number", type(None): "Null"}


def tensor(value: Any, dtype: str) -> np.ndarray:
    """A JSON value as a tensor.

    Args:
        value: a scalar, or lists nested evenly; of numbers, booleans, strings or `{"b64": "..."}`.
        dtype: TensorFlow's short name of the type: float, double, int64, string, bool ...

    Returns:
        The array, strings as objects holding bytes. Its shape is that of the lists; the signature's shape plays no part.

    Raises:
        StatusError: INVALID_ARGUMENT for ragged lists and literals of another type, UNIMPLEMENTED for a dtype that JSON cannot carry.
    """
    shape, head = [], value
    while isinstance(head, list):
        shape.append(len(head))
        head = head[0] if head else None
    flat: list[Any] = []
    _fill(value, 0, shape, dtype, flat)
    if dtype in _FLOATS:
        with np.errstate(over="ignore"):  # 1e39 is infinity in 32 bits
            array = np.array(flat, np.float64).astype(_FLOATS[dtype])
    elif dtype in _RANGES:
        array = np.array(flat, np.uint64 if dtype == "uint64" else np.int64).astype(dtype)
    else:
        array = np.array(flat, {"bool": np.bool_, "string": object}.get(dtype, np.float16))
    return array.reshape(shape)


def inputs_of(document: Mapping[str, Any], dtypes: Mapping[str, str]) -> tuple[dict[str, np.ndarray], bool]:
    """The tensors of a predict request.

    Args:
        document: the request's top-level object.
        dtypes: the signature's inputs, name to dtype; at least one.

    Returns:
        The tensors by name, and whether the request was in row form (`instances`) and not columnar (`inputs`).

    Raises:
        StatusError: the request breaks a rule of either form; see `tensor`.
    """
    if "instances" in document and "inputs" in document:
        raise invalid(f"JSON Value: {quote(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ")
    if "instances" in document:
        instances = document["instances"]
        if not isinstance(instances, list):
            raise invalid(f"JSON Value: {quote(document)} Excepting 'instances' to be an list/array")
        if not instances:
            raise invalid(f"JSON Value: {quote(document)} No values in 'instances' array")
        return _of_instances(instances, dtypes), True
    if "inputs" in document:
        return _of_columns(document["inputs"], dtypes), False
    raise invalid("Missing 'inputs' or 'instances' key")


def answer_of(outputs: Mapping[str, np.ndarray], dtypes: Mapping[str, str], row: bool) -> bytes:
    """The body of a predict answer.

    Args:
        outputs: arrays by output name.
        dtypes: the signature's outputs, name to dtype.
        row: answer in row form, where every output's first dimension is the batch.

    Raises:
        StatusError: INVALID_ARGUMENT; a dtype that JSON cannot carry, or outputs that do not share a batch in row form.
    """
    names = sorted(outputs)
    values = {name: _values(name, outputs[name], dtypes[name]) for name in names}
    if row:
        batch = _batch(names, outputs)
        rows = values[names[0]] if len(names) == 1 else [{name: values[name][index] for name in names} for index in range(batch)]
        content = {"predictions": rows}
    else:
        content = {"outputs": values[names[0]] if len(names) == 1 else values}
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogateescape")


def _of_instances(instances: list[Any], dtypes: Mapping[str, str]) -> dict[str, np.ndarray]:
    if not isinstance(instances[0], dict) and len(dtypes) > 1:
        raise invalid("instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map")
    named = _is_named(instances[0])
    columns: dict[str, list[np.ndarray]] = {name: [] for name in dtypes}
    for index, element in enumerate(instances):
        where = f"Failed to process element: {index}"
        if named != _is_named(element):
            kinds = ("Expecting object but got list at", "Expecting value/list but got object at")
            raise invalid(f"{kinds[0] if named else kinds[1]} item {index} of input list")
        for name, value in element.items() if named else [(next(iter(dtypes)), element)]:
            try:
                if name not in dtypes:
                    raise invalid(f"JSON object: does not have named input: {name}")
                part = tensor(value, dtypes[name])
                first = columns[name][0] if columns[name] else part
                if part.size != first.size:
                    raise invalid(f"Expecting tensor size: {first.size} but got: {part.size}")
                if part.shape != first.shape:
                    raise invalid(f"Expecting shape {_shape(first)} but got: {_shape(part)}")
            except StatusError as error:
                raise invalid(f"{where}{f' key: {name}' if named else ''} of 'instances' list. Error: {error}") from None
            columns[name].append(part)
        if named and set(element) != set(dtypes):
            raise invalid(f"{where} of 'instances' list. JSON object: {quote(element)} keys must be equal to: {','.join(sorted(dtypes))}")
    return {name: np.stack(parts) for name, parts in columns.items()}


def _of_columns(value: Any, dtypes: Mapping[str, str]) -> dict[str, np.ndarray]:
    if not _is_named(value):
        if len(dtypes) > 1:
            raise invalid("inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map")
        name, dtype = next(iter(dtypes.items()))
        return {name: tensor(value, dtype)}
    for name in dtypes:
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: tensor(value[name], dtype) for name, dtype in dtypes.items()}


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _fill(value: Any, level: int, shape: list[int], dtype: str, flat: list[Any]) -> None:
    """Appends the leaves in order. Never deeper than the lists of the first leaf, so a deep list elsewhere is refused and not followed."""
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(f"JSON Value: {quote(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at level: {len(shape)}")
        flat.append(_leaf(value, dtype))
    elif level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    elif len(value) != shape[level]:
        raise invalid(f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}")
    elif level == len(shape) - 1 and _all_plain(value, dtype):
        flat.extend(value)
    else:
        for part in value:
            _fill(part, level + 1, shape, dtype, flat)


def _all_plain(values: list[Any], dtype: str) -> bool:
    """Whether a list of leaves can be taken as it is, seen at once and not leaf by leaf."""
    kinds = set(map(type, values))
    if dtype in _RANGES:
        low, high = _RANGES[dtype]
        return kinds == {int} and low <= min(values) and max(values) <= high
    return kinds <= {int, float} if dtype in _FLOATS else dtype == "bool" and kinds == {bool}


def _leaf(value: Any, dtype: str) -> Any:
    if dtype in _RANGES:
        low, high = _RANGES[dtype]
        if type(value) is int and low <= value <= high:
            return value
    elif dtype in _FLOATS:
        if type(value) in (int, float):
            return float(value)
    elif dtype == "bool":
        if type(value) is bool:
            return value
    elif dtype == "string":
        if isinstance(value, str):
            return _bytes(value)
        if isinstance(value, dict):
            return _base64(value)
    elif not isinstance(value, dict):
        raise StatusError(Code.UNIMPLEMENTED, f"Conversion of JSON Value: {quote(value)} to type: {dtype}")
    kind = str(value) if isinstance(value, bool) else _JSON_TYPES[type(value)]
    raise invalid(f"JSON Value: {quote(value)} Type: {kind} is not of expected type: {dtype}")


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise invalid("JSON Parse error: The surrogate pair in string is invalid.") from None


def _base64(value: dict[str, Any]) -> bytes:
    if not _is_base64(value):
        raise invalid(f"JSON Value: {quote(value)} not formatted correctly for base64 data")
    text = "".join(value["b64"].split()).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid("Unable to base64 decode") from None


def _shape(array: np.ndarray) -> str:
    return f"[{','.join(map(str, array.shape))}]"


def _batch(names: list[str], outputs: Mapping[str, np.ndarray]) -> int:
    batch = -1
    for name in names:
        if outputs[name].ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        size = outputs[name].shape[0]
        if batch not in (-1, size):
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {size} expecting: {batch}")
        batch = size
    return batch


def _values(name: str, array: np.ndarray, dtype: str) -> Any:
    """An array as nested lists of what JSON can carry."""
    if dtype in _FLOATS:
        return np.array(_decimals(array.reshape(-1), _DIGITS[dtype]), np.float64).reshape(array.shape).tolist()
    if dtype in _RANGES or dtype == "bool":
        return array.tolist()
    if dtype != "string":
        raise invalid(f"Failed to write JSON value for tensor type: {dtype}")
    as_json = _as_base64 if name.endswith("_bytes") else lambda value: value.decode("utf-8", "surrogateescape")
    found = np.empty(array.size, object)
    found[:] = [as_json(value) for value in array.reshape(-1).tolist()]
    return found.reshape(array.shape).tolist()


def _as_base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}


def _decimals(values: np.ndarray, digits: int) -> list[float]:
    """Numbers whose shortest decimals bring the values back, so that a float32 of .1 is not 0.10000000149."""
    short = [float(f"{value:.6g}") for value in values.tolist()]
    exact = (np.array(short, np.float64).astype(values.dtype) == values).tolist()
    return [text if is_exact else float(f"{value:.{digits}g}") for text, is_exact, value in zip(short, exact, values.tolist(), strict=True)]
