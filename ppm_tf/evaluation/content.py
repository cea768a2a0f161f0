"""`content`: what the cosines between a candidate and its history say alone. A model that reads texts and images has to beat it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ppm_tf.evaluation.scores import Scores, collect
from ppm_tf.rows import PADDING_ROW

if TYPE_CHECKING:
    from ppm_tf.data.samples import SampleFiles
    from ppm_tf.data.schema import Schema
    from ppm_tf.data.tables import EmbeddingTable

MOST = 200_000  # candidates that the regression is fitted on
_EDGES = (0.0, 0.25, 0.5, 0.75)
_BEST = 3


class ContentBaseline:
    """A logistic regression on cosines between an item's vectors and those of the behaviors, of each table on its own.

    Of each table: the cosines' mean, maximum, mean of the best three, that with the newest behavior, and the shares of behaviors above 0,
    .25, .5 and .75; and how long the history is. It is fitted on the training split, task by task, and knows no id, no order and no weight
    that a network could learn.

    Args:
        tables: name -> vectors `[V, D]` in catalog order, and which rows have one, bool `[V]`.

    Example:

    ```python
    baseline = ContentBaseline({"title": (table.vectors, table.present)}).fit(training_batches)
    probabilities = baseline(batch)  # [R, N, K]
    ```
    """

    def __init__(self, tables: Mapping[str, tuple[np.ndarray, np.ndarray]]):
        if not tables:
            raise ValueError("A content baseline needs an embedding table. Received: none.")
        self.tables = dict(tables)
        self.models: list[Any] = []

    def features(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """The numbers of each candidate, float32 `[R, N, F]`; zeros where a table has no vector of it, or of any behavior."""
        history, item = np.asarray(batch["history"]), np.asarray(batch["item"])
        length = np.log1p((history != PADDING_ROW).sum(axis=1, dtype=np.float32))
        found = [np.broadcast_to(length[:, None, None], (*item.shape, 1))]
        for vectors, present in self.tables.values():
            known = present[history] & (history != PADDING_ROW)
            cosines = np.einsum("rnd,rtd->rnt", _unit(vectors[item]), _unit(vectors[history]))
            cosines = np.where(known[:, None], cosines, -np.inf)  # [R, N, T]
            some = known.any(axis=1)[:, None] & present[item]
            count = np.maximum(known.sum(axis=1), 1)[:, None]
            best = -np.sort(-cosines, axis=-1)[..., :_BEST]
            newest = np.take_along_axis(cosines, known.argmax(axis=1)[:, None, None], axis=-1)[..., 0]
            numbers = [
                np.where(np.isfinite(cosines), cosines, 0.0).sum(axis=-1) / count,
                best[..., 0],
                np.where(np.isfinite(best), best, 0.0).sum(axis=-1) / np.minimum(count, _BEST),
                newest,
                *((cosines > edge).sum(axis=-1) / count for edge in _EDGES),
            ]
            found.append(np.where(some[..., None], np.stack([np.where(np.isfinite(one), one, 0.0) for one in numbers], axis=-1), 0.0))
        return np.concatenate(found, axis=-1).astype(np.float32)

    def fit(self, batches: Iterable[Mapping[str, np.ndarray]], most: int = MOST) -> ContentBaseline:
        """Fits a regression a task on the first `most` candidates.

        Args:
            batches: of the training split, with `history [R, T]`, `item [R, N]` and `labels [R, N, K]`.
            most: int. Defaults to 200,000.
        """
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        parts, rows = [], 0
        for batch in batches:
            real = np.asarray(batch["item"]) != PADDING_ROW
            parts.append((self.features(batch)[real], np.asarray(batch["labels"])[real]))
            rows += int(real.sum())
            if rows >= most:
                break
        if not parts:
            raise ValueError("The content baseline needs training requests. Received: none.")
        numbers, labels = (np.concatenate(one) for one in zip(*parts, strict=True))
        self.models = []
        for task in range(labels.shape[1]):
            known = labels[:, task] >= 0
            kinds = np.unique(labels[known, task])
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)) if kinds.size > 1 else None
            self.models.append(model.fit(numbers[known], labels[known, task]) if model is not None else float(kinds[0]) if kinds.size else 0.5)
        return self

    def __call__(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """Probabilities of a batch, `[R, N, K]`; a task with labels of one kind alone gets that rate."""
        numbers = self.features(batch)
        flat = numbers.reshape(-1, numbers.shape[-1])
        found = [np.full(len(flat), model) if isinstance(model, float) else model.predict_proba(flat)[:, 1] for model in self.models]
        return np.stack(found, axis=-1).reshape(*numbers.shape[:2], len(found))

    def scored(self, batches: Iterable[Mapping[str, np.ndarray]]) -> Iterator[tuple[Mapping[str, np.ndarray], np.ndarray]]:
        """Each batch and its probabilities, as `collect` takes them."""
        for batch in batches:
            yield batch, self(batch)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1 in float32; a zero vector stays one."""
    vectors = vectors.astype(np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def content_scores(
    tables: Mapping[str, tuple[np.ndarray, np.ndarray]],
    train: Iterable[Mapping[str, np.ndarray]],
    test: Iterable[Mapping[str, np.ndarray]],
    tasks: tuple[str, ...],
) -> Scores:
    """The candidates of `test` under the baseline, fitted on `train`; arguments as in `ContentBaseline` and `collect`."""
    return collect(ContentBaseline(tables).fit(train).scored(test), tasks)


def content_of_splits(tables: Mapping[str, EmbeddingTable], schema: Schema, train: SampleFiles, test: SampleFiles, batch_size: int) -> Scores:
    """`content_scores` of the test split's files, from the tables that a model reads and the files it was trained on."""
    from ppm_tf.data import samples

    with samples.reading(train, test):
        batches = (samples.read(files, schema, batch_size).as_numpy_iterator() for files in (train, test))
        return content_scores({name: (table.vectors, table.present) for name, table in tables.items()}, *batches, schema.tasks)
