"""The models that read a request as text: PTab, CTR-BERT and P5."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ppm_tf.config.section import PositiveInt, Section, Share


class TextModelSettings(Section):
    """What every model has that reads prompts; its language model is that of the section `text`."""

    max_tokens: Annotated[int, Field(ge=8)] = Field(
        128, description="most tokens of a prompt, special ones included; one that is longer loses its oldest behaviors first"
    )
    behaviors: Annotated[int, Field(ge=0)] = Field(6, description="behaviors that a prompt tells, the newest ones; 0: none")
    item_tokens: PositiveInt = Field(8, description="most tokens of a behavior's text")
    candidate_tokens: PositiveInt = Field(24, description="most tokens of the candidate's text, beside its fields")
    learning_rate: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description=(
            "in the place of model.train.learning_rate, and falls to a twentieth of it; null: 5e-5 for text.encoder=preset or saved, 1e-3 for a"
            " language model that starts from nothing"
        ),
    )


class ClassifierSettings(TextModelSettings):
    """A language model under a dense layer and a logit a task."""

    head_units: PositiveInt = Field(128, description="width of the dense layer between language model and logits")
    dropout: Share = Field(0.2, description="dropout after that layer")


class MaskedPromptSettings(Section):
    """The first training of PTab's language model: to tell masked tokens of prompts, one prompt a request, otherwise as text.adapt says."""

    epochs: Annotated[int, Field(ge=0)] = Field(1, description="passes over the requests of the train split at most; 0: none")
    max_step: PositiveInt | None = Field(None, description="stop after this many steps, whatever the epochs say")


class PTabSettings(ClassifierSettings):
    """PTab: user, history and candidate as sentences `field: value`, read together (Liu et al., 2022)."""

    name: Literal["ptab"] = Field("ptab", description="the model")
    mlm: MaskedPromptSettings = Field(MaskedPromptSettings(), description="what its language model learns first; a decoder model leaves it out")


class CTRBERTSettings(ClassifierSettings):
    """CTR-BERT: the user's text and the item's through one encoder, joined late (Muhamed et al., 2021)."""

    name: Literal["ctr_bert"] = Field("ctr_bert", description="the model")


class P5Settings(TextModelSettings):
    """P5: a T5 that answers yes or no to a prompt (Geng et al., 2022)."""

    name: Literal["p5"] = Field("p5", description="the model")


TextModel = PTabSettings | CTRBERTSettings | P5Settings
