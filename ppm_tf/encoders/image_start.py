"""Where an image encoder starts from: a preset, or a ResNet of random weights or of a weight file."""

from __future__ import annotations

import warnings
from pathlib import Path

import keras

from ppm_tf.config import ImageSettings
from ppm_tf.encoders.image import ImageEncoder

_DEEP = {
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [7],
    "stackwise_num_filters": [64, 128, 256, 512],
    "stackwise_num_strides": [1, 2, 2, 2],
}
RESNETS = {
    # A 3 x 3 stem and three stages of one block: for images of some 64 pixels, trained from nothing on a few CPU cores.
    "small_resnet": {
        "input_conv_filters": [64],
        "input_conv_kernel_sizes": [3],
        "stackwise_num_filters": [64, 128, 256],
        "stackwise_num_blocks": [1, 1, 1],
        "stackwise_num_strides": [1, 2, 2],
        "block_type": "basic_block",
    },
    "resnet18": {**_DEEP, "stackwise_num_blocks": [2, 2, 2, 2], "block_type": "basic_block"},
    "resnet50": {**_DEEP, "stackwise_num_blocks": [3, 4, 6, 3], "block_type": "bottleneck_block"},
    "resnet101": {**_DEEP, "stackwise_num_blocks": [3, 4, 23, 3], "block_type": "bottleneck_block"},
}


def start_encoder(settings: ImageSettings) -> ImageEncoder:
    """The encoder that `image.encoder` names, before any training.

    Raises:
        ValueError: preset or weights cannot be loaded, or do not fit `image.size`.
        FileNotFoundError: there is no weight file.
    """
    if settings.encoder == "preset":
        return ImageEncoder.from_preset(settings.preset, settings.size, settings.dim)
    return ImageEncoder(resnet(settings.encoder, settings.weights), settings.size, settings.dim)


def resnet(name: str, weights: str | Path | None = None) -> keras.Model:
    """A ResNet of keras-nlp, with random weights or those of a file.

    Args:
        name: one of `RESNETS`.
        weights: a `.weights.h5` file of a keras-nlp `ResNetBackbone` of the same sizes.

    Raises:
        ValueError: there is no such ResNet, or the weights are of another.
        FileNotFoundError: there is no such file.

    References:
        [He et al., 2016](https://arxiv.org/abs/1512.03385).
    """
    import keras_nlp

    if name not in RESNETS:
        raise ValueError(f"A ResNet must be one of {', '.join(RESNETS)}. Received: {name}.")
    backbone = keras_nlp.models.ResNetBackbone(**RESNETS[name])
    if weights is not None:
        if not Path(weights).is_file():
            raise FileNotFoundError(f"image.weights must be a .weights.h5 file. Received: {weights}, which does not exist.")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # Keras passes over what the file does not hold, with a warning
                backbone.load_weights(weights)
        except (ValueError, OSError, KeyError, UserWarning) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"image.weights must hold the weights of a keras-nlp ResNetBackbone of the sizes of {name}. Received: {weights} ({reason})."
            ) from error
    return backbone
