"""Ranking by what exposures earn: 1000 x bid x probability, from the command line, from a request file, and what is refused."""

import json

import pytest

from serving.client import BadInputError, Client, check_bids, main
from tests.serving.test_client import stub  # noqa: F401 (a fixture)

SCORES = {"click": [0.10, 0.02, 0.30], "download": [0.01, 0.02, 0.03]}


def answers(outputs):
    signature = {"inputs": {name: {"dtype": "DT_INT64"} for name in ("candidate_ids", "history_ids")}, "outputs": {name: {} for name in outputs}}
    metadata = {"metadata": {"signature_def": {"signature_def": {"serving_default": signature}}}}
    (only,) = [SCORES[name] for name in outputs] if len(outputs) == 1 else [{name: SCORES[name] for name in outputs}]
    return (200, metadata), (200, {"predictions": [only]})


@pytest.fixture
def both(stub):  # noqa: F811
    return stub(*answers(["click", "download"])).url


@pytest.fixture
def one(stub):  # noqa: F811
    return stub(*answers(["click"])).url


def test_the_dearest_exposures_come_first(one):
    """By hand: 0.10 x 5, 0.02 x 30 and 0.30 x 1 a click, a thousand times."""
    with Client(one, "m") as client:
        found = client.rank(candidates=[7, 8, 9], by="ecpm", bids=[5, 30, 1])
    assert [candidate for candidate, _ in found] == [8, 7, 9]
    assert [worth for _, worth in found] == pytest.approx([600, 500, 300])


def test_equal_bids_rank_by_the_probability_and_a_bid_of_nothing_last(one):
    with Client(one, "m") as client:
        assert [item for item, _ in client.rank(candidates=[7, 8, 9], by="ecpm", bids=[2, 2, 2])] == [9, 7, 8]
        assert client.rank(candidates=[7, 8, 9], by="ecpm", bids=[2, 2, 0])[-1] == (9, 0)


def test_the_event_that_is_paid_for_is_a_task(both):
    with Client(both, "m") as client:
        found = client.rank(candidates=[7, 8, 9], by="ecpm", bids={"9": 1, "8": 4, "7": 1}, paid_for="download")
    assert [candidate for candidate, _ in found] == [8, 9, 7] and found[0][1] == pytest.approx(80)


def test_the_command_line(both, capsys):
    main(["--url", both, "--model", "m", "rank", "--candidates", "7,8,9", "--by", "ecpm", "--bids", "5,30,1", "--paid-for", "click"])
    assert json.loads(capsys.readouterr().out) == [[8, pytest.approx(600)], [7, pytest.approx(500)], [9, pytest.approx(300)]]


def test_a_request_file_of_which_the_command_line_replaces_a_part(stub, tmp_path, capsys):  # noqa: F811
    server = stub(*answers(["click", "download"]))
    path = tmp_path / "request.json"
    path.write_text(json.dumps({"candidates": [7, 8, 9], "history": [3, 2], "bids": {"7": 5, "8": 30, "9": 1}, "paid_for": "click"}))
    command = ["--url", server.url, "--model", "m", "rank", "--request", str(path), "--by", "ecpm"]
    main(command)
    assert [item for item, _ in json.loads(capsys.readouterr().out)] == [8, 7, 9]
    assert json.loads(server.asked[-1][2])["instances"] == [{"candidate_ids": [7, 8, 9], "history_ids": [3, 2]}]


def test_options_replace_what_the_file_says(stub, tmp_path, capsys):  # noqa: F811
    path = tmp_path / "request.json"
    path.write_text(json.dumps({"candidates": [1, 2, 3], "history": [3, 2], "bids": [5, 30, 1], "paid_for": "click"}))
    server = stub(*answers(["click", "download"]))
    main(["--url", server.url, "--model", "m", "rank", "--request", str(path), "--by", "ecpm", "--candidates", "7,8,9", "--bids", "1,1,1"])
    assert [item for item, _ in json.loads(capsys.readouterr().out)] == [9, 7, 8]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--by", "ecpm"], "by=ecpm needs the candidates' bids: bids=[...], one a candidate (--bids 0.5,1.2,0.8). Received: none"),
        (
            ["--by", "ecpm", "--bids", "1,2,3"],
            "needs the task whose event is paid for: paid_for=... (--paid-for). Received: none; the model has click",
        ),
        (["--by", "ecpm", "--bids", "1,2,3", "--paid-for", "order"], "paid_for must be a task of the model: click, download. Received: order"),
        (["--by", "ecpm", "--bids", "1,2", "--paid-for", "click"], "one bid a candidate, in their order. Received: 2 bids, 3 candidates"),
        (
            ["--by", "ecpm", "--bids", "1,-2,3", "--paid-for", "click"],
            "A bid must be a number from 0 on, in money an event. Received: -2.0 for candidate 8",
        ),
        (["--by", "ecpm", "--bids", "1,free,3", "--paid-for", "click"], "A bid must be a number from 0 on, in money an event. Received: 'free'"),
        (["--by", "ecpm", "--bids", "1,nan,3", "--paid-for", "click"], "Received: nan for candidate 8"),
        (["--by", "click", "--bids", "1,2,3"], "Bids, and what they are paid for, go with by=ecpm. Received: by=click"),
        (["--by", "epcm"], "by must be ecpm, or a task of the model: click, download. Received: epcm"),
        (["--request", "none.json"], "The request must be a JSON file. Received: none.json"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(both, capsys, arguments, message):
    with pytest.raises(SystemExit, match="2"):
        main(["--url", both, "--model", "m", "rank", "--candidates", "7,8,9", *arguments])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"candidate": [1]}', "must hold an object with the keys candidates, history"),
        ("[1]", "Received: no object"),
        ("{}", "candidates must hold at least one id"),
        ("{", "The request must be a JSON file"),
    ],
)
def test_a_request_file_that_holds_something_else(both, tmp_path, capsys, content, message):
    path = tmp_path / "request.json"
    path.write_text(content)
    with pytest.raises(SystemExit, match="2"):
        main(["--url", both, "--model", "m", "rank", "--request", str(path)])
    assert message in capsys.readouterr().err


def test_bids_by_candidate_must_be_of_all():
    with pytest.raises(BadInputError, match="Each candidate must have a bid. Received: none for 8"):
        check_bids(["7", "8"], {"7": 1.0})
    with pytest.raises(BadInputError, match="A bid must be a number"):
        check_bids([7], [True])
