"""Version folders that hold no model, for tests of publication."""

from __future__ import annotations

from serving.publish import publish

FILES = {
    "saved_model.pb": "graph",
    "variables/variables.index": "index",
    "variables/variables.data-00000-of-00001": "weights",
    "assets.extra/tf_serving_warmup_requests": "requests",
    "assets.extra/golden.json": '{"signature_name": "serving_default", "inputs": {}, "outputs": {}}',
    "assets.extra/export.json": "{}",
}


def stage(folder, mark="1"):
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "saved_model.pb").write_text(f"graph {mark}")
    return folder


def published(tmp_path, count, **arguments):
    """A base with versions 1 to `count`, each telling its number in saved_model.pb."""
    base = tmp_path / "exports"
    for number in range(1, count + 1):
        publish(stage(tmp_path / f"export-{number}", number), base, "ranker", **arguments)
    return base


def graph(base, version):
    return (base / "ranker" / str(version) / "saved_model.pb").read_text()
