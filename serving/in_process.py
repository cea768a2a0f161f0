"""`Scorer`: a published version asked in this process, by its own signature, as a server asks it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from serving.layout import SIGNATURE


class Scorer:
    """Answers batches of requests with the graph of a version.

    Requests are filled up to one of a few sizes by repeating the last one, so that the shapes that the graph meets are few and none is
    prepared for anew.

    Args:
        version: folder of the version, `<base>/<model>/<version>`.
        sizes: numbers of requests at once.

    Example:

    ```python
    Scorer(Path("runs/shop/exports/din/1"))({"candidate_ids": [[7, 8]], ...})  # {"click": [[0.1, 0.3]], ...}
    ```
    """

    def __init__(self, version: Path, sizes: tuple[int, ...] = (16, 64, 256)):
        import tensorflow as tf

        self._tf, self.version, self.sizes = tf, version, tuple(sorted(sizes))
        self._loaded = tf.saved_model.load(str(version))  # holds the variables that the signature reads
        self._signature = self._loaded.signatures[SIGNATURE]
        self.inputs: dict[str, tf.TensorSpec] = self._signature.structured_input_signature[1]

    def __call__(self, requests: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The probabilities of each task, float32 `[R, N]`.

        Args:
            requests: inputs of the signature, one row a request; what it does not take is left out.

        Raises:
            ValueError: the signature takes what is not there.
        """
        missing = sorted(set(self.inputs) - set(requests))
        if missing:
            raise ValueError(
                f"A request to {self.version} must hold {', '.join(sorted(self.inputs))}. Received: no {', '.join(missing)}. Remedy: a version of a"
                " model that was trained without them."
            )
        count = len(requests["candidate_ids"])
        found: dict[str, list[np.ndarray]] = {}
        for start in range(0, count, self.sizes[-1]):
            rows = np.arange(start, min(start + self.sizes[-1], count))
            size = next(size for size in self.sizes if size >= len(rows))
            filled = np.pad(rows, (0, size - len(rows)), mode="edge")
            inputs = {name: self._tf.constant(requests[name][filled], spec.dtype) for name, spec in self.inputs.items()}
            for task, values in self._signature(**inputs).items():
                found.setdefault(task, []).append(values.numpy()[: len(rows)])
        return {task: np.concatenate(parts) for task, parts in found.items()}
