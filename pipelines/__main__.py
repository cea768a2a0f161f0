"""`python -m pipelines` lists the commands; with the name of one that is none, the nearest are shown."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import sys
from pathlib import Path

from ppm_tf.terminal import printing

_NO_COMMANDS = ("stage", "given", "__main__")


def commands() -> dict[str, str]:
    """Each command and its first line of help, in alphabetical order."""
    names = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.name not in _NO_COMMANDS)
    return {name: (importlib.import_module(f"pipelines.{name}").__doc__ or "").strip().splitlines()[0] for name in names}


def main(arguments: list[str] | None = None) -> None:
    """Prints the list. Exits with 2 where an argument is no command."""
    arguments = sys.argv[1:] if arguments is None else arguments
    found = commands()
    listed = "\n".join(f"  python -m pipelines.{name.ljust(10)} {about}" for name, about in found.items())
    with printing():
        if not arguments or {"-h", "--help"} & set(arguments):
            print(f"The commands; each with --help, a YAML file and section.key=value:\n\n{listed}")
            return
    near = difflib.get_close_matches(arguments[0], found, n=2)
    hint = f" Did you mean {' or '.join(f'python -m pipelines.{name}' for name in near)}?" if near else f" They are:\n{listed}"
    print(f"A command is python -m pipelines.<name>. Received: {arguments[0]}.{hint}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
