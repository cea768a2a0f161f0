"""What a command printed."""

import json


def lines_of(capsys):
    """The JSON objects on standard output, one a line."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
