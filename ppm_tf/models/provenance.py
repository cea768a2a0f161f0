"""`Provenance`: what a trained model was made of, and must meet again wherever its weights are loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ppm_tf.storage import write_json

if TYPE_CHECKING:  # what a folder says is read without loading a framework
    from ppm_tf.data.tables import EmbeddingTable

FILE_NAME = "made_of.json"
OPTIMIZER = "optimizer.npz"  # the state of the optimiser beside the weights, where it was kept
# remedies of `Provenance.require`
PPM_ANEW = "train PPM anew with `python -m pipelines.pretrain`"
MODEL_ANEW = "train the model anew with `python -m pipelines.train`, after `python -m pipelines.pretrain` where PPM is plugged in"
START_ANEW = "train a model from its start, without model.warm_start"
PPM_START_ANEW = "train PPM from its start, without ppm.warm_start"


@dataclass(frozen=True)
class Provenance:
    """What the weights of a model belong to.

    Attributes:
        tables: version of the encoder behind each embedding table that the model reads, by the table's name. A table may get
            rows for new items; vectors of another encoder mean something else in each of their numbers.
        precision: Keras' policy of the training, such as `"float32"` or `"mixed_bfloat16"`.
        ppm: id of the pre-trained PPM that the model started from; `None` = none.
    """

    tables: dict[str, str]
    precision: str
    ppm: str | None = None

    @classmethod
    def of(cls, tables: Mapping[str, EmbeddingTable], ppm: str | None = None) -> Provenance:
        """That of a model trained now, on these tables and at the current precision."""
        import keras

        return cls({name: table.encoder_version for name, table in tables.items()}, keras.mixed_precision.global_policy().name, ppm)

    def write(self, folder: str | Path) -> None:
        """Writes `made_of.json`."""
        write_json(Path(folder, FILE_NAME), asdict(self))

    @classmethod
    def read(cls, folder: str | Path) -> Provenance:
        """Reads what `write` wrote.

        Raises:
            ValueError: the folder does not say what its model was made of.
        """
        path = Path(folder, FILE_NAME)
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, json.JSONDecodeError, TypeError) as error:
            raise ValueError(
                f"{path} must say what the model was made of. Received: {error}. Remedy: train the model anew; one of an earlier version does not"
                " say it."
            ) from error

    def require(self, versions: Mapping[str, str], folder: str | Path, remedy: str) -> None:
        """Refuses vectors of an encoder that the model's weights do not know.

        Args:
            versions: the encoder's version of each table that it is to read.
            folder: the model, for the message.
            remedy: what to do instead of embedding with the earlier encoder.

        Raises:
            ValueError: a table is of another encoder; the message names both versions.
        """
        others = [
            f"the table {name} was of encoder {version} and is of {versions[name]}"
            for name, version in self.tables.items()
            if versions.get(name, version) != version
        ]
        if others:
            raise ValueError(
                f"{folder} must read vectors of the encoders that it was trained on. Received: {'; '.join(others)}. Remedy: {remedy}, or bring the"
                " earlier encoder back (text.encoder=saved text.path=<its folder>, image.encoder=saved image.path=<its folder>) and run `python -m"
                " pipelines.embed`."
            )


def require_optimizer(folder: str | Path, section: str) -> None:
    """Refuses an earlier training that left no optimiser state to go on from.

    Args:
        folder: its artifact.
        section: `"ppm"` or `"model"`, whose `warm_start_optimizer` asks for it.

    Raises:
        ValueError: there is none.
    """
    if not Path(folder, OPTIMIZER).is_file():
        raise ValueError(
            f"{section}.warm_start_optimizer needs the optimiser's state beside the weights of {section}.warm_start. Received: no {OPTIMIZER} in"
            f" {folder}. Remedy: {section}.warm_start_optimizer=false, or train the earlier one with"
            f" {'model.train' if section == 'model' else 'train'}.keep_optimizer=true."
        )


@contextmanager
def precision_of(provenance: Provenance) -> Iterator[None]:
    """Builds layers at the precision of the training, whatever this process computes in."""
    import keras

    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(provenance.precision)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)
