"""`LanguageModelCleaner`: shortens item texts with a causal language model, and keeps an answer only if it invents nothing."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ppm_tf.encoders.rule_cleaning import FILE_NAME, RuleCleaner
from ppm_tf.encoders.text_formats import DECODERS, ENCODER_DECODERS, refuse_unconverted
from ppm_tf.storage import write_json

# One example, so that a model that was never taught to follow instructions goes on in its form; the answer ends with its line.
PROMPT = (
    "Shorten the description of an item. Leave out contact details, web addresses, advertising and repetitions. "
    "Keep everything that says what the item is. Use words of the description only.\n\n"
    "Description: Wool hat, knitted, grey. The best hats in town! Order now at our shop or ask our friendly team.\n"
    "Short: Wool hat, knitted, grey.\n\n"
    "Description: {text}\n"
    "Short:"
)
_LENGTH_STEP = 128  # prompts are padded to a multiple of this many tokens, so that few graphs are built
_SAMPLE = 1024  # numbers of each weight that enter the version


class LanguageModelCleaner:
    """Rules first, then a language model that shortens what they leave.

    The model answers greedily, so that equal texts are cleaned equally. An answer is refused, and the text as the rules left
    it is taken instead, if it is `empty`; `longer` than the text; `invented`, that is holds a number that the text does not, or
    more than a share `max_invented` of other words beyond the text's (a word counts as often as it comes, which also catches
    a model that repeats itself); or if the text is `too_long` for the model. `counts` says how many were `accepted` and refused.

    Args:
        model: keras-nlp causal language model, or anything whose `generate(prompts, max_length=, strip_prompt=True)` answers a
            list of prompts. Greedy sampling is the caller's part; `from_preset` sees to it.
        rules: `RuleCleaner`. Defaults to one without boilerplate.
        preset: str. What `load` loads the model from. Defaults to `""`: it cannot be saved.
        prompt: str. Holds `{text}`; the first line of the answer counts. Defaults to `PROMPT`.
        max_tokens: int. Most tokens of prompt and answer. Defaults to 1024.
        batch_size: int. Defaults to 16.
        max_invented: float. Defaults to 0.1.

    Example:

    ```python
    LanguageModelCleaner.from_preset("<preset or folder>").clean(["Oak table. The best tables in town!"])
    ```
    """

    kind = "language_model"

    def __init__(
        self,
        model,
        rules: RuleCleaner | None = None,
        preset: str = "",
        prompt: str = PROMPT,
        max_tokens: int = 1024,
        batch_size: int = 16,
        max_invented: float = 0.1,
    ):
        if "{text}" not in prompt:
            raise ValueError(f"prompt must hold {{text}}, where the text of an item goes. Received: {prompt!r}.")
        self.model = model
        self.rules = rules or RuleCleaner()
        self.preset = preset
        self.prompt = prompt
        self.max_tokens = max_tokens
        self.batch_size = batch_size
        self.max_invented = max_invented
        self.counts: Counter[str] = Counter()

    @classmethod
    def from_preset(cls, preset: str, rules: RuleCleaner | None = None, **settings) -> LanguageModelCleaner:
        """A cleaner with a keras-nlp causal language model: a preset, or a folder in keras-nlp or Hugging Face layout.

        Raises:
            ValueError: it cannot be loaded.
        """
        refuse_unconverted(preset, "text.cleaner", (*DECODERS, *ENCODER_DECODERS))
        import keras_nlp

        if Path(preset).is_absolute() and not Path(preset).is_dir():  # keras-nlp would look for it on the net
            raise ValueError(f"text.cleaner must be a preset or a folder that is there. Received: {preset}.")
        try:
            model = keras_nlp.models.CausalLM.from_preset(preset)
        except (ValueError, OSError, KeyError, TypeError, RuntimeError, ImportError) as error:
            raise ValueError(
                "text.cleaner must be a causal language model: a keras-nlp preset, or a folder in keras-nlp or Hugging Face layout with weights and"
                f" tokenizer. Received: {preset} ({type(error).__name__}: {error})."
            ) from error
        model.compile(sampler="greedy")
        return cls(model, rules, str(Path(preset).absolute()) if Path(preset).is_dir() else preset, **settings)

    @property
    def version(self) -> str:
        """`language_model-` and 12 digits of a hash of settings, rules and a sample of each weight."""
        digest = hashlib.sha256(json.dumps([self._settings(), self.rules.version], sort_keys=True).encode())
        for weight in getattr(self.model, "weights", ()):
            flat = np.asarray(weight.value).ravel()
            digest.update(f"{weight.shape} {weight.dtype}".encode() + flat[:: max(1, flat.size // _SAMPLE)].tobytes())
        return f"{self.kind}-{digest.hexdigest()[:12]}"

    def clean(self, texts: Sequence[str]) -> list[str]:
        """The texts, cleaned, in their order."""
        cleaned = self.rules.clean(texts)
        prompts = [self.prompt.replace("{text}", text) for text in cleaned]
        lengths = self._lengths(prompts, cleaned)
        self.counts["too_long"] += sum(length > self.max_tokens for length in lengths)
        asked = [place for place, text in enumerate(cleaned) if text and lengths[place] <= self.max_tokens]
        asked.sort(key=lambda place: lengths[place])
        for start in range(0, len(asked), self.batch_size):
            places = asked[start : start + self.batch_size]
            filled = [*places, *places[-1:] * (self.batch_size - len(places))]  # a batch of another size would be another graph
            longest = min(-(-lengths[places[-1]] // _LENGTH_STEP) * _LENGTH_STEP, self.max_tokens)
            answers = self.model.generate([prompts[place] for place in filled], max_length=longest, strip_prompt=True)
            for place, answer in zip(places, answers, strict=False):
                answer = " ".join((answer.strip().splitlines() or [""])[0].split())
                verdict = judge(cleaned[place], answer, self.max_invented)
                self.counts[verdict] += 1
                if verdict == "accepted":
                    cleaned[place] = answer
        return cleaned

    def save(self, folder: str | Path) -> None:
        """Writes settings and rules, and where the model is: the model itself stays there.

        Raises:
            ValueError: the model is of no preset.
        """
        if not self.preset:
            raise ValueError("A cleaner must be made by from_preset to be saved. Received: a model of no preset.")
        self.rules.save(Path(folder, "rules"))
        content = {"kind": self.kind, "version": self.version, **self._settings()}
        write_json(Path(folder, FILE_NAME), content)

    @classmethod
    def load(cls, folder: str | Path) -> LanguageModelCleaner:
        """The cleaner that was saved into `folder`; its model must still be where it was."""
        about = json.loads(Path(folder, FILE_NAME).read_text(encoding="utf-8"))
        settings = {name: about[name] for name in ("prompt", "max_tokens", "batch_size", "max_invented")}
        return cls.from_preset(about["preset"], RuleCleaner.load(Path(folder, "rules")), **settings)

    def _settings(self) -> dict:
        return {
            "preset": self.preset,
            "prompt": self.prompt,
            "max_tokens": self.max_tokens,
            "batch_size": self.batch_size,
            "max_invented": self.max_invented,
        }

    def _lengths(self, prompts: list[str], texts: list[str]) -> list[int]:
        """Tokens that a prompt and an answer as long as the text may take; by words where the model has no tokenizer."""
        preprocessor = getattr(self.model, "preprocessor", None)
        if preprocessor is None or not prompts:
            return [len(prompt.split()) + len(text.split()) for prompt, text in zip(prompts, texts, strict=True)]
        count = preprocessor.tokenizer.tokenize
        around = 2  # start and end
        return [len(count(prompt)) + len(count(text)) + around for prompt, text in zip(prompts, texts, strict=True)]


def judge(text: str, answer: str, max_invented: float = 0.1) -> str:
    """What the guard says of an answer: `"accepted"`, or why it is refused, as in `LanguageModelCleaner`.

    >>> judge("Oak table, 80 cm. Order now!", "Oak table, 80 cm."), judge("Oak table, 80 cm.", "Oak table, 90 cm.")
    ('accepted', 'invented')
    """
    words, known = _words(answer), _words(text)
    if not words:
        return "empty"
    if len(answer) > len(text):
        return "longer"
    invented = words - known
    has_number = any(any(map(str.isdigit, word)) for word in invented)
    return "invented" if has_number or invented.total() > max_invented * words.total() else "accepted"


def _words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text.casefold()))
