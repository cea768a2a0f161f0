"""Judging a language model on texts it was not trained on: perplexity, alignment and uniformity."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from ppm_tf.evaluation import Record
from ppm_tf.losses import info_nce, masked_language_model
from ppm_tf.metrics.representation import alignment, uniformity
from ppm_tf.objectives.masking import mask_tokens

_MASK_SEED = 20_000  # the masks of the n-th batch are always the same


def held_out_figures(model, batches: Iterable[dict]) -> dict[str, float]:
    """What a `DomainAdaptation` model makes of batches of texts.

    Returns:
        `perplexity` of the chosen tokens, without dropout, under masks that are the same at each call; `alignment` of each
        text's twins under dropout, and `uniformity` of the texts without it (Wang and Isola, 2020); `loss`, what training
        lowers, on these texts. Without the parts whose weight is 0.
    """

    @tf.function(reduce_retracing=True)
    def figures(batch, seed):
        outputs, found = model(batch, training=False, mask_seed=seed), {}
        if model.mlm_weight:
            found["nll"] = masked_language_model(outputs["targets"], outputs["logits"], outputs["weights"])
            found["tokens"] = tf.reduce_sum(tf.cast(outputs["weights"], tf.float32))
        if model.simcse_weight:
            left, right = model.twins(batch)
            found |= {"vectors": outputs["left"], "left": left, "right": right, "simcse": info_nce(left, right, model.temperature)}
        return found

    parts: list[dict[str, np.ndarray]] = []
    for number, batch in enumerate(batches):
        found = figures(batch, tf.constant(_MASK_SEED + 3 * number))
        parts.append({name: value.numpy() for name, value in found.items()} | {"size": len(batch["row"])})
    sizes = np.array([part["size"] for part in parts], float)
    result, loss = {}, 0.0
    if model.mlm_weight:
        tokens = np.array([part["tokens"] for part in parts])
        nll = float(np.dot([part["nll"] for part in parts], tokens) / max(tokens.sum(), 1.0))
        result["perplexity"] = math.exp(min(nll, 700.0))
        loss += model.mlm_weight * nll
    if model.simcse_weight:
        together = {name: np.concatenate([part[name] for part in parts]) for name in ("vectors", "left", "right")}
        result |= {"alignment": alignment(together["left"], together["right"]), "uniformity": uniformity(together["vectors"])}
        loss += model.simcse_weight * float(np.average([part["simcse"] for part in parts], weights=sizes))
    return result | {"loss": loss}


def unigram_perplexity(train: Iterable[dict], test: Iterable[dict], encoder, mask_share: float = 0.15) -> float:
    """Perplexity of the same chosen tokens under the token frequencies of the training texts (add-one): what needs no model."""
    size = encoder.tokenizer.vocabulary_size()
    counts = np.ones(size)
    for batch in train:
        counts += np.bincount(batch["tokens"]["token_ids"].numpy()[batch["tokens"]["padding_mask"].numpy() > 0], minlength=size)[:size]
    for name in ("start", "end", "pad", "mask"):
        if encoder.special[name] is not None:
            counts[encoder.special[name]] = 1
    log_probability = np.log(counts / counts.sum())
    total = number = 0.0
    for place, batch in enumerate(test):
        if encoder.is_decoder:
            targets, weights = batch["tokens"]["token_ids"].numpy()[:, 1:], batch["tokens"]["padding_mask"].numpy()[:, 1:]
        else:
            masked = mask_tokens(batch["tokens"], encoder.special, size, mask_share, tf.constant(_MASK_SEED + 3 * place))
            targets, weights = masked["targets"].numpy(), masked["weights"].numpy()
        total -= float((log_probability[targets] * weights).sum())
        number += float(weights.sum())
    return math.exp(total / max(number, 1.0))


def records_of(figures: dict[str, float], count: int) -> Iterator[Record]:
    """The figures as records of the held-out items."""
    for name, value in figures.items():
        yield Record("domain_adaptation", "test", name, value, count=count)
