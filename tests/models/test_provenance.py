"""What a model was made of is written down, and met again wherever its weights are loaded."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
import yaml

from ppm_tf.data.sample_counts import SampleCounts
from ppm_tf.models.growth import carry_over
from ppm_tf.models.inputs import Inputs
from ppm_tf.models.provenance import Provenance
from ppm_tf.models.ranking_files import load_ranking_model, save_ranking_model, warm_start
from ppm_tf.workspace import SETTINGS
from tests.models.tiny_ranking import DIN, SCHEMA, Catalog, batch, model, settings, tables, vocabularies

COUNTS = SampleCounts(1, *(np.zeros(shape, np.int64) for shape in (7, (7, 2), 7, 0, 0)))
WITH_TABLES = [*DIN, "model.ppm=random", "model.tables=[title]"]


class ReadCatalog(Catalog):
    """The catalog, as a run's data holds it."""


@pytest.fixture
def trained(tmp_path):
    keras.utils.set_random_seed(0)
    made = model(*WITH_TABLES)
    save_ranking_model(tmp_path, made, SCHEMA, vocabularies(), COUNTS, Provenance.of(tables(), "p1"))
    return tmp_path, made


def inputs(**versions):
    return Inputs(
        SCHEMA, ReadCatalog(), {name: replace(table, encoder_version=versions.get(name, table.encoder_version)) for name, table in tables().items()}
    )


def test_a_model_scores_on_tables_of_its_encoders_only(trained):
    folder, made = trained
    again = load_ranking_model(settings(*WITH_TABLES), inputs(), folder)
    np.testing.assert_allclose(again(batch()), made(batch()), atol=1e-6)
    with pytest.raises(
        ValueError,
        match=(
            r"must read vectors of the encoders that it was trained on. Received: the table title was of encoder v1 and is of v2. Remedy: train the"
            r" model anew .*text.encoder=saved"
        ),
    ):
        load_ranking_model(settings(*WITH_TABLES), inputs(title="v2"), folder)


def test_an_earlier_model_of_other_encoders_is_no_start(trained):
    folder, _ = trained
    later = model(*WITH_TABLES)
    with pytest.raises(ValueError, match="the table image was of encoder v1 and is of v3.*without model.warm_start"):
        warm_start(folder, later, settings(*WITH_TABLES), inputs(image="v3"), vocabularies(), ppm_share=1.0)
    assert warm_start(folder, later, settings(*WITH_TABLES), inputs(), vocabularies(), ppm_share=1.0).fresh == 0


def test_ids_alone_may_come_from_a_model_of_other_encoders_but_not_of_more_tables(trained):
    folder, made = trained
    (folder / SETTINGS).write_text(yaml.safe_dump(settings(*WITH_TABLES).model_dump(mode="json")))
    later, ids = model(*WITH_TABLES), "model.warm_start_part=ids"
    assert warm_start(folder, later, settings(*WITH_TABLES, ids), inputs(image="v3"), vocabularies(), ppm_share=1.0).fresh == 0
    np.testing.assert_array_equal(*(np.array(one.embedding.embeddings["item.item_id"].table) for one in (later, made)))
    with pytest.raises(ValueError, match="must be among those of the new model. Received: .*, which read .*image too. Remedy: name them"):
        warm_start(folder, later, settings(*WITH_TABLES, ids), replace(inputs(), tables={}), vocabularies(), ppm_share=1.0)


@pytest.mark.parametrize("keep", [True, False])
def test_the_plug_in_is_kept_or_replaced(trained, keep):
    folder, old = trained
    keras.utils.set_random_seed(1)
    new = model(*WITH_TABLES)
    own = [np.array(variable) for variable in new.ppm.trainable_variables]
    carry_over(old, new, SCHEMA, SCHEMA, vocabularies(), vocabularies(), float(keep))
    expected = [np.array(variable) for variable in old.ppm.trainable_variables] if keep else own
    for found, wanted in zip(new.ppm.trainable_variables, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    for found, wanted in zip(new.backbone.trainable_variables, old.backbone.trainable_variables, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_model_is_loaded_at_the_precision_of_its_training(tmp_path, float32_policy):
    keras.utils.set_random_seed(0)
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    made = model(*WITH_TABLES)
    expected = np.asarray(made(batch()), "float32")
    save_ranking_model(tmp_path, made, SCHEMA, vocabularies(), COUNTS, Provenance.of(tables()))
    keras.mixed_precision.set_global_policy("float32")  # as in a fresh process
    again = load_ranking_model(settings(*WITH_TABLES), inputs(), tmp_path)
    np.testing.assert_array_equal(np.asarray(again(batch()), "float32"), expected)
    assert keras.mixed_precision.global_policy().name == "float32"


def test_a_model_that_does_not_say_what_it_was_made_of_is_refused(trained):
    folder, _ = trained
    (folder / "made_of.json").write_text(json.dumps({"tables": {}}))
    with pytest.raises(ValueError, match="made_of.json must say what the model was made of.*train the model anew"):
        load_ranking_model(settings(*WITH_TABLES), inputs(), folder)
