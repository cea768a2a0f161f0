import json

import pytest

from ppm_tf.data.label_check import tasks_to_validate
from tests.raw_logs import LOG, SINGLE, mapping, prepared, write_raw


def statistics(folder, **counts):
    positives, negatives = ({task: found[place] for task, found in counts.items()} for place in (0, 1))
    (folder / "statistics.json").write_text(json.dumps({"splits": {"valid": {"requests": 9, "positives": positives, "negatives": negatives}}}))
    return folder


def test_a_prepared_split_of_one_class_is_refused_with_its_counts_and_the_remedy(tmp_path):
    """The newest tenth before the test part is one click."""
    write_raw(tmp_path / "raw", log={**LOG, "click": [1, 0, 1, 1, 0, 1, 1, 0, 0, 1]})
    prepared(mapping(tmp_path / "raw", **SINGLE), tmp_path / "data")
    found = json.loads((tmp_path / "data" / "statistics.json").read_text())["splits"]["valid"]
    assert 0 in (found["positives"]["click"], found["negatives"]["click"]) and found["requests"] == 1
    message = (
        r"The valid split must hold both positives and negatives.*Received: click with \d positives and \d negatives, in 1 requests\. Remedy: raise"
        r" data\.split\.valid"
    )
    with pytest.raises(ValueError, match=message):
        tasks_to_validate(tmp_path / "data", ("click",))


def test_a_task_of_one_class_is_left_out_beside_one_of_both(tmp_path):
    assert tasks_to_validate(statistics(tmp_path, click=(3, 6), order=(0, 9), cart=(9, 0)), ("click", "order", "cart")) == ("click",)
    with pytest.raises(ValueError, match=r"order with 0 positives and 9 negatives, cart with 9 positives and 0 negatives"):
        tasks_to_validate(tmp_path, ("order", "cart"))


def test_a_folder_without_statistics_is_not_whole(tmp_path):
    with pytest.raises(FileNotFoundError, match="must hold statistics.json"):
        tasks_to_validate(tmp_path, ("click",))
