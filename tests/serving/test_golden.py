"""The golden requests of one version, answered by another in a fresh process."""

import json
import shutil

import pytest

from serving.golden import golden_answers
from serving.layout import EXTRA, GOLDEN


def test_the_live_version_answers_the_new_ones_requests_or_says_why_not(contract_folder, tmp_path):
    new = shutil.copytree(contract_folder / "versions" / "2", tmp_path / "new")
    golden = {"signature_name": "serving_default", "inputs": {"x": [[1.5, 2.0]]}, "outputs": {"y": [[3.0, 4.0]]}}
    (new / EXTRA).mkdir()
    (new / EXTRA / GOLDEN).write_text(json.dumps(golden))
    assert golden_answers(new, contract_folder / "versions" / "1") == ({"y": [[3.0, 4.0]]}, {"y": [[1.5, 2.0]]})
    with pytest.raises(ValueError, match="must answer the golden requests of .*Received: ValueError: A request of serving_default must hold"):
        golden_answers(new, contract_folder / "ranker" / "1")
