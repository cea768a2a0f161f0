"""Judges the graph of a SavedModel before it is loaded: what its signatures, its initializer and its restoring run must be allowed.

Signatures may run `allowed_ops.IN_SIGNATURES`. The loader runs two more things: the operation that fills the variables (`saver_def`), which
may read the version's own variable files and no others, and the initializer. The operation that would save lies in each graph, and nothing
runs it; a signature that reaches it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from serving.allowed_ops import IN_INITIALIZERS, IN_RESTORING, IN_SIGNATURES

GRAPH = "saved_model.pb"
_TAGS = ["serve"]  # the graph that the server loads
_INITIALIZERS = ("saved_model_main_op", "legacy_init_op")  # collections in which the loader looks for it, besides a signature
_INITIALIZER = "__saved_model_init_op"
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")


def check_graph(folder: Path) -> set[str]:
    """The operations that a served version runs.

    Args:
        folder: a SavedModel.

    Raises:
        FileNotFoundError: it has no graph.
        ValueError: it has not exactly one graph for serving, or one that runs an operation that is not allowed.
    """
    meta = _served(folder)
    graph = _Graph(meta.graph_def)
    found: set[str] = set()
    for name, signature in sorted(meta.signature_def.items()):
        allowed, what = (IN_INITIALIZERS, "The initializer") if name == _INITIALIZER else (IN_SIGNATURES, f"The signature {name}")
        found |= graph.require(_tensors([*signature.inputs.values(), *signature.outputs.values()]), allowed, what)
    for name in _INITIALIZERS:
        found |= graph.require(meta.collection_def[name].node_list.value if name in meta.collection_def else (), IN_INITIALIZERS, "The initializer")
    if meta.saver_def.restore_op_name:
        found |= graph.require([meta.saver_def.restore_op_name], IN_RESTORING, "The restoring of variables")
        graph.require_own_files(meta.saver_def.restore_op_name, meta.saver_def.filename_tensor_name)
    return found


def _served(folder: Path) -> Any:
    """The meta graph that the server loads."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    files = sorted(path.name for path in folder.glob("saved_model.*"))
    if GRAPH not in files:
        raise FileNotFoundError(f"A version must hold {GRAPH}. Received: {folder}, where it is missing. Export it again.")
    if files != [GRAPH]:
        raise ValueError(
            f"A version must hold one graph, {GRAPH}. Received: {', '.join(files)}, of which a server may load another than is looked at here."
        )
    try:
        saved = saved_model_pb2.SavedModel.FromString((folder / GRAPH).read_bytes())
    except DecodeError as error:
        raise ValueError(f"{folder / GRAPH} must be a SavedModel. Received: {error}. Export it again.") from None
    tags = [list(meta.meta_info_def.tags) for meta in saved.meta_graphs]
    if tags.count(_TAGS) != 1:
        raise ValueError(f"A SavedModel must hold exactly one graph with the tag serve. Received: graphs with the tags {tags}.")
    return saved.meta_graphs[tags.index(_TAGS)]


class _Graph:
    """A graph with its functions, to be walked from its ends to its beginnings."""

    def __init__(self, graph: Any):
        self._nodes = {node.name: node for node in graph.node}
        self._functions = {function.signature.name: function for function in graph.library.function}

    def require(self, tensors: Iterable[str], allowed: frozenset[str], what: str) -> set[str]:
        """The operations that giving these tensors runs, those of functions included; refuses what is not allowed."""
        found = {node.op for node in self._run_by(tensors) if node.op not in self._functions}
        if found - allowed:
            raise ValueError(
                f"{what} must run nothing but the operations of serving/allowed_ops.py, of which none touches files, sockets or Python. Received:"
                f" {', '.join(sorted(found - allowed))}."
            )
        return found

    def require_own_files(self, restore: str, filename: str) -> None:
        """Refuses a restoring that reads any file but the one whose name the loader gives."""
        seen: set[tuple[str, frozenset[str]]] = set()
        for node in self._above([restore]):
            self._require_own(node, lambda given: _node(given) == _node(filename), seen)

    def _require_own(self, node: Any, is_own: Callable[[str], bool], seen: set[tuple[str, frozenset[str]]]) -> None:
        if node.op == "RestoreV2" and not is_own(node.input[0]):
            raise ValueError(f"Variables must be restored from the version's own files. Received: {node.name}, which names a file of its own.")
        for name in self._called(node):
            function = self._functions[name]
            arguments, data = [argument.name for argument in function.signature.input_arg], [one for one in node.input if not one.startswith("^")]
            # of a caller other than a plain call it is not known which argument is which
            plain = node.op in (*_CALLS, name) and len(arguments) == len(data)
            own = frozenset(argument for argument, given in zip(arguments, data, strict=True) if is_own(given)) if plain else frozenset()
            if (name, own) in seen:
                continue
            seen.add((name, own))
            passed = {one.name: one.input[0] for one in function.node_def if one.op == "Identity"}
            for inner in function.node_def:
                self._require_own(inner, partial(_is_of, passed=passed, own=own), seen)

    def _above(self, tensors: Iterable[str]) -> Iterator[Any]:
        """The nodes of the graph, not of its functions, that giving these tensors runs."""
        open_, seen = [_node(name) for name in tensors], set()
        while open_:
            name = open_.pop()
            if name in seen or name not in self._nodes:  # what names no node fails when it is loaded
                continue
            seen.add(name)
            yield self._nodes[name]
            open_ += [_node(one) for one in self._nodes[name].input]

    def _run_by(self, tensors: Iterable[str]) -> Iterator[Any]:
        """The nodes that giving these tensors runs; of a function all nodes, since those with effects run unasked."""
        open_, seen = list(self._above(tensors)), set()
        while open_:
            node = open_.pop()
            yield node
            for name in self._called(node):
                if name not in seen:
                    seen.add(name)
                    open_ += self._functions[name].node_def

    def _called(self, node: Any) -> list[str]:
        """Functions that a node calls: by an attribute, or by its own name, which stands before an operation of that name."""
        named = [node.op]
        for value in node.attr.values():
            named += [value.func.name, *(one.name for one in value.list.func)]
        return [name for name in dict.fromkeys(named) if name in self._functions]


def _tensors(infos: Iterable[Any]) -> list[str]:
    """The names of the tensors behind the inputs or outputs of a signature, parts of sparse and composite ones included."""
    found = []
    for info in infos:
        kind = info.WhichOneof("encoding")
        if kind == "coo_sparse":
            found += [info.coo_sparse.values_tensor_name, info.coo_sparse.indices_tensor_name, info.coo_sparse.dense_shape_tensor_name]
        elif kind == "composite_tensor":
            found += _tensors(info.composite_tensor.components)
        else:
            found.append(info.name)
    return found


def _node(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


def _is_of(given: str, passed: Mapping[str, str], own: frozenset[str]) -> bool:
    return _origin(given, passed) in own


def _origin(tensor: str, passed: Mapping[str, str]) -> str:
    """Where a tensor inside a function comes from, through operations that pass it on."""
    name = _node(tensor)
    while name in passed:
        name = _node(passed[name])
    return name
