"""`IdRanker`: a ranking model of ids from its start to its folder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from ppm_tf.config import Config, MaskedPromptSettings
from ppm_tf.data.sample_counts import SampleCounts
from ppm_tf.models.build import build_ranking_model
from ppm_tf.models.inputs import Inputs
from ppm_tf.models.provenance import Provenance
from ppm_tf.models.ranking_files import Carried, save_ranking_model, warm_start
from ppm_tf.models.vocabularies import Vocabularies

logger = logging.getLogger(__name__)


class IdRanker:
    """What a training does with a ranking model beside its steps; `ppm_tf.text_models.text_ranker.TextRanker` is its twin for models of text.

    Args:
        config: the settings.
        inputs: data and tables.
        counts: of the samples that the model has learnt from by the end of the training, those of the earlier model among them.
        earlier: folder of the ranking model that it goes on from, or `None`.
        pretrained: weights of the pre-training model that PPM starts from; `None` leaves it at random, or as the earlier model has it.

    Attributes:
        model: the model, every weight built.
        vocabularies: of its item and user ids.
        masked_prompts: how it first learns masked tokens of prompts; `None`: it has none.
        carried: what of the earlier model it has; `None`: it began anew.
        earlier_share: how much of PPM is the earlier model's, 0 to 1.

    Raises:
        ValueError: a table is missing, a setting does not fit the data, or the earlier model does not fit.
    """

    masked_prompts: MaskedPromptSettings | None = None
    carried: Carried | None = None
    earlier_share = 1.0

    def __init__(self, config: Config, inputs: Inputs, counts: SampleCounts, earlier: Path | None = None, pretrained: Path | None = None):
        schema, catalog = inputs.schema, inputs.catalog
        self.vocabularies = Vocabularies.of(config.model, schema, catalog, counts, Vocabularies.read(earlier) if earlier else None)
        self.model = build_ranking_model(config, schema, catalog, inputs.tables, self.vocabularies, pretrained)
        self._inputs, self._counts, self._initial = inputs, counts, self.model.embedding.initial_values()
        self._strangers: dict[str, np.ndarray] = {}
        if earlier:
            self.earlier_share = 1.0 if pretrained is None else config.model.earlier_ppm_share
            self._go_on(earlier, config)

    def _go_on(self, earlier: Path, config: Config) -> None:
        """Takes over the weights of an earlier model."""
        share = self.earlier_share
        self.carried = carried = warm_start(earlier, self.model, config, self._inputs, self.vocabularies, share)
        self.model.embedding.still_strange(self._initial, carried.strangers)
        mixed = f"that of the run, mixed with the one of the earlier model, which counts {share:g}" if share else "that of the run"
        plug_in = "" if config.model.ppm == "none" else f"; PPM is {'the one of the earlier model' if share == 1.0 else mixed}"
        logger.info("going on from %s: %s embedding rows are new%s", earlier, f"{carried.fresh:,}", plug_in)

    @property
    def plug_in(self) -> list[Any]:
        """The trainable variables of PPM, where it is plugged in."""
        return self.model.ppm.trainable_variables if self.model.ppm else []

    def look(self, batches) -> dict[str, float]:
        """Figures of how the model reads requests, for its summary: none."""
        return {}

    def settle(self) -> dict[str, np.ndarray]:
        """Gives the rows that training never met a meaning, see `FeatureEmbedding.settle_strangers`; they are kept for `save`."""
        self._strangers = self.model.embedding.settle_strangers(self._initial)
        return self._strangers

    def save(self, folder: Path, provenance: Provenance) -> None:
        """Writes all that loading it needs."""
        save_ranking_model(folder, self.model, self._inputs.schema, self.vocabularies, self._counts, provenance, self._strangers)
