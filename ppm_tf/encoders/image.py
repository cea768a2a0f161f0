"""`ImageEncoder`: an image to one vector, by any image backbone of keras-nlp."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ppm_tf.encoders.image_pixels import read_pixels
from ppm_tf.encoders.projection import fit_projection
from ppm_tf.encoders.saved import describe_encoder, write_description
from ppm_tf.storage import reserve, weights_size

# Mean and standard deviation of ImageNet's channels: what weights trained there expect of pixels from 0 to 255.
IMAGENET_SCALE = tuple(1 / (255 * deviation) for deviation in (0.229, 0.224, 0.225))
IMAGENET_OFFSET = tuple(-mean / deviation for mean, deviation in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225)))


class ImageEncoder(keras.Model):
    """Pixels through a backbone, averaged over all places and projected to the width of the table.

    `v = W mean_p backbone(scale * pixels + offset)_p + b`. Entity prediction trains it, and the table job stores its vectors,
    through the same `read` and the same `call`.

    Args:
        backbone: keras-nlp image backbone, `[B, size, size, 3]` to `[B, ..., width]`.
        size: int. Pixels a side that an image is resized to.
        dim: int or `None`. Width of the vectors; `None` = the backbone's own, without a projection. Defaults to `None`.
        scale: three floats, a factor for each channel of pixels from 0 to 255. Defaults to ImageNet's.
        offset: three floats, added after that. Defaults to ImageNet's.

    Call arguments:
        pixels: uint8 or float tensor `[B, size, size, 3]`, 0 to 255.
        training: bool. Whether batch normalisation uses the batch's own statistics. Defaults to `False`.

    Returns:
        float32 tensor `[B, dim]`.

    Example:

    ```python
    encoder = ImageEncoder(resnet("small_resnet"), size=64, dim=64)
    encoder.encode([Path("shoe.jpg").read_bytes()]).shape  # (1, 64)
    encoder.save("encoder")
    ImageEncoder.load("encoder").version == encoder.version  # True
    ```

    References:
        [Gao et al., 2024](https://doi.org/10.1145/3589335.3648329), section 3.1.1.
    """

    kind = "image"

    def __init__(self, backbone, size, dim=None, scale=IMAGENET_SCALE, offset=IMAGENET_OFFSET, **kwargs):
        super().__init__(**kwargs)
        check_backbone(backbone, size)
        self.backbone = backbone
        self.size = size
        self.dim = dim or backbone.output_shape[-1]
        self.scale = [float(value) for value in scale]
        self.offset = [float(value) for value in offset]
        self.projection = keras.layers.Dense(dim, dtype="float32", name="projection") if dim else None
        if self.projection:
            self.projection.build((None, backbone.output_shape[-1]))
        self.built = True
        self._pixels = tf.TensorSpec([None, size, size, 3], tf.uint8)
        self._forward = tf.function(lambda pixels: self(pixels, training=False), input_signature=[self._pixels])  # one trace for all batch sizes

    @classmethod
    def from_preset(cls, preset: str, size: int, dim: int | None = None) -> ImageEncoder:
        """An encoder over a keras-nlp preset, or a folder in keras-nlp, Hugging Face or timm layout.

        Scale and offset of the pixels are those of the preset's image converter where it has one, else ImageNet's.

        Raises:
            ValueError: it cannot be loaded, is no image backbone, or takes images of another size.
        """
        import keras_nlp

        backbone = load_backbone(preset)
        try:
            converter = keras_nlp.layers.ImageConverter.from_preset(preset)
        except (ValueError, OSError, KeyError):  # a preset of the backbone alone
            return cls(backbone, size, dim)
        return cls(backbone, size, dim, _channels(converter.scale, 1.0), _channels(converter.offset, 0.0))

    # === Pixels to vector ===

    def pool(self, pixels, training=False):
        """The backbone's features, averaged over all places: `[B, size, size, 3]` to float32 `[B, width]`."""
        scaled = ops.cast(pixels, "float32") * ops.convert_to_tensor(self.scale) + ops.convert_to_tensor(self.offset)
        features = ops.cast(self.backbone(scaled, training=training), "float32")
        places = tuple(range(1, len(features.shape) - 1))
        return ops.mean(features, axis=places) if places else features

    def call(self, pixels, training=False):
        pooled = self.pool(pixels, training)
        return self.projection(pooled) if self.projection else pooled

    # === The protocol of encoders ===

    def read(self, content: bytes) -> np.ndarray:
        """The pixels of an encoded image, uint8 `[size, size, 3]`.

        Raises:
            ValueError: the image cannot be decoded; the message says why.
        """
        return read_pixels(content, self.size)

    def encode_batch(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        """Float32 vectors `[len(pixels), dim]` of what `read` gave, in one batch."""
        return self._forward(np.stack(pixels)).numpy() if len(pixels) else np.zeros((0, self.dim), np.float32)

    def encode(self, images: Sequence[bytes], batch_size: int = 64) -> np.ndarray:
        """Float32 vectors `[len(images), dim]`, in order; `batch_size` images are held as pixels at once.

        Raises:
            ValueError: an image cannot be decoded.
        """
        starts = range(0, len(images), batch_size)
        vectors = [self.encode_batch([self.read(image) for image in images[start : start + batch_size]]) for start in starts]
        return np.concatenate(vectors) if vectors else np.zeros((0, self.dim), np.float32)

    def fit_projection(self, pixels: Sequence[np.ndarray], batch_size: int = 64) -> None:
        """Sets the projection to the main directions of these images' features (PCA): the best start without labels.

        Args:
            pixels: what `read` gave for a sample of the catalog, at least two images.
            batch_size: images at once.
        """
        if self.projection is None:
            return
        if len(pixels) < 2:
            raise ValueError(
                f"The projection needs at least two images to be fitted to. Received: {len(pixels)}. Look at the image column of the item file."
            )
        pooled = tf.function(self.pool, input_signature=[self._pixels])
        features = [pooled(np.stack(pixels[start : start + batch_size])).numpy() for start in range(0, len(pixels), batch_size)]
        self.projection.set_weights(fit_projection(np.concatenate(features), self.dim))

    # === Files ===

    @property
    def version(self) -> str:
        """Changes whenever equal images may get other vectors. It reads every weight: ask once, not once a batch."""
        backbone = {key: value for key, value in self.backbone.get_config().items() if key not in ("name", "trainable", "dtype")}
        digest = hashlib.sha256(json.dumps([type(self.backbone).__name__, backbone, self._about()], sort_keys=True, default=str).encode())
        for weight in self.get_weights():
            digest.update(np.ascontiguousarray(weight))
        return f"{self.kind}-{digest.hexdigest()[:12]}"

    def save(self, folder: str | Path) -> None:
        """Writes everything that `load` needs: `backbone/` (a keras-nlp preset), `projection.npz`, `encoder.json`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        reserve(folder / "backbone", weights_size(self.backbone))
        self.backbone.save_to_preset(str(folder / "backbone"))
        if self.projection:
            kernel, bias = self.projection.get_weights()
            np.savez(folder / "projection.npz", kernel=kernel, bias=bias)
        write_description(folder, self, **self._about())

    @classmethod
    def load(cls, folder: str | Path) -> ImageEncoder:
        """The encoder that was saved into `folder`.

        Raises:
            FileNotFoundError: there is none.
            ValueError: its files are damaged.
        """
        about = describe_encoder(folder)
        encoder = cls(load_backbone(str(Path(folder, "backbone"))), about["size"], about["projected"], about["scale"], about["offset"])
        if encoder.projection:
            with np.load(Path(folder, "projection.npz")) as arrays:
                encoder.projection.set_weights([arrays["kernel"], arrays["bias"]])
        return encoder

    def _about(self) -> dict[str, Any]:
        return {"size": self.size, "projected": self.dim if self.projection else None, "scale": list(self.scale), "offset": list(self.offset)}


def load_backbone(preset: str) -> keras.Model:
    """The backbone of a keras-nlp preset or a local folder, in the precision of this process.

    Raises:
        ValueError: it cannot be loaded.
    """
    import keras_nlp

    try:
        return keras_nlp.models.Backbone.from_preset(preset, dtype=keras.config.dtype_policy())
    except (ValueError, OSError, KeyError, TypeError, RuntimeError, ImportError) as error:
        raise ValueError(
            f"image.preset must be a keras-nlp preset, or a folder in keras-nlp, Hugging Face or timm layout with its weights. Received: {preset}"
            f" ({type(error).__name__}: {error})."
        ) from error


def check_backbone(backbone: keras.Model, size: int) -> None:
    """Refuses what does not map one image of `size` pixels a side to one tensor of features."""
    shape, output = backbone.input_shape, backbone.output_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] != 3 or not isinstance(output, tuple) or output[-1] is None:
        raise ValueError(
            f"An image backbone must map [B, height, width, 3] to [B, ..., width]. Received: {type(backbone).__name__}, which maps {shape} to"
            f" {output}."
        )
    if any(side not in (None, size) for side in shape[1:3]):
        raise ValueError(f"image.size must be what the {type(backbone).__name__} takes, {shape[1]} x {shape[2]}. Received: {size}.")


def _channels(value, default: float) -> list[float]:
    """An image converter's scale or offset, a number or one a channel, as one a channel."""
    return np.broadcast_to(np.asarray(default if value is None else value, float), 3).tolist()
