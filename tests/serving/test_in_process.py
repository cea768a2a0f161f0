"""A version asked in this process: the trainer's scores, few shapes, and what a request must hold."""

import numpy as np
import pytest

from serving.export import write_saved_model
from serving.in_process import Scorer
from tests.models.tiny_ranking import batch
from tests.serving.test_signature import made, probabilities, raw


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    """A trained model, and its version on disk."""
    trained, module = made()
    folder = tmp_path_factory.mktemp("version") / "1"
    write_saved_model(module, folder)
    return trained, folder


def requests(count):
    """So many requests, with an input that no model takes."""
    found = {name: np.resize(value.numpy(), (count, *value.shape[1:])) for name, value in raw().items()}
    return {**found, "weather": np.zeros(count)}


def test_scores_are_the_trainers(version):
    trained, folder = version
    expected = probabilities(trained, batch())
    for sizes in ((2,), (1, 4), (16, 64)):  # in several batches, in the smallest that holds them, filled up
        found = Scorer(folder, sizes)(requests(3))
        assert set(found) == {"click", "order"}
        for place, task in enumerate(("click", "order")):
            assert found[task].shape == expected.shape[:2]
            np.testing.assert_allclose(found[task], expected[:, :, place], atol=1e-6)


def test_a_graph_meets_few_shapes(version):
    scorer, seen = Scorer(version[1], sizes=(8, 2)), []
    signature = scorer._signature
    scorer._signature = lambda **inputs: seen.append({value.shape[0] for value in inputs.values()}) or signature(**inputs)
    for count in (1, 2, 3, 8, 19):
        assert len(scorer(requests(count))["click"]) == count
    assert seen == [{2}, {2}, {8}, {8}, {8}, {8}, {8}]


def test_a_request_must_hold_what_the_signature_takes(version):
    given = requests(2)
    del given["time"], given["user_id"]
    with pytest.raises(ValueError, match=r"A request to .* must hold candidate_ids, .*, user_id. Received: no time, user_id. Remedy"):
        Scorer(version[1])(given)
