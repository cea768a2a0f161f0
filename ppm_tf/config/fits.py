"""The training harness, for whatever is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ppm_tf.config.section import PositiveInt, Section, Share

WARMUP = "passes in which the learning rate rises from zero, such as 0.1"
COOLDOWN = (
    "share of the steps, the last ones, in which the learning rate falls linearly; before them it is constant. 1: it falls from the start; 0: it"
    " never falls, for trainings that are gone on from day by day. PPM and ranking models with more epochs go on from where it began to fall"
)


class FitSettings(Section):
    """The training harness, shared by every model that is trained."""

    batch_size: PositiveInt = Field(32, description="examples a step, over all replicas")
    epochs: PositiveInt = Field(1, description="passes over the training examples at most")
    learning_rate: Annotated[float, Field(gt=0)] | None = Field(1e-3, description="Adam's highest learning rate")
    final_learning_rate: Annotated[float, Field(ge=0)] = Field(0.0, description="Adam's last learning rate")
    warmup: Annotated[float, Field(ge=0)] = Field(0.0, description=WARMUP)
    cooldown: Annotated[float, Field(ge=0, le=1)] = Field(1.0, description=COOLDOWN)
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="decoupled weight decay, not on biases, norms and embeddings")
    ema_momentum: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        description=(
            "momentum, such as 0.999, of an exponential moving average of the weights, which is then what is validated and kept; id tables, of"
            " which a step sees few rows, stay as they are. 0: none"
        ),
    )
    clip_norm: Annotated[float, Field(gt=0)] | None = Field(1.0, description="global norm the gradients are clipped to")
    steps_per_loop: PositiveInt = Field(50, description="steps run inside one graph before Python looks at them")
    validate_every: PositiveInt | None = Field(None, description="steps between two looks at the held-out part; default: a quarter of a pass")
    patience: PositiveInt = Field(
        4,
        description=(
            "looks without a better validation figure after which the training goes back to its best, and from there the learning rate falls; one"
            " that was falling stops. The best weights are kept"
        ),
    )
    checkpoint_every: PositiveInt = Field(500, description="steps between two checkpoints, rounded up to whole loops")
    precision: Literal["auto", "float32", "mixed_bfloat16"] = Field("auto", description="auto: mixed_bfloat16 where a GPU is found, else float32")
    max_step: PositiveInt | None = Field(None, description="stop after this many steps, whatever the epochs say")


class TrainSettings(FitSettings):
    """The training of click models."""

    batch_size: PositiveInt = Field(64, description="requests a step, over all replicas")
    learning_rate: Annotated[float, Field(gt=0)] = Field(2e-3, description="Adam's highest learning rate; PPM has 0.0004 at batches of 20,000")
    warmup: Annotated[float, Field(ge=0)] = Field(0.02, description=WARMUP)
    cooldown: Annotated[float, Field(ge=0, le=1)] = Field(0.3, description=COOLDOWN)
    final_learning_rate: Annotated[float, Field(gt=0)] = Field(1e-4, description="Adam's last learning rate")
    criterion: Literal["auc", "log_loss"] = Field("auc", description="validation figure that chooses the weights and stops the training")
    continuable: bool = Field(
        True, description="with cooldown below 1: keep the state from before the fall beside the weights, three times their size, to go on from"
    )
    keep_optimizer: bool = Field(
        False, description="keep the optimiser's state beside the weights, twice their size, for a later training with warm_start_optimizer"
    )
    shuffle_buffer: PositiveInt = Field(8192, description="records shuffled in memory")
    verify: Literal["sha256", "size"] = Field(
        "sha256", description="how shards are checked against their manifest before a run: whole content, or size alone for very large data"
    )
    max_bad_share: Share = Field(0.05, description="share of the records in damaged shards that may be set aside before the run is refused")

    @property
    def minimizes(self) -> bool:
        """Whether a smaller value of the criterion is the better one."""
        return self.criterion == "log_loss"


class PPMFitSettings(TrainSettings):
    """The pre-training of PPM."""

    epochs: PositiveInt = Field(
        2, description="passes over the training examples at most; on the embedded shop a third adds .005 of AUC, and a fourth little"
    )


class EncoderFitSettings(FitSettings):
    """What the trainings of encoders share."""

    learning_rate: Annotated[float, Field(gt=0)] | None = Field(
        None, description="AdamW's highest learning rate; null: 1e-3 for an encoder that starts from nothing, 5e-5 for a pretrained one"
    )
    warmup: Annotated[float, Field(ge=0)] = Field(0.1, description=WARMUP)
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.01, description="decoupled weight decay, not on biases, norms and embeddings")
    valid: Share = Field(0.1, description="share held out to stop and to choose")
    test: Share = Field(0.1, description="share held out to be scored before and after")

    @model_validator(mode="after")
    def _has_three_parts(self) -> EncoderFitSettings:
        if not self.valid or not self.test or self.valid + self.test >= 1.0:
            raise ValueError(
                f"valid and test must be above 0 and together below 1, so that there is a part to train on. Received: valid: {self.valid}, test:"
                f" {self.test}"
            )
        return self
