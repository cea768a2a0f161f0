"""A ranking model of this product in the comparison: `python -m pipelines.benchmark.peers.ours <specification.json>`."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.benchmark.peers.worker import median_ms, serve

_SHUFFLE = 4096


class Ours:
    """A ranking model, built, trained and served as the product does it, from the files of the product."""

    def __init__(self, spec: dict[str, Any]):
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(spec["threads"])
        tf.config.threading.set_inter_op_parallelism_threads(spec["threads"])
        from pipelines.benchmark.ranking import random_table, training_inputs
        from pipelines.benchmark.served import as_served
        from ppm_tf import training as harness
        from ppm_tf.config import load
        from ppm_tf.data import samples
        from ppm_tf.workspace import Workspace

        self.config = load(spec["settings"])
        self.size = self.config.model.train.batch_size
        self.strategy = harness.prepare_backend(self.config.model.train, self.config.seed)
        self.workspace = Workspace(self.config.run)
        inputs, self.files, self.counts = training_inputs(self.config, self.workspace, ())
        # Random vectors cost what trained ones do.
        tables = {name: random_table(inputs.catalog.num_rows, self.config.seed, width) for name, width in spec.get("tables", {}).items()}
        self.inputs = replace(inputs, tables=tables)
        self.test = samples.find_shards(self.workspace.path("data") / "samples", ["test"], "size")
        some = samples.read(self.files, self.inputs.schema, self.size).take(20).cache()
        self.few = [batch for batch in some if len(batch["request"]) == self.size]
        self.model = self._model()
        self.trainer = self._trainer(some.filter(lambda batch: tf.shape(batch["request"])[0] == self.size).repeat())
        self.predict = as_served(self._model()).predict

    def _model(self):
        from pipelines.benchmark.ranking import built

        return built(self.config, self.inputs, self.counts)

    def _trainer(self, dataset):
        from pipelines.benchmark.ranking import trainer_of

        return trainer_of(self.model, self.config, dataset, self.strategy)

    @property
    def _examples(self) -> int:
        """Candidates a batch."""
        return self.size * self.inputs.schema.num_candidates

    def train(self, steps: int) -> dict[str, Any]:
        import tensorflow as tf

        self.trainer.train(tf.constant(steps))
        return {"examples": steps * self._examples}

    def epoch(self) -> dict[str, Any]:
        """A pass over the rows by a model from nothing."""
        import tensorflow as tf

        from ppm_tf.data import samples

        self.model = self._model()
        dataset = samples.read(self.files, self.inputs.schema, self.size, epochs=None, shuffle_buffer=_SHUFFLE, seed=self.config.seed)
        self._trainer(dataset).train(tf.constant(math.ceil(self.files.records / self.size)))
        return {"examples": self.files.candidates}

    def score(self, path: str) -> dict[str, Any]:
        import numpy as np

        from ppm_tf.data import samples
        from ppm_tf.evaluation import collect
        from ppm_tf.models.predict import Predictor

        dataset = samples.read(self.test, self.inputs.schema, self.size)
        scores = collect(Predictor(self.model, dataset), self.inputs.schema.tasks)
        np.save(path, scores.scores[:, 0])
        return {}

    def infer(self, batches: int) -> dict[str, Any]:
        for number in range(batches):
            self.predict(self.few[number % len(self.few)]).numpy()
        return {"examples": batches * self._examples}

    def request(self, candidates: int, times: int) -> dict[str, Any]:
        import numpy as np
        import tensorflow as tf

        many, of_candidates = self.few[0], ("item", "labels", "slot")
        one = {name: values[:1] for name, values in many.items() if name not in of_candidates}
        real = np.resize(many["item"].numpy()[many["item"].numpy() > 0], candidates)
        one |= {"item": tf.constant(real[None]), "slot": tf.range(candidates)[None]}
        plain = {name: values.numpy() for name, values in one.items()}
        return {"ms": median_ms(lambda: self.predict({name: tf.constant(values) for name, values in plain.items()}).numpy(), times)}

    def floor(self) -> dict[str, Any]:
        """Seconds that a step, and the inference of a batch, cannot go below; and the rates behind them."""
        import tensorflow as tf

        from pipelines.benchmark.floor import floor_seconds, rates, work_of
        from ppm_tf.losses import multi_task_cross_entropy

        def step(batch):
            with tf.GradientTape() as tape:
                logits = self.model(batch, training=True)
                loss = multi_task_cross_entropy(batch["labels"], logits, (1.0,) * logits.shape[-1])
            return [tf.convert_to_tensor(one) for one in tape.gradient(loss, self.model.trainable_variables) if one is not None]

        batch = self.few[0]
        rate = rates(self.config.model.dim)
        trained, inferred = work_of(step, batch), work_of(lambda batch: self.model(batch, training=False), batch)
        return {
            "step_floor": floor_seconds(trained, rate), "infer_floor": floor_seconds(inferred, rate), "step_gflop": trained.flops / 1e9,
            "gflops": rate.flops / 1e9, "gather_gb": rate.looked_up / 1e9,
        }  # fmt: skip


if __name__ == "__main__":
    serve(lambda: Ours(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
