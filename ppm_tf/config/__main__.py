"""`python -m ppm_tf.config` prints docs/settings.md, the reference of all settings."""

from __future__ import annotations

from ppm_tf.config import Config, describe
from ppm_tf.terminal import printing

HEAD = """# Settings

Every setting with its default and meaning, as the stages' `--help` shows them. In a YAML file they are nested by section; on the command line
they are `section.key=value`, with values in YAML: `ppm.mlp_units=[64,32] train.clip_norm=null`. A key that is not known is refused by its name.

This page is `python -m ppm_tf.config > docs/settings.md`, and a test holds it to that.
"""


def reference() -> str:
    """The text of docs/settings.md."""
    sections = tuple(Config.model_fields)
    return f"{HEAD}\n```text\n{describe(sections).strip()}\n```\n"


if __name__ == "__main__":
    with printing():
        print(reference(), end="")
