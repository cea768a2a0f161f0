"""DIN of DeepCTR (Keras of TensorFlow 2), run by the comparison in an environment that has it: `python deepctr_din.py <specification.json>`."""

from __future__ import annotations

import json
import sys


class DeepCTR:
    """DeepCTR's DIN under Keras' `fit`, as its documentation trains it."""

    def __init__(self, spec: dict):
        import tensorflow as tf
        from worker import Rows

        tf.config.threading.set_intra_op_parallelism_threads(spec["threads"])
        tf.config.threading.set_inter_op_parallelism_threads(spec["threads"])
        tf.keras.utils.set_random_seed(spec["seed"])
        self.tf, self.spec = tf, spec
        self.rows, self.test = Rows(spec["rows"], "train"), Rows(spec["rows"], "test")
        self.model = self._model()
        batch, some = spec["batch_size"], min(len(self.rows), 20 * spec["batch_size"])
        head = {name: values[:some] for name, values in self.rows.columns.items()}
        data = tf.data.Dataset.from_tensor_slices((head, self.rows.labels[:some].astype("float32")))
        self.steps = data.batch(batch, drop_remainder=True).cache().repeat()
        self.few = [
            {name: tf.constant(values[start : start + batch]) for name, values in head.items()} for start in range(0, some - batch + 1, batch)
        ]
        self.predict = tf.function(lambda inputs: self.model(inputs, training=False), reduce_retracing=True)

    def _model(self):
        from deepctr.feature_column import SparseFeat, VarLenSparseFeat, get_feature_names
        from deepctr.models import DIN

        sizes, width, length = self.spec["vocabularies"], self.spec["width"], self.spec["history"]
        plain = [SparseFeat(name, size, embedding_dim=width) for name, size in sizes.items()]
        of_history = [name for name in sizes if f"hist_{name}" in self.rows.columns]
        sequences = [
            VarLenSparseFeat(SparseFeat(f"hist_{name}", sizes[name], embedding_dim=width, embedding_name=name), maxlen=length) for name in of_history
        ]
        model = DIN(
            plain + sequences, of_history, dnn_hidden_units=tuple(self.spec["mlp_units"]), att_hidden_size=tuple(self.spec["attention_units"]),
            att_activation="dice", l2_reg_embedding=0.0,
        )  # fmt: skip
        model.compile(self.tf.keras.optimizers.Adam(self.spec["learning_rate"]), "binary_crossentropy")
        assert set(get_feature_names(plain + sequences)) == set(self.rows.columns)
        return model

    def train(self, steps):
        self.model.fit(self.steps, steps_per_epoch=steps, verbose=0)
        return {"examples": steps * self.spec["batch_size"]}

    def epoch(self):
        """A pass over the rows by a model from nothing."""
        self.model = self._model()
        self.model.fit(self.rows.columns, self.rows.labels.astype("float32"), batch_size=self.spec["batch_size"], verbose=0)
        return {"examples": len(self.rows)}

    def score(self, path):
        import numpy as np

        np.save(path, self.model.predict(self.test.columns, batch_size=self.spec["batch_size"], verbose=0)[:, 0])
        return {}

    def infer(self, batches):
        for number in range(batches):
            self.predict(self.few[number % len(self.few)]).numpy()
        return {"examples": batches * self.spec["batch_size"]}

    def request(self, candidates, times):
        from worker import median_ms

        one = self.test.of_one_request(candidates)
        return {"ms": median_ms(lambda: self.predict({name: self.tf.constant(values) for name, values in one.items()}).numpy(), times)}


if __name__ == "__main__":
    from worker import serve

    with open(sys.argv[1], encoding="utf-8") as file:
        spec = json.load(file)
    serve(lambda: DeepCTR(spec))
