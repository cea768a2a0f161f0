"""Judging a text encoder as a search engine: held-out queries against the whole catalog."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import numpy as np

from ppm_tf.data.text_form import normalized
from ppm_tf.evaluation import Record
from ppm_tf.metrics.bootstrap import bootstrap_interval
from ppm_tf.metrics.retrieval import metrics_by_query, metrics_of_ranking, nearest
from ppm_tf.metrics.tf_idf import tf_idf_ranking

logger = logging.getLogger(__name__)

KS = (1, 10, 100)
_REPORTED = ("recall_at_1", "recall_at_10", "recall_at_100", "mrr_at_100")


class Retrieval:
    """Queries, the catalog's texts, and which items were clicked for each query.

    Args:
        queries: `[Q]`.
        relevant: places in `texts` of the items clicked for each query.
        texts: `[I]`; items with an empty text are never found.
        query_tokens: most tokens of a query. Defaults to `None`, as many as of an item.
    """

    def __init__(self, queries: Sequence[str], relevant: Sequence[np.ndarray], texts: Sequence[str], query_tokens: int | None = None):
        self.queries = list(queries)
        self.query_tokens = query_tokens
        places = np.flatnonzero([bool(text) for text in texts])
        self.texts = [texts[place] for place in places]
        row = np.full(len(texts), -1)
        row[places] = np.arange(len(places))
        self.relevant = [row[items] for items in relevant]

    def sampled(self, others: int, seed: int) -> Retrieval:
        """The same queries over a part of the catalog: all clicked items, and at most so many others."""
        kept = np.unique(np.concatenate(self.relevant))
        rest = np.setdiff1d(np.arange(len(self.texts)), kept)
        kept = np.concatenate([kept, np.random.default_rng(seed).permutation(rest)[:others]])
        place = {int(item): number for number, item in enumerate(kept)}
        relevant = [np.array([place[int(item)] for item in items]) for items in self.relevant]
        return Retrieval(self.queries, relevant, [self.texts[item] for item in kept], self.query_tokens)

    def figures(self, encoder) -> dict[str, float]:
        """`recall_at_10` and `mrr_at_100` of an encoder."""
        found = metrics_of_ranking(self._ranking(encoder), self.relevant, KS)
        return {name: float(found[name]) for name in ("recall_at_10", "mrr_at_100")}

    def of_encoder(self, encoder, title: str) -> list[Record]:
        """The test's records of an encoder, with bootstrap intervals over queries."""
        start = time.monotonic()
        records = self._records(self._ranking(encoder))
        seconds = time.monotonic() - start
        logger.info(
            "%s: %s queries against %s texts in %.1f s: %s",
            title,
            f"{len(self.queries):,}",
            f"{len(self.texts):,}",
            seconds,
            ", ".join(f"{record.metric} {record.value:.4f}" for record in records),
        )
        return records

    def of_tf_idf(self) -> list[Record]:
        """The test's records of TF-IDF, which needs no training."""
        return self._records(tf_idf_ranking(normalized(self.queries), normalized(self.texts), max(KS)))

    def _ranking(self, encoder) -> np.ndarray:
        # A query is cut like the training's; it is not cleaned as item texts are, which `texts` already were.
        return nearest(encoder.encode_cleaned(self.queries, self.query_tokens), encoder.encode_cleaned(self.texts), max(KS))

    def _records(self, ranking: np.ndarray) -> list[Record]:
        records = []
        by_query = metrics_by_query(ranking, self.relevant, KS)
        for name in _REPORTED:
            values = by_query[name]
            interval = bootstrap_interval(values.value, values.row)
            mean = values.mean("equal")
            records.append(
                Record(
                    "query_matching",
                    "test",
                    name,
                    float(mean),
                    interval.low,
                    interval.high,
                    count=len(self.queries),
                    groups=mean.groups,
                    reason=mean.reason,
                )
            )
        return records
