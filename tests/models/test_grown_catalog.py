"""A trained model over the catalog of a later day: what it knew of tables and numbers does not move, and old requests score as before."""

from dataclasses import replace

import keras
import numpy as np
import pyarrow as pa
import pytest
import yaml

from ppm_tf.data.sample_counts import SampleCounts
from ppm_tf.data.schema import Field
from ppm_tf.data.tables import EmbeddingTable
from ppm_tf.models.build import build_pretraining_model, build_ranking_model
from ppm_tf.models.growth import carry_over
from ppm_tf.models.inputs import Inputs
from ppm_tf.models.ppm_files import PPM_WEIGHTS, warm_start_ppm
from ppm_tf.models.provenance import Provenance
from ppm_tf.models.ranking_files import load_ranking_model, save_ranking_model, warm_start
from ppm_tf.workspace import MADE_BY
from tests.models.tiny_ranking import DIN, SCHEMA, URM, Catalog, batch, model, settings, tables, vocabularies

COUNTS = SampleCounts(1, *(np.zeros(shape, np.int64) for shape in (7, (7, 2), 7, 0, 0)))
# A later day: words that sort first and last in every field, two items that differ from all before in every number, new ids.
LATER = replace(
    SCHEMA,
    fields=(
        Field("brand", "item", ("aaa", "acme", "bolt", "zzz")),
        Field("tags", "item", ("new", "red", "sale", "used"), num_values=3),
        Field("gender", "user", ("f", "m", "x")),
        Field("device", "context", ("desk", "phone", "watch")),
    ),
    num_candidates=5,
)
LATER_IDS = vocabularies(items=(10, 30, 60), users=(7, 8, 9))
# All that reads item vectors: PPM, item fields, histograms of cosines; and the trainable table beside them.
EVERYTHING = ["model.tables=[title]", "model.similarity_bins=4", "model.trainable_width=6"]


class LaterCatalog(Catalog):
    num_rows = 9
    ids = pa.array([10, 20, 30, 40, 50, 60, 70])

    def __init__(self):
        super().__init__()
        brand, tags = self.fields["brand"], self.fields["tags"]
        self.fields["brand"] = np.concatenate([np.where(brand >= 2, brand + 1, brand), [[2], [5]]]).astype(np.int32)
        self.fields["tags"] = np.concatenate([np.pad(tags, ((0, 0), (0, 1))), [[5, 2, 3], [0, 0, 0]]]).astype(np.int32)
        self.numbers = {"price": np.concatenate([self.numbers["price"], [1e9, np.nan]]).astype(np.float32)}


def later_tables():
    """With vectors far away, and an item that has got its vector late."""
    grown = {}
    for name, table in tables().items():
        vectors = np.concatenate([table.vectors, np.full((2, 4), 900), np.zeros((0, 4))]).astype("float16")
        grown[name] = EmbeddingTable(name, vectors, np.append(table.present, [True, False]), "v1")
    return grown


def later_inputs(**more):
    return replace(Inputs(LATER, LaterCatalog(), later_tables()), **more)


def pretrained(folder, tables=tables, seed=5):
    """A PPM, as `pipelines.pretrain` leaves it."""
    keras.utils.set_random_seed(seed)
    made = build_pretraining_model(settings(), SCHEMA, tables())
    folder.mkdir(parents=True)
    made.save_weights(folder / PPM_WEIGHTS)
    Provenance.of(tables()).write(folder)
    SCHEMA.write(folder / "schema.json")
    (folder / MADE_BY).write_text(yaml.safe_dump({"settings": {"ppm": settings().ppm.model_dump(mode="json")}}))
    return made


@pytest.fixture(params=[DIN, URM], ids=["din", "urm"])
def trained(request, tmp_path):
    """A ranking model with a fine-tuned PPM and all kinds of tables, its settings and its folder."""
    pretrained(tmp_path / "ppm")
    keras.utils.set_random_seed(0)
    chosen = (*request.param, *EVERYTHING)
    made = model(*chosen, pretrained=tmp_path / "ppm" / PPM_WEIGHTS)
    for weight in made.ppm.trainable_variables:
        weight.assign(weight + 0.1)  # fine-tuned
    folder = tmp_path / "model"
    folder.mkdir()
    save_ranking_model(folder, made, SCHEMA, vocabularies(), COUNTS, Provenance.of(tables()))
    return made, chosen, folder


def grown(chosen, ppm=None):
    keras.utils.set_random_seed(1)
    return build_ranking_model(settings(*chosen), LATER, LaterCatalog(), later_tables(), LATER_IDS, ppm)


def scales(ranker):
    """What a model takes from its catalog and tables, other than their rows."""
    found = {f"{kind}.{name}.{what}": getattr(table, what) for kind, layers in (("ppm", ranker.ppm.tables), ("field", ranker.embedding.compared))
             for name, table in layers.items() for what in ("mean", "scale", "missing")}  # fmt: skip
    found |= {"numbers.mean": ranker.embedding.attributes.mean, "numbers.scale": ranker.embedding.attributes.scale}
    return {name: np.array(value) for name, value in found.items()}


def equal(mine, theirs):
    return mine.keys() == theirs.keys() and all(np.array_equal(mine[name], theirs[name]) for name in mine)


def old_requests():
    """Of ids, words and items of the earlier day; user 9 and item 60 have got rows of their own since."""
    return {**batch(), "user_id": np.array([7, 8, 7])}


def test_over_a_grown_catalog_a_loaded_model_scores_old_requests_as_before(trained):
    """As `evaluate`, `export` and `export --tables-only` load it."""
    made, chosen, folder = trained
    again = load_ranking_model(settings(*chosen), later_inputs(), folder)
    assert equal(scales(again), scales(made)) and not equal(scales(grown(chosen)), scales(made))
    np.testing.assert_array_equal(np.array(again(old_requests())), np.array(made(old_requests())))
    again.embedding.fold_tables()
    np.testing.assert_allclose(again(old_requests()), made(old_requests()), atol=1e-5)


def test_a_grown_model_scores_old_requests_as_the_earlier_one(trained):
    """Before its first step: new rows, words, items and a field in another order change nothing of what was there."""
    made, chosen, folder = trained
    new = grown(chosen)
    carried = warm_start(folder, new, settings(*chosen), later_inputs(), LATER_IDS, 1.0)
    assert carried.fresh == 2 + 1 + 1 + 1 + 1 + 1 + 1  # brands, tag, gender, device, item, its row of the trainable table, user
    assert equal(scales(new), scales(made))
    np.testing.assert_array_equal(np.array(new(old_requests())), np.array(made(old_requests())))
    assert set(carried.rows) == {id(layer.table) for layer in new.embedding.id_tables().values()}
    brand = carried.rows[id(new.embedding.embeddings["item.brand"].table)]
    assert [part.tolist() for part in brand] == [[0, 1, 2, 3], [0, 1, 3, 4]]


def test_a_start_of_fewer_layers_is_refused(tmp_path):
    """Keras loads the part of a file that it finds layers for: of two layers the first, and the scores would be those of neither."""
    chosen = (*DIN, "model.ppm=random")
    made = model(*chosen)
    save_ranking_model(tmp_path, made, SCHEMA, vocabularies(), COUNTS, Provenance.of(tables()))
    fewer = (*chosen, "ppm.num_encoder_layers=1")
    with pytest.raises(ValueError, match=r"must be a model of the same settings\. Received: .*whose weights do not fit \(\d+ arrays for the \d+ of"):
        warm_start(tmp_path, grown(fewer), settings(*fewer), later_inputs(), LATER_IDS, 1.0)
    assert warm_start(tmp_path, grown(chosen), settings(*chosen), later_inputs(), LATER_IDS, 1.0).fresh


def test_a_new_ppm_brings_its_own_scales_and_goes_on_seeing_items_by_them(trained, tmp_path):
    """`replace`: PPM of the next day, which went on from the one before over the grown table."""
    made, chosen, folder = trained
    first = build_pretraining_model(settings(), LATER, later_tables())
    warm_start_ppm(tmp_path / "ppm", first, settings(), LATER, {"title": "v1", "image": "v1"})
    first.save_weights(tmp_path / "next.weights.h5")
    new = grown(chosen, tmp_path / "next.weights.h5")
    warm_start(folder, new, settings(*chosen), later_inputs(), LATER_IDS, 0.0)
    assert equal(scales(new) | {"ppm.title.missing": 0, "ppm.image.missing": 0}, scales(made) | {"ppm.title.missing": 0, "ppm.image.missing": 0})


def test_ppm_goes_on_over_a_grown_table_with_the_scores_that_it_had(tmp_path):
    earlier = pretrained(tmp_path / "ppm")
    keras.utils.set_random_seed(1)
    later = build_pretraining_model(settings(), LATER, later_tables())
    assert np.abs(np.array(later(batch())) - np.array(earlier(batch()))).max() > 1e-4
    warm_start_ppm(tmp_path / "ppm", later, settings("ppm.splits=[train]", "ppm.dropout=0.1"), LATER, {"title": "v1", "image": "v1"})
    np.testing.assert_array_equal(np.array(later(batch())), np.array(earlier(batch())))


@pytest.mark.parametrize(
    ("more", "schema", "versions", "message"),
    [
        (
            ["ppm.width=16"],
            LATER,
            {},
            r"must be a PPM of the same network. Received: .*ppm, where ppm.width was 8 and is 16. Remedy: set what differs",
        ),
        (["ppm.tables=[image,title]"], LATER, {}, r"where ppm.tables was \['title', 'image'\] and is \['image', 'title'\]"),
        (["ppm.num_encoder_layers=1"], LATER, {}, "where ppm.num_encoder_layers was 2 and is 1.*train PPM from its start, without ppm.warm_start"),
        (
            [],
            replace(LATER, history_length=5),
            {},
            "another form than the data holds: data.history_length: 4 in the training, 5 now. Remedy: prepare",
        ),
        ([], LATER, {"image": "v2"}, "the table image was of encoder v1 and is of v2. Remedy: train PPM from its start, without ppm.warm_start"),
    ],
)
def test_an_earlier_ppm_that_does_not_fit_is_refused_by_name(tmp_path, more, schema, versions, message):
    pretrained(tmp_path / "ppm")
    chosen = settings(*more)
    later = build_pretraining_model(chosen, schema, later_tables())
    with pytest.raises(ValueError, match=message):
        warm_start_ppm(tmp_path / "ppm", later, chosen, schema, {"title": "v1", "image": "v1", **versions})


def test_two_plug_ins_of_one_line_are_mixed(trained, tmp_path):
    made, chosen, folder = trained
    new = grown(chosen)
    line = build_ranking_model(settings(*chosen), LATER, LaterCatalog(), later_tables(), LATER_IDS, tmp_path / "ppm" / PPM_WEIGHTS)
    own = [np.array(weight) for weight in line.ppm.trainable_variables]
    warm_start(folder, line, settings(*chosen), later_inputs(), LATER_IDS, 0.25)
    for mixed, mine, theirs in zip(line.ppm.trainable_variables, own, made.ppm.trainable_variables, strict=True):
        np.testing.assert_allclose(mixed, 0.75 * mine + 0.25 * np.array(theirs), rtol=1e-6, atol=1e-7)
    for mine, theirs in zip(line.backbone.trainable_variables, made.backbone.trainable_variables, strict=True):
        np.testing.assert_array_equal(np.array(mine), np.array(theirs))
    assert equal({**scales(line), **dict.fromkeys(["ppm.title.missing", "ppm.image.missing"], 0)},
                 {**scales(made), **dict.fromkeys(["ppm.title.missing", "ppm.image.missing"], 0)})  # fmt: skip
    with pytest.raises(
        ValueError,
        match=(
            "model.warm_start_ppm=average mixes two PPMs of one line.*Received: other means or deviations of the vectors of title, image. Remedy:"
            " let the run's PPM go on from the one before"
        ),
    ):
        warm_start(folder, new, settings(*chosen), later_inputs(), LATER_IDS, 0.5)


def test_a_row_that_no_training_has_met_stays_the_mean_of_what_was_learnt(tmp_path):
    """Day after day: the row of unknown values is not left at the mean of the first day."""
    keras.utils.set_random_seed(0)
    chosen = (*DIN, "model.ppm=none")
    first = model(*chosen)
    before, tags = first.embedding.initial_values(), first.embedding.embeddings["item.tags"].table
    learnt = np.array(tags)
    learnt[[2, 4]] += 1.0  # neither the unknown word nor the one in row 3
    tags.assign(learnt)
    settled = first.embedding.settle_strangers(before)
    assert settled["item.tags"].tolist() == [1, 3]
    save_ranking_model(tmp_path, first, SCHEMA, vocabularies(), COUNTS, Provenance.of({}), settled)
    keras.utils.set_random_seed(1)
    second = build_ranking_model(settings(*chosen), LATER, LaterCatalog(), later_tables(), LATER_IDS)
    before = second.embedding.initial_values()
    carried = warm_start(tmp_path, second, settings(*chosen), later_inputs(), LATER_IDS, 1.0)
    second.embedding.still_strange(before, carried.strangers)
    tags = second.embedding.embeddings["item.tags"].table
    today = np.array(tags)
    today[[2, 3]] += 5.0  # row 3 is met today, 4 and 5 are not
    tags.assign(today)
    assert second.embedding.settle_strangers(before)["item.tags"].tolist() == [1, 5]  # 5 is new, and 4 was learnt yesterday
    np.testing.assert_allclose(np.array(tags)[1], today[[2, 3, 4]].mean(axis=0), rtol=1e-6)


def test_mixed_plug_ins_keep_the_random_states_of_the_new_model():
    keras.utils.set_random_seed(0)
    settings = (*DIN, "model.ppm=random", "ppm.dropout=0.5")
    old, new = model(*settings), model(*settings)
    carry_over(old, new, SCHEMA, SCHEMA, vocabularies(), vocabularies(), 0.5)
    assert np.isfinite(np.array(new(batch(), training=True))).all()
