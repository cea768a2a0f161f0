"""What a served graph may run: an allow-list over what its signatures, its initializer and its restoring reach."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from serving.allowed_ops import IN_INITIALIZERS, IN_RESTORING, IN_SIGNATURES, PURE
from serving.graph_check import check_graph

PATH = tf.TensorSpec([], tf.string, name="path")


def saves(path):
    tf.raw_ops.SaveV2(prefix=path, tensor_names=["x"], shape_and_slices=[""], tensors=[tf.constant(1.0)])
    return {"y": tf.constant(1.0)}


def reads_lines(path):
    return {"y": tf.data.TextLineDataset(path).reduce(tf.constant(""), lambda _, line: line)}


def writes_summaries(path):
    writer = tf.raw_ops.SummaryWriter()
    tf.raw_ops.CreateSummaryFileWriter(writer=writer, logdir=path, max_queue=1, flush_millis=1, filename_suffix="x")
    return {"y": tf.identity(path)}


def in_a_branch(path):
    return {"y": tf.cond(tf.equal(path, ""), lambda: tf.constant(""), lambda: tf.io.read_file(path))}


def in_a_loop(path):
    return {"y": tf.while_loop(lambda count, text: count < 2, lambda count, text: [count + 1, tf.io.read_file(path)], [tf.constant(0), path])[1]}


def prints(path):
    tf.print(path)
    return {"y": tf.identity(path)}


def runs_python(path):
    return {"y": tf.py_function(lambda value: value, [path], tf.string)}


def save(folder, function, module=None, **signatures):
    module = module or tf.Module()
    wrapped = {name: tf.function(one, input_signature=[PATH]) for name, one in {"serving_default": function, **signatures}.items()}
    tf.saved_model.save(module, str(folder), signatures=wrapped)
    return folder


def echo(path):
    return {"y": tf.identity(path)}


def rewrite(folder, change):
    """Changes saved_model.pb in place."""
    file = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    change(saved)
    file.write_bytes(saved.SerializeToString())


@pytest.mark.parametrize(
    ("function", "operation"),
    [
        (saves, "SaveV2"),
        (reads_lines, "TextLineDataset"),
        (writes_summaries, "CreateSummaryFileWriter"),
        (in_a_branch, "ReadFile"),
        (in_a_loop, "ReadFile"),
        (prints, "PrintV2"),
        (runs_python, "EagerPyFunc"),
    ],
)
def test_a_signature_that_touches_files_or_python_is_refused(tmp_path, function, operation):
    save(tmp_path, echo, second=function)
    with pytest.raises(
        ValueError, match=f"The signature second must run nothing but the operations of serving/allowed_ops.py.*Received: .*{operation}"
    ):
        check_graph(tmp_path)


def test_a_signature_that_changes_a_variable_is_refused(tmp_path):
    module = tf.Module()
    module.count = tf.Variable(0.0)
    with pytest.raises(ValueError, match="Received: AssignAddVariableOp"):
        check_graph(save(tmp_path, lambda path: {"y": module.count.assign_add(1.0) * 2}, module))


def test_the_graph_that_the_server_loads_is_looked_at(tmp_path):
    """Of several the one with the tag `serve`, wherever it stands; two with it, or another file with a graph, are refused."""
    harmless, harmful = save(tmp_path / "one", echo), save(tmp_path / "two", saves)
    first = saved_model_pb2.SavedModel.FromString((harmless / "saved_model.pb").read_bytes()).meta_graphs[0]

    def put_before(tags):
        def change(saved):
            second = saved.meta_graphs[0]
            other = saved_model_pb2.SavedModel(meta_graphs=[first, second])
            del other.meta_graphs[0].meta_info_def.tags[:]
            other.meta_graphs[0].meta_info_def.tags.extend(tags)
            saved.CopyFrom(other)

        return change

    rewrite(harmful, put_before(["train"]))
    with pytest.raises(ValueError, match="Received: SaveV2"):
        check_graph(harmful)
    rewrite(harmful, lambda saved: saved.meta_graphs[0].meta_info_def.tags.__setitem__(0, "serve"))
    with pytest.raises(ValueError, match=r"exactly one graph with the tag serve. Received: graphs with the tags \[\['serve'\], \['serve'\]\]"):
        check_graph(harmful)
    (harmless / "saved_model.cpb").write_bytes(b"another")
    with pytest.raises(ValueError, match="must hold one graph, saved_model.pb. Received: saved_model.cpb, saved_model.pb"):
        check_graph(harmless)


def test_a_function_named_like_an_allowed_operation_is_looked_into(tmp_path):
    """The server takes a function of the graph before an operation of the same name."""
    save(tmp_path, saves)

    def rename(saved):
        graph = saved.meta_graphs[0].graph_def
        harmful = next(
            function
            for function in graph.library.function
            if any(node.op == "SaveV2" for node in function.node_def) and "traced_save" not in function.signature.name
        )
        old, harmful.signature.name = harmful.signature.name, "Identity"
        for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
            for node in nodes:
                if node.attr["f"].func.name == old:
                    node.op = "Identity"
                    del node.attr["f"]

    rewrite(tmp_path, rename)
    with pytest.raises(ValueError, match="The signature serving_default must run nothing but.*Received: SaveV2"):
        check_graph(tmp_path)


def test_saving_must_not_be_reached_from_a_signature(tmp_path):
    """It lies in every graph, for nobody to run."""
    folder = save(tmp_path, echo)
    check_graph(folder)

    def reach(saved):
        meta = saved.meta_graphs[0]
        meta.signature_def["serving_default"].outputs["y"].name = meta.saver_def.save_tensor_name

    rewrite(folder, reach)
    with pytest.raises(ValueError, match="Received: .*MergeV2Checkpoints.*SaveV2"):
        check_graph(folder)


@pytest.mark.parametrize("where", ["__saved_model_init_op", "saved_model_main_op"])
def test_the_initializer_is_held_to_its_own_list(tmp_path, where):
    folder = save(tmp_path, echo, second=echo)

    def run_at_load(saved):
        meta = saved.meta_graphs[0]
        reader = meta.graph_def.node.add(name="reader", op="ReadFile", input=["second_path"])
        reader.attr["x"].s = b""
        if where == "saved_model_main_op":
            meta.collection_def[where].node_list.value.append("reader")
        else:
            meta.signature_def[where].outputs[where].name = "reader:0"

    rewrite(folder, run_at_load)
    with pytest.raises(ValueError, match="The initializer must run nothing but.*Received: ReadFile"):
        check_graph(folder)


def test_variables_come_from_the_versions_own_files(tmp_path):
    module = tf.Module()
    module.weight = tf.Variable([1.0, 2.0])
    folder = save(tmp_path, lambda path: {"y": module.weight * 2}, module)
    assert "RestoreV2" in check_graph(folder)

    def from_elsewhere(saved):
        for function in saved.meta_graphs[0].graph_def.library.function:
            for node in function.node_def:
                if node.op == "RestoreV2":
                    elsewhere = function.node_def.add(name="elsewhere", op="Const")
                    elsewhere.attr["dtype"].type = tf.string.as_datatype_enum
                    elsewhere.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/other/model/variables"))
                    node.input[0] = "elsewhere:output:0"

    rewrite(folder, from_elsewhere)
    with pytest.raises(
        ValueError, match="Variables must be restored from the version's own files. Received: RestoreV2, which names a file of its own"
    ):
        check_graph(folder)


def test_what_is_no_saved_model_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="must hold saved_model.pb"):
        check_graph(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(np.random.default_rng(0).bytes(100))
    with pytest.raises(ValueError, match="must be a SavedModel"):
        check_graph(tmp_path)


def test_the_lists_hold_operations_without_effects():
    """By TensorFlow's own word: each is registered, and what is in `PURE` keeps no state."""
    known = {name: op_def_registry.get(name) for name in IN_SIGNATURES | IN_INITIALIZERS | IN_RESTORING}
    assert [name for name, definition in known.items() if definition is None] == []
    assert [name for name in PURE if known[name].is_stateful] == []
    for name in (
        "ReadFile",
        "WriteFile",
        "MatchingFiles",
        "SaveV2",
        "RestoreV2",
        "AssignVariableOp",
        "EagerPyFunc",
        "RemoteCall",
        "PrintV2",
        "LookupTableExportV2",
    ):
        assert name not in IN_SIGNATURES
