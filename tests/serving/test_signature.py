"""Raw ids in, the trainer's probabilities out."""

import json
from dataclasses import replace

import keras
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from ppm_tf.data.ids import stored_ids
from serving.signature import Limits, ServingModule
from tests.models.tiny_ranking import DIN, SCHEMA, URM, Catalog, batch, model, vocabularies

STRINGS = replace(SCHEMA, item_id_type="string", user_id_type="string")
IDS = [10, 20, 30, 40, 50]
PAD = -1


class StringCatalog(Catalog):
    ids = pa.array([f"item-{one}" for one in IDS])


def string_ids():
    from ppm_tf.data.id_vocabulary import IdVocabulary
    from ppm_tf.models.vocabularies import Vocabularies

    items, users = (stored_ids(pa.array(names), "string") for names in (["item-10", "item-30"], ["user-7", "user-8"]))
    return Vocabularies(IdVocabulary(items, 2), IdVocabulary(users, 2))


def made(backbone=DIN, ppm="random", strings=False):
    """A model and its serving module."""
    keras.utils.set_random_seed(0)
    catalog = StringCatalog() if strings else Catalog()
    schema = STRINGS if strings else SCHEMA
    trained = model(*backbone, f"model.ppm={ppm}", schema=schema, catalog=catalog, ids=string_ids() if strings else vocabularies())
    return trained, ServingModule(trained, schema, catalog, Limits(candidates=8, pad_id=PAD))


def raw(strings=False, **changes):
    """The requests of `batch()` as a client sends them."""
    rows = batch()
    names = np.array([PAD, 99, *IDS])
    user = rows["user_id"]
    found = {
        "candidate_ids": names[rows["item"]],
        "history_ids": names[rows["history"]],
        "history_times": rows["history_time"],
        "time": rows["time"],
        "user_id": user,
        "user_gender": np.array([[b"f"], [b"m"], [b""]], object),
        "context_device": np.array([[b"desk"], [b"other"], [b"phone"]], object),
    }
    if strings:
        text = lambda ids: np.vectorize(lambda one: b"" if one == PAD else f"item-{one}".encode(), otypes=[object])(ids)
        found |= {name: text(found[name]) for name in ("candidate_ids", "history_ids")}
        found["user_id"] = np.array([f"user-{one}".encode() for one in user], object)
    found |= changes
    return {name: tf.constant(value, tf.string if np.asarray(value).dtype == object else tf.int64) for name, value in found.items()}


def probabilities(trained, rows):
    return tf.sigmoid(trained({name: value for name, value in rows.items() if name != "slot"})).numpy()


@pytest.fixture(scope="module")
def served():
    return made()


@pytest.mark.parametrize(("backbone", "ppm"), [(DIN, "none"), (DIN, "random"), (URM, "random")])
def test_scores_are_the_trainers(backbone, ppm):
    trained, module = made(backbone, ppm)
    expected, found = probabilities(trained, batch()), module.rank(**raw())
    assert set(found) == {"click", "order"}
    for place, task in enumerate(("click", "order")):
        assert found[task].dtype == tf.float32
        np.testing.assert_allclose(found[task], expected[:, :, place], atol=1e-6)


def test_string_ids_are_looked_up_by_fingerprint():
    trained, module = made(strings=True)
    rows = batch()
    users = stored_ids(pa.array([f"user-{one}" for one in rows["user_id"]]), "string")
    expected = probabilities(trained, {**rows, "user_id": users})
    np.testing.assert_allclose(module.rank(**raw(strings=True))["click"], expected[:, :, 0], atol=1e-6)
    assert module.inputs()["candidate_ids"].dtype == tf.string


def test_padding_candidates_change_nothing(served):
    _, module = served
    longer = np.concatenate([raw()["candidate_ids"], np.full((3, 4), PAD)], axis=1)
    np.testing.assert_allclose(module.rank(**raw(candidate_ids=longer))["click"][:, :3], module.rank(**raw())["click"], atol=1e-6)


def test_padding_behaviors_change_nothing(served):
    _, module = served
    short = {name: raw()[name][:, :3] for name in ("history_ids", "history_times")}
    np.testing.assert_allclose(module.rank(**raw(**short))["click"][1:], module.rank(**raw())["click"][1:], atol=1e-6)


@pytest.mark.parametrize("backbone", [DIN, URM])
def test_of_a_longer_history_the_newest_behaviors_count(backbone):
    """As in training, which keeps the last T; the older ones stand at the end."""
    _, module = made(backbone)
    whole = raw()
    history = np.where(np.array(whole["history_ids"]) == PAD, 20, whole["history_ids"])
    times = np.array([[90, 50, 20, 10]] * 3)
    longer = {
        "history_ids": np.concatenate([history, np.full((3, 7), 40)], axis=1),
        "history_times": np.concatenate([times, np.full((3, 7), 5)], axis=1),
    }
    expected = module.rank(**raw(history_ids=history, history_times=times))["click"]
    np.testing.assert_array_equal(module.rank(**raw(**longer))["click"], expected)


def test_strangers_get_finite_scores(served):
    """Unknown items, users and values, and no history at all."""
    _, module = served
    nobody = raw(
        candidate_ids=[[7, 8, 9]] * 3,
        history_ids=np.zeros((3, 0)),
        history_times=np.zeros((3, 0)),
        user_id=[-5, 2**62, 0],
        user_gender=np.array([[b"?"]] * 3, object),
    )
    found = module.rank(**nobody)["click"].numpy()
    assert np.isfinite(found).all() and (found > 0).all() and (found < 1).all()


def test_further_values_of_a_field_are_left_out_and_none_is_none(served):
    _, module = served
    more, none = np.array([[b"f", b"m"], [b"m", b""], [b"", b""]], object), np.zeros((3, 0), object)
    np.testing.assert_allclose(module.rank(**raw(user_gender=more))["click"], module.rank(**raw())["click"], atol=1e-6)
    np.testing.assert_allclose(module.rank(**raw(user_gender=none))["click"][2], module.rank(**raw())["click"][2], atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"candidate_ids": np.full((3, 9), 10)}, "candidate_ids must hold at most 8 candidates a request"),
        ({"candidate_ids": np.zeros((3, 0))}, "candidate_ids must hold at least one candidate"),
        ({"history_times": np.zeros((3, 2))}, "history_times must have the shape of history_ids, a time for each behavior, newest first"),
        ({"history_ids": np.full((3, 9), 10)}, "history_times must have the shape of history_ids"),
        ({"time": [1, 2]}, "time must have one row a request"),
    ],
)
def test_what_a_request_must_not_be(served, changes, message):
    _, module = served
    answer = tf.function(lambda **inputs: module.rank(**inputs)).get_concrete_function(**module.inputs())  # as it is exported: no length is known
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        answer(**raw(**changes))


def test_embed_gives_vectors_and_whether_items_are_known(served):
    trained, module = served
    found = module.embed(tf.constant([30, 99, PAD], tf.int64))
    assert found["known"].numpy().tolist() == [True, False, False]
    np.testing.assert_allclose(found["vectors"][0], np.asarray(trained.item_vectors(np.array([4])))[0], atol=1e-6)
    assert found["vectors"].shape == (3, 3 * 4 + 8)  # id, brand and tags of width 4, and PPM's vector


@pytest.mark.parametrize("more", [[], ["model.fusion=mlp"], ["model.fusion=mlp", "model.similarity_bins=4"], ["model.fusion=adaptor"]])
def test_folded_tables_score_the_same(more):
    keras.utils.set_random_seed(0)
    trained = model(*DIN, "model.ppm=none", "model.tables=[title,image]", *more)
    before = trained(batch()).numpy()
    trained.embedding.fold_tables()
    np.testing.assert_allclose(trained(batch()), before, atol=1e-6)
    module = ServingModule(trained, SCHEMA, Catalog(), Limits(8, PAD))
    np.testing.assert_allclose(module.rank(**raw())["click"], tf.sigmoid(before)[:, :, 0], atol=1e-6)
    if "model.similarity_bins=4" not in more:  # cosines need the vectors themselves
        assert max(variable.shape[-1] for variable in module.variables_of_model if variable.shape.rank == 2 and variable.shape[0] is None) == 4


def test_the_pad_id_must_be_free():
    keras.utils.set_random_seed(0)
    with pytest.raises(ValueError, match="serve.pad_id must be no item's id. Received: 30"):
        ServingModule(model(*DIN, "model.ppm=none"), SCHEMA, Catalog(), Limits(8, 30))


# === On disk ===


class LongerCatalog(Catalog):
    """Two items more."""

    num_rows = 9
    ids = pa.array([*IDS, 60, 70])

    def __init__(self):
        super().__init__()
        self.fields = {name: np.concatenate([rows, rows[2:4]]) for name, rows in self.fields.items()}
        self.numbers = {name: np.concatenate([values, values[2:4]]) for name, values in self.numbers.items()}


def longer_tables():
    from ppm_tf.data.tables import EmbeddingTable
    from tests.models.tiny_ranking import tables

    return {
        name: EmbeddingTable(name, np.concatenate([one.vectors, one.vectors[5:7]]), np.concatenate([one.present, one.present[5:7]]), "v1")
        for name, one in tables().items()
    }


@pytest.fixture(scope="module")
def folder(served, tmp_path_factory):
    from serving.export import write_extras, write_saved_model

    trained, module = served
    folder = tmp_path_factory.mktemp("export") / "1"
    write_saved_model(module, folder)
    rows = batch()
    requests = [{name: value.numpy()[place : place + 1] for name, value in raw().items()} for place in range(3)]
    scores = probabilities(trained, rows)
    answers = [{task: scores[place : place + 1, :, column] for column, task in enumerate(("click", "order"))} for place in range(3)]
    write_extras(folder, requests, answers, "din", (1, 2), {"pad_id": PAD})
    return folder


def session_scores(folder, inputs):
    """The answer through the loader that the server takes."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        signature = meta.signature_def["serving_default"]
        return session.run(
            {name: one.name for name, one in signature.outputs.items()}, {signature.inputs[name].name: value for name, value in inputs.items()}
        )


def test_the_export_is_verified_in_a_fresh_process(folder):
    from serving.verify import verify_afresh

    figures = verify_afresh(folder)
    assert figures["difference"] <= 1e-5 and figures["load_seconds"] > 0


def test_warmup_records_cover_every_signature_and_batch_size(folder):
    from serving.layout import EXTRA
    from serving.warmup import read_warmup

    records = read_warmup(folder / EXTRA)
    assert {signature for signature, _ in records} == {"serving_default", "embed"}
    assert {len(inputs["candidate_ids"]) for signature, inputs in records if signature == "serving_default"} == {1, 2}


def test_an_export_that_answers_otherwise_is_refused(folder, tmp_path):
    import shutil

    from serving.verify import verify

    other = shutil.copytree(folder, tmp_path / "other")
    golden = json.loads((other / "assets.extra" / "golden.json").read_text())
    golden["outputs"]["click"][0][0] += 1e-3
    (other / "assets.extra" / "golden.json").write_text(json.dumps(golden))
    with pytest.raises(ValueError, match="The scores of click must equal the trainer's to 1e-05. Received: a difference of 0.001"):
        verify(other)
    shutil.rmtree(other / "variables")
    with pytest.raises(Exception, match="variables"):
        verify(other)


def test_an_export_whose_warm_up_fails_is_refused(folder, tmp_path):
    """The server would not load it."""
    import shutil

    from serving.verify import verify
    from serving.warmup import write_warmup

    other = shutil.copytree(folder, tmp_path / "other")
    many = {name: value.numpy() for name, value in raw(candidate_ids=np.full((3, 9), 10)).items()}
    write_warmup(other / "assets.extra", "ranker", [("serving_default", many)])
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 8 candidates"):
        verify(other)


def test_a_graph_that_reads_files_is_refused(tmp_path):
    """Others: test_graph_check."""
    from serving.verify import verify

    class Reader(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
        def read(self, path):
            return {"content": tf.io.read_file(path)}

    reader = Reader()
    tf.saved_model.save(reader, str(tmp_path), signatures={"serving_default": reader.read})
    with pytest.raises(ValueError, match="The signature serving_default must run nothing but.*Received: ReadFile"):
        verify(tmp_path)


def test_nothing_of_the_catalog_lies_in_the_graph(folder):
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert not [
        node.name
        for node in nodes
        if node.op == "Const" and not node.name.startswith(("SaveV2", "RestoreV2")) and tf.make_ndarray(node.attr["value"].tensor).size > 64
    ]


def test_new_items_need_new_variables_alone(served, folder, tmp_path):
    """The same graph file over the variables of a longer catalog knows the new items, and scores the old ones as before."""
    from ppm_tf.models.build import build_ranking_model
    from serving.export import keep_graph, write_saved_model
    from tests.models.tiny_ranking import settings

    trained, _ = served
    grown = build_ranking_model(settings(*DIN, "model.ppm=random"), SCHEMA, LongerCatalog(), longer_tables(), vocabularies())
    weights = tmp_path / "ranking.weights.h5"
    trained.save_weights(weights)
    grown.load_weights(weights)
    module = ServingModule(grown, SCHEMA, LongerCatalog(), Limits(8, PAD))
    write_saved_model(module, tmp_path / "2")
    keep_graph(tmp_path / "2", folder, module.catalog_keys)
    assert (tmp_path / "2" / "saved_model.pb").read_bytes() == (folder / "saved_model.pb").read_bytes()
    inputs = {name: value.numpy() for name, value in raw().items()}
    before, after = session_scores(folder, inputs), session_scores(tmp_path / "2", inputs)
    np.testing.assert_allclose(after["click"], before["click"], atol=1e-6)
    new = {**inputs, "candidate_ids": np.where(inputs["candidate_ids"] == 30, 60, inputs["candidate_ids"])}
    assert np.abs(session_scores(tmp_path / "2", new)["click"] - session_scores(folder, new)["click"]).max() > 1e-6


def test_new_tables_do_not_go_to_another_model(folder, tmp_path):
    from serving.export import keep_graph, write_saved_model

    keras.utils.set_random_seed(5)
    module = ServingModule(model(*DIN, "model.ppm=random"), SCHEMA, Catalog(), Limits(8, PAD))
    write_saved_model(module, tmp_path / "2")
    with pytest.raises(ValueError, match="Received: other weights than those of"):
        keep_graph(tmp_path / "2", folder, module.catalog_keys)
    with pytest.raises(FileNotFoundError, match="An earlier version must be there"):
        keep_graph(tmp_path / "2", tmp_path / "none", module.catalog_keys)
