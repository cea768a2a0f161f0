"""The least time that a model's products and lookups take on this machine: what its steps are measured against."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from pipelines.benchmark.timing import timed

_PRODUCTS = {"MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"}
_LOOKUPS = {"ResourceGather", "GatherV2", "ResourceGatherNd", "GatherNd"}


class Work(NamedTuple):
    """What a graph computes.

    Attributes:
        flops: floating-point operations of its matrix products.
        looked_up: bytes that its lookups give.
    """

    flops: int
    looked_up: int


class Rates(NamedTuple):
    """What this machine does a second, in this process with its threads.

    Attributes:
        flops: floating-point operations of a large matrix product.
        looked_up: bytes of rows looked up in a table that no cache holds.
    """

    flops: float
    looked_up: float


def work_of(function: Callable, *arguments) -> Work:
    """Counts the products and lookups of a function's graph for arguments of known shapes; elementwise work counts nothing.

    Args:
        function: takes tensors, is traced as a `tf.function`.
        *arguments: nested tensors.
    """
    import tensorflow as tf

    specs = tf.nest.map_structure(tf.TensorSpec.from_tensor, arguments)
    graph = tf.function(function).get_concrete_function(*specs).graph
    flops = looked_up = 0
    for operation in graph.get_operations():
        if operation.type in _PRODUCTS:
            left, right = (one.shape.as_list() for one in operation.inputs[:2])
            transposed = operation.get_attr("transpose_b" if operation.type == "MatMul" else "adj_y")
            rows = math.prod(operation.outputs[0].shape.as_list()[:-1])
            inner = right[-1] if transposed else right[-2]
            flops += 2 * rows * inner * operation.outputs[0].shape[-1]
        elif operation.type == "Einsum":
            sizes: dict[str, int] = {}
            for labels, one in zip(operation.get_attr("equation").decode().split("->")[0].split(","), operation.inputs, strict=True):
                sizes |= dict(zip(labels, one.shape.as_list(), strict=True))
            flops += 2 * math.prod(sizes.values()) if len(operation.inputs) == 2 else 0
        elif operation.type in _LOOKUPS and operation.outputs[0].dtype.is_floating:
            looked_up += operation.outputs[0].dtype.size * math.prod(operation.outputs[0].shape.as_list())
    return Work(flops, looked_up)


def rates(width: int, seed: int = 0) -> Rates:
    """Measures both rates, the best of several tries; the table has rows of `width` numbers and 256 MiB."""
    import tensorflow as tf

    size, count = 1024, 100_000
    generator = tf.random.Generator.from_seed(seed)
    left, right = generator.normal((size, size)), generator.normal((size, size))
    table = generator.normal((2**26 // width, width))
    places = generator.uniform((count,), maxval=table.shape[0], dtype="int32")
    product, lookup = tf.function(lambda: tf.reduce_sum(left @ right)), tf.function(lambda: tf.reduce_sum(tf.gather(table, places)[:, 0]))

    def best(call) -> float:
        return min(timed(lambda: call().numpy())[0][0] for _ in range(7))

    return Rates(2 * size**3 / best(product), 4 * count * width / best(lookup))


def floor_seconds(work: Work, rate: Rates) -> float:
    """Seconds below which the work cannot be done at these rates."""
    return work.flops / rate.flops + work.looked_up / rate.looked_up
