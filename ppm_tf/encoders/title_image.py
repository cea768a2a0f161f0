"""`TitleImage`: an item's text and its image in one vector, the two encoders' vectors side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ppm_tf.encoders.saved import FILE_NAME, content_version, describe_encoder, load_encoder, write_description
from ppm_tf.storage import write_json

_PARTS = ("text", "image")


class TitleImage:
    """Text vector and image vector, concatenated; the part that an item lacks is zero.

    Args:
        text: encoder of texts.
        image: encoder of images.

    Example:

    ```python
    encoder = TitleImage(load_encoder("runs/shop/encoders/text"), load_encoder("runs/shop/encoders/image"))
    encoder.encode([("a red shoe", None), ("", jpeg)])  # [2, text.dim + image.dim]
    ```
    """

    kind = "title_image"

    def __init__(self, text, image):
        self.parts = (text, image)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return sum(part.dim for part in self.parts)

    @property
    def version(self) -> str:
        """Changes whenever one of the two encoders' versions does."""
        return joined_version(*(part.version for part in self.parts))

    @property
    def tokens(self) -> int:
        """Tokens encoded so far."""
        return getattr(self.parts[0], "tokens", 0)

    @property
    def padded_tokens(self) -> int:
        """Tokens encoded so far, with padding."""
        return getattr(self.parts[0], "padded_tokens", 0)

    def lengths(self, contents: Sequence[tuple[str | None, bytes | None]]) -> np.ndarray:
        """Tokens of the text of each content, `[len(contents)]`; zero for text encoders that have none."""
        lengths, places = np.zeros(len(contents), int), [place for place, content in enumerate(contents) if content[0]]
        if places and hasattr(self.parts[0], "lengths"):
            lengths[places] = self.parts[0].lengths([contents[place][0] for place in places])
        return lengths

    def read(self, content: tuple[str | None, bytes | None]) -> tuple:
        """Both parts as their encoders read them, `None` for one that is empty.

        Raises:
            ValueError: one of them cannot be read; the other alone would be another item's vector.
        """
        return tuple(part.read(one) if one else None for part, one in zip(self.parts, content, strict=True))

    def encode_batch(self, read: Sequence[tuple]) -> np.ndarray:
        """Float32 vectors `[len(read), dim]`."""
        vectors, start = np.zeros((len(read), self.dim), np.float32), 0
        for index, part in enumerate(self.parts):
            places = [place for place, one in enumerate(read) if one[index] is not None]
            if places:
                vectors[places, start : start + part.dim] = part.encode_batch([read[place][index] for place in places])
            start += part.dim
        return vectors

    def encode(self, contents: Sequence[tuple[str | None, bytes | None]], batch_size: int = 128) -> np.ndarray:
        """Float32 vectors `[len(contents), dim]`.

        Raises:
            ValueError: a text or image cannot be read.
        """
        batches = ([self.read(content) for content in contents[start : start + batch_size]] for start in range(0, len(contents), batch_size))
        return np.concatenate([np.zeros((0, self.dim), np.float32), *(self.encode_batch(batch) for batch in batches)])

    def save(self, folder: str | Path) -> None:
        """Writes `encoder.json`, and each encoder into a folder of its own."""
        write_description(folder, self)
        for name, part in zip(_PARTS, self.parts, strict=True):
            part.save(Path(folder, name))

    @classmethod
    def load(cls, folder: str | Path) -> TitleImage:
        """The encoder that was saved into `folder`."""
        return cls(*(load_encoder(Path(folder, name)) for name in _PARTS))


def join_saved(text: Path, image: Path, folder: Path) -> None:
    """Saves a `TitleImage` of two saved encoders without loading them; the folder points to theirs."""
    folder.mkdir(parents=True)
    saved = [describe_encoder(part) for part in (text, image)]
    about = {"kind": TitleImage.kind, "dim": sum(one["dim"] for one in saved), "version": joined_version(*(one["version"] for one in saved))}
    write_json(folder / FILE_NAME, about)
    for name, part in zip(_PARTS, (text, image), strict=True):
        (folder / name).symlink_to(part.resolve(), target_is_directory=True)


def joined_version(text: str, image: str) -> str:
    """The version of the two encoders of these versions together."""
    return content_version(TitleImage.kind, {"text": text, "image": image}, {})
