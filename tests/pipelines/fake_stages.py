"""Stages that stand in for data, training and evaluation: they write what the real ones write, in no time.

A model scores by the truth plus noise; the more of the training data and of PPM it has, the less. `MADE` notes what was made.
"""

import json

import numpy as np

from pipelines.align.encoder import of_ids
from pipelines.stage import Stage

MADE = []
BREAKS = set()  # backbones whose training fails


def make_data(config, workspace, recipe):
    MADE.append(("data", str(workspace.folder)))
    with workspace.commit("data", recipe) as folder:
        (folder / "requests").write_text("300")


def train(config, workspace, recipe):
    MADE.append(("train", config.model.folder))
    model = config.model
    if model.backbone.name in BREAKS:
        raise RuntimeError("no memory for it")
    noise = 0.3 - 0.15 * (model.ppm != "none") - 0.05 * (model.newest == 1.0) - 0.01 * (model.dim == 32)
    with workspace.commit(f"models/{model.folder}", recipe) as folder:
        summary = {"valid_auc": 0.9 - noise, "best_step": 5, "steps": 9, "noise": noise, "seed": model.seed}
        summary |= {"seconds": 10.0 * (model.seed or 1), "examples": 900, "requests": 300, "trainable_weights": 50, "id_table_weights": 40}
        (folder / "summary.json").write_text(json.dumps(summary))
        counts = np.array([0, 0, 0, 0, 3, 7, 60, 600])
        np.savez(
            folder / "counts.npz",
            requests=9,
            exposures=counts,
            positives=counts[:, None],
            behaviors=counts,
            user_id=np.arange(40),
            user_requests=np.arange(40),
        )


def align(config, workspace, recipe):
    MADE.append(("align", json.loads((workspace.path("models/din") / "summary.json").read_text())["seed"]))
    with workspace.commit("tables/aligned", recipe):
        pass


def pretrain(config, workspace, recipe):
    MADE.append(("ppm", config.ppm.dropout, (workspace.path("data") / "requests").read_text()))
    with workspace.commit("ppm", recipe) as folder:
        summary = {"valid_auc": 0.6 + config.ppm.dropout / 10 + config.train.epochs / 100, "best_step": 5, "steps": 9, "seconds": 0.1}
        (folder / "summary.json").write_text(json.dumps(summary))


def evaluate(config, workspace, recipe):
    from ppm_tf.evaluation import Scores, measure, records_of, save_measures, save_scores, write_metrics

    MADE.append(("evaluate", config.model.folder))
    summary = json.loads((workspace.path(f"models/{config.model.folder}") / "summary.json").read_text())
    random = np.random.default_rng(0)  # the test split is one for all models
    truth = random.random((3000, 2)) * [0.6, 0.3]
    labels = (random.random(truth.shape) < truth).astype(np.int8)
    item, user = random.integers(2, 8, 3000), np.repeat(np.arange(300) % 60, 10)
    own = np.random.default_rng(summary["seed"])
    scores = np.clip(truth + own.normal(0, summary["noise"], truth.shape), 0.001, 0.999).astype(np.float32)
    table = Scores(scores, labels, np.repeat(np.arange(300), 10), user, item, ("click", "order"), history=np.repeat(np.arange(300) % 30, 10))
    with workspace.commit(f"reports/{config.model.folder}", recipe) as folder:
        save_scores(table, folder / "scores.npz")
        with np.load(workspace.path(f"models/{config.model.folder}") / "counts.npz") as counts:
            requests = np.where(user < 40, counts["user_requests"][np.minimum(user, 39)], 0)
            measures = measure(table, counts["exposures"], config.evaluate, config.seed, requests)
        save_measures(measures, folder / "measures.npz")
        write_metrics(records_of(measures, config.evaluate.confidence), folder / "metrics.jsonl", config.model.folder, summary["seed"])
    print("words that a grid keeps to itself")


DATA = Stage(module="fake.prepare", makes="data", needs=(), sections=("data",), run=make_data)
MODELS = Stage(
    module="fake.train", makes=lambda config: f"models/{config.model.folder}",
    needs=lambda config: ("data", *(f"tables/{name}" for name in config.model.tables)), sections=(), run=train,
    settings=lambda config: {"model": config.model.model_dump(mode="json", exclude={"name"})},
)  # fmt: skip
ALIGNED = Stage(
    module="fake.align", makes="tables/aligned", needs=("data", "models/din"), sections=("text",), run=align,
    under=lambda name, config: of_ids(config) if name.startswith("models/") else config,
)  # fmt: skip
PPM = Stage(module="fake.pretrain", makes="ppm", needs=("data",), sections=("ppm", "train"), run=pretrain)
REPORTS = Stage(
    module="fake.evaluate", makes=lambda config: f"reports/{config.model.folder}", needs=lambda config: ("data", f"models/{config.model.folder}"),
    sections=("evaluate",), run=evaluate,
)  # fmt: skip


def replace_real_ones(monkeypatch):
    """Lets the pipelines find these stages under the names of the real ones."""
    from pipelines import stage

    MADE.clear()
    BREAKS.clear()
    named = {
        "data": "DATA",
        "ppm": "PPM",
        "tables/*": "ALIGNED",
        "models": "MODELS",
        "models/*": "MODELS",
        "reports": "REPORTS",
        "reports/*": "REPORTS",
    }
    for artifact, name in named.items():
        monkeypatch.setitem(stage.STAGES, artifact, f"tests.pipelines.fake_stages:{name}")
    # There is no graph to let go of, and in a process full of other tests' objects it takes seconds a cell.
    monkeypatch.setattr("ppm_tf.experiments.loop._clear", lambda: None)
