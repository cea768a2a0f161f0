"""What the models of a grid cost: what their stages wrote down, and how long they take as they are served, all in turns in this process."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pipelines.benchmark.served import as_served, median_wait
from pipelines.benchmark.timing import in_turns
from pipelines.stage import made_for, stage_of
from ppm_tf.config import Config
from ppm_tf.experiments import Cell
from ppm_tf.experiments.costs import Cost, Served, stage_costs, weights_of
from ppm_tf.storage import write_json
from ppm_tf.workspace import SUMMARY, Workspace

logger = logging.getLogger(__name__)

INFERENCE = "inference.json"
_REQUESTS, _BATCHES, _ROUNDS = 32, 4, 7
_SECONDS = 0.5  # of a model's turn, at least: so that a moment of other work is no more than one of many batches of a fast one


def costs_of(cells: list[Cell], folder: Path) -> tuple[list[Cost], str]:
    """The cost of each cell, and how they were timed, in words.

    Training is what each cell's artifacts tell. Inference is timed in one process, so that nothing but the models differs: those of the first
    seed score the same requests in turns. What was timed stays in `folder/inference.json` for as long as every cell is the model that it was;
    where one was added or trained anew, all are timed again. Removing the file times them again, too.

    Args:
        cells: those whose models are there.
        folder: of the benchmark's results.
    """
    found = [training_cost(cell.config, Workspace(cell.config.run)) for cell in cells]
    first = [place for place, cell in enumerate(cells) if cell.seed == cells[0].seed]
    timed, about = _timed([cells[place] for place in first], folder)
    for place, served in zip(first, timed, strict=True):
        found[place] = replace(found[place], served=served)
    return found, about


def training_cost(config: Config, workspace: Workspace) -> Cost:
    """What was trained and written for a ranking model, as the artifacts tell that it was made from."""
    own = stage_of("models").artifact(config)
    summaries = {name: _summary(workspace.path(name)) for name in made_for(stage_of("models"), config)}
    stages = [one for name, summary in summaries.items() for one in stage_costs(name, summary, name == own)]
    return Cost(tuple(stages), summaries[own].get("requests", 0), weights_of(summaries.values()))


def _summary(folder: Path) -> dict[str, Any]:
    path = folder / SUMMARY
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _timed(cells: list[Cell], folder: Path) -> tuple[list[Served], str]:
    """What is served of each cell, and how that was timed: as it is kept, or now."""
    models = {cell.title: Workspace(cell.config.run).id(stage_of("models").artifact(cell.config)) for cell in cells}
    path = folder / INFERENCE
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if kept.get("models") != models:
        served, about = time_together([cell.config for cell in cells])
        kept = {"models": models, "about": about, "served": [asdict(one) for one in served]}
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, kept)
        logger.info("inference of %d models: %s", len(cells), about)
    else:
        logger.info("inference of %d models is as it was timed before; remove %s to time it again", len(cells), path)
    return [Served(one["weights"], one["cached_values"], tuple(one["milliseconds"])) for one in kept["served"]], kept["about"]


def time_together(configs: list[Config]) -> tuple[list[Served], str]:
    """Loads the models and lets them score the same requests of the test split, round by round; the first run's data is read for all.

    Returns:
        What is served of each, and how it was timed, in words.
    """
    import tensorflow as tf

    from ppm_tf import training
    from ppm_tf.data import samples
    from ppm_tf.models.inputs import Inputs
    from ppm_tf.text_models.files import load_model

    training.prepare_backend(configs[0].model.train, configs[0].seed)
    data = Workspace(configs[0].run).path("data")
    models = []
    for config in configs:
        workspace = Workspace(config.run)
        models.append(as_served(load_model(config, Inputs.read(workspace, config.ranking_tables), workspace.path(f"models/{config.model.folder}"))))
    test = samples.find_shards(data / "samples", ["test"], configs[0].model.train.verify)
    schema = Inputs.read(Workspace(configs[0].run), ()).schema
    with samples.reading(test):
        batches = list(samples.read(test, schema, min(_REQUESTS, test.records)).take(_BATCHES))
    batches = [batch for batch in batches if len(batch["request"]) == len(batches[0]["request"])]
    for model in models:
        for batch in batches:  # traces the graph, fills the caches
            model.predict(batch)
    calls = {place: lambda model=model: 1000 * median_wait(model.predict, batches, _SECONDS) for place, model in enumerate(models)}
    rounds = in_turns(calls, _ROUNDS)
    gpus = tf.config.list_physical_devices("GPU")
    cores = len(os.sched_getaffinity(0))
    where = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "one GPU") if gpus else f"{cores} CPU core{'s' * (cores > 1)}"
    about = (
        f"batches of {len(batches[0]['request'])} requests with {schema.num_candidates} candidates and {schema.history_length} behaviors at most,"
        f" the same {len(batches)} for all models, which took turns: the median of {_ROUNDS} rounds; {where}"
    )
    return [Served(model.weights, model.cached_values, tuple(rounds[place])) for place, model in enumerate(models)], about
