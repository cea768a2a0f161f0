"""From the bytes of an image file to pixels: the one way that every image encoder takes, in training and in batch jobs."""

from __future__ import annotations

import io

import numpy as np

MOST_PIXELS = 80_000_000  # a product image is never that large; Pillow warns of a decompression bomb from 89 million
# Raster formats that Pillow decodes by itself. EPS, for one, would start Ghostscript on bytes from a catalog.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def read_pixels(image: bytes, size: int) -> np.ndarray:
    """The pixels of an encoded image, uint8 `[size, size, 3]`.

    The picture is turned upright as its EXIF data says, laid on white where it is transparent, and resized to a square by
    bilinear interpolation over all that a new pixel covers. Its sides are not kept in proportion, so that nothing is cut off.

    Args:
        image: content of an image file.
        size: pixels a side.

    Raises:
        ValueError: the bytes are not a whole image, or one of 32-bit values, whose scale is unknown; the message says why.

    Example:

    >>> from PIL import Image
    >>> buffer = io.BytesIO(); Image.new("RGB", (60, 80), (255, 0, 51)).save(buffer, "PNG")
    >>> read_pixels(buffer.getvalue(), 4)[0, 0].tolist()
    [255, 0, 51]
    """
    from PIL import Image, ImageOps

    try:
        picture = Image.open(io.BytesIO(image), formats=_FORMATS)
        if picture.width * picture.height > MOST_PIXELS:
            raise ValueError(f"{picture.width} x {picture.height} pixels are more than {MOST_PIXELS:,}")
        picture.draft("RGB", (2 * size, 2 * size))  # a large JPEG is decoded at 1/2, 1/4 or 1/8, no smaller than this
        picture = _rgb(ImageOps.exif_transpose(picture))
        return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))
    except Exception as error:  # damaged bytes make Pillow's readers raise almost anything: OSError, SyntaxError, struct.error, ...
        raise ValueError(f"An image must be JPEG, PNG, WebP, GIF, BMP or TIFF, whole. Received: {len(image)} bytes ({error}).") from error


def _rgb(picture):
    from PIL import Image

    if picture.mode in ("F", "I"):  # Pillow would cut them to 0 to 255: black where 1.0 is white, white where 2**32 is
        kind = "floats" if picture.mode == "F" else "integers"
        raise ValueError(f"its grey values are 32-bit {kind}, and no file says which of them is white. Remedy: save it with 8 or 16 bits a value")
    if picture.mode.startswith("I;16"):  # Pillow would cut every grey value above 255
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
