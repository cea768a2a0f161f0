"""`TextRanker`: a ranking model that reads text from its start to its folder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ppm_tf.config import Config, MaskedPromptSettings
from ppm_tf.data.sample_counts import SampleCounts
from ppm_tf.encoders.text_backbone import trained_weights
from ppm_tf.models.id_ranker import IdRanker
from ppm_tf.models.inputs import Inputs
from ppm_tf.models.provenance import Provenance
from ppm_tf.models.ranking_files import save_ranking_model
from ppm_tf.models.vocabularies import Vocabularies
from ppm_tf.text_models.build import build_text_model, language_of, share_of_cut
from ppm_tf.text_models.files import LANGUAGE
from ppm_tf.text_models.language import save_language

logger = logging.getLogger(__name__)


class TextRanker:
    """What a training does with a model that reads text beside its steps; the twin of `ppm_tf.models.id_ranker.IdRanker`.

    Args:
        config: the settings.
        inputs: the data.
        counts: of the training samples.

    Attributes:
        model: the model, every weight built.
        vocabularies: of no ids.
        carried: what of an earlier model it has: nothing.
        masked_prompts: how its language model first learns masked tokens of prompts; `None`: it does not.

    Raises:
        ValueError: no item has a text, or the language model does not fit.
    """

    carried = None

    def __init__(self, config: Config, inputs: Inputs, counts: SampleCounts):
        self.model, self._language = build_text_model(config, inputs)
        self.vocabularies = Vocabularies(None, None)
        self._inputs, self._counts, self._settings = inputs, counts, config.model.backbone
        self._language_weights = trained_weights(language_of(self.model))
        masked: MaskedPromptSettings | None = getattr(self._settings, "mlm", None)
        self.masked_prompts = masked if masked and masked.epochs and not self.model.encoder.is_decoder else None

    @property
    def plug_in(self) -> list[Any]:
        """The trainable variables of PPM: it has none."""
        return []

    def look(self, batches) -> dict[str, float]:
        """How the prompts of batches meet their limit, and how many weights of its language model train, for its summary; and says the former."""
        cut, mean, count = share_of_cut(self.model, batches)
        logger.info(
            "%.1f %% of %s prompts of the valid split are longer than %d tokens and lose their oldest behaviors; %.1f tokens on average",
            100 * cut, f"{count:,}", self._settings.max_tokens, mean,
        )  # fmt: skip
        return {"prompts_cut": cut, "prompt_tokens": mean, "language_weights": self._language_weights}

    def settle(self) -> dict[str, Any]:
        """Gives what training never met a meaning: every word has one."""
        return {}

    def save(self, folder: Path, provenance: Provenance) -> None:
        """Writes all that loading it needs, its language model too."""
        save_ranking_model(folder, self.model, self._inputs.schema, self.vocabularies, self._counts, provenance)
        save_language(self._language, folder / LANGUAGE)


def ranker_in_training(
    config: Config, inputs: Inputs, counts: SampleCounts, earlier: Path | None = None, pretrained: Path | None = None
) -> IdRanker | TextRanker:
    """The ranking model of `config.model` at its start, of ids or of text; arguments and errors as of `IdRanker`."""
    return TextRanker(config, inputs, counts) if config.model.reads_text else IdRanker(config, inputs, counts, earlier, pretrained)
