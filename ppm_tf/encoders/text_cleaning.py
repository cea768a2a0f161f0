"""Cleaning of item texts before an encoder learns from them: by rules, or by a language model under their guard.

A cleaner has `kind`, `version` (changes whenever an equal text may be cleaned otherwise), `clean(texts) -> list of str` in the
order of the texts, and `save(folder)`; its class has `load(folder)`.

References:
    X. Wang et al., *CELA*, 2024, section 5.7.1: a language model removes "extraneous details such as contact information".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ppm_tf.encoders.language_model_cleaning import LanguageModelCleaner
from ppm_tf.encoders.rule_cleaning import FILE_NAME, RuleCleaner

__all__ = ["LanguageModelCleaner", "RuleCleaner", "clean_texts", "load_cleaner"]


def clean_texts(cleaner: RuleCleaner | LanguageModelCleaner | None, texts: Sequence[str]) -> list[str]:
    """The texts, cleaned, in their order; as they are without a cleaner. Adaptation, fine-tuning and the table job all clean by it."""
    return list(texts) if cleaner is None else cleaner.clean(list(texts))


def load_cleaner(folder: str | Path) -> RuleCleaner | LanguageModelCleaner:
    """The cleaner that was saved into `folder`, of either kind.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it would clean otherwise than the one that was saved.
    """
    path = Path(folder, FILE_NAME)
    if not path.is_file():
        raise FileNotFoundError(f"{folder} must hold a saved cleaner ({FILE_NAME}). Remedy: make the encoder again, or check the path.")
    about = json.loads(path.read_text(encoding="utf-8"))
    cleaner = {one.kind: one for one in (RuleCleaner, LanguageModelCleaner)}[about["kind"]].load(folder)
    if cleaner.version != about["version"]:
        raise ValueError(
            f"The cleaner in {folder} must clean as when it was saved, {about['version']}. Received: {cleaner.version}. Remedy: make the encoder"
            " again."
        )
    return cleaner
