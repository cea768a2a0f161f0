"""Who may import whom, from bottom to top, read from the import statements."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# A room may import itself and those above it in this list; `data` and `serving` have rooms inside.
ROOMS = [
    {"config", "private_apis", "rows", "shared_run", "storage", "terminal", "workspace"},
    {"data.raw"},
    {"data"},
    {"data.sources"},
    {"data.preparation"},
    {"layers"},
    {"losses", "metrics"},
    {"encoders", "backbones"},
    {"models"},
    {"text_models", "objectives"},
    {"training"},
    {"evaluation"},
    {"experiments", "daily"},
    {"reports"},
    {"serving"},
    {"serving.local"},
    {"pipelines"},
]
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
PURE = {"layers", "losses", "metrics", "backbones"}  # plain arguments only: no settings, no files
CALLERS = {"stage", "update", "alternate", "simulate", "benchmark", "sweep"}  # pipelines that may call others
FILES = sorted(path for top in ("ppm_tf", "pipelines", "serving") for path in (ROOT / top).rglob("*.py"))


def room_of(parts):
    """The room of a module: the folder or file below `ppm_tf`, or a room inside one."""
    parts = parts if parts[0] in ("pipelines", "serving") else parts[1:]
    if len(parts) > 1 and ".".join(parts[:2]) in LEVEL:
        return ".".join(parts[:2])
    return parts[0] if parts else None


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    mine = room_of(parts)
    for name in imports(path):
        target = name.split(".")
        if target[0] not in ("ppm_tf", "pipelines", "serving"):
            continue
        theirs = room_of(target)
        if theirs is None or theirs.startswith("__"):
            continue
        assert theirs in LEVEL, f"{name} is in no room"
        assert mine is None or LEVEL[theirs] <= LEVEL[mine], f"{mine} must not import {name}"
        if mine in PURE:
            assert theirs.split(".")[0] not in ("config", "data", "workspace"), f"{mine} must not import {name}"
        if theirs == "serving.local":
            assert mine == theirs or parts[:2] == ("pipelines", "benchmark"), f"only its benchmark may import {name}"
        if mine == theirs == "pipelines" and parts[1] not in CALLERS:
            assert target[1] in ("stage", "given", "continuation", parts[1]), f"{path.name} must not import {name}"


def test_every_module_is_in_a_room():
    found = {room_of(path.relative_to(ROOT).with_suffix("").parts) for path in FILES}
    assert {room for room in found if room and not room.startswith("__")} <= set(LEVEL)


def test_importing_the_package_imports_no_framework():
    import subprocess
    import sys

    code = "import sys, ppm_tf; assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
