"""The pictures of the embedded shop: a silhouette of the product type, in its colour and pattern, on a light grey background.

A picture shows type, colour and pattern. It does not show material, style, audience or quality, which are left to the text.
"""

from __future__ import annotations

from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw

from ppm_tf.data.sources.shop.language import WORDS

SIZE = 48  # pixels a side
_SCALES = (42, 45, 48)  # side of the silhouette in pixels
_JPEG_QUALITY = 88

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (205, 30, 40), "yellow": (240, 215, 50), "green": (40, 150, 60), "teal": (30, 190, 190),
    "blue": (40, 60, 200), "pink": (240, 90, 190), "black": (28, 28, 30), "white": (250, 250, 250),
}  # fmt: skip

# type -> shapes on a 48 x 48 canvas: "p" a polygon x0 y0 x1 y1 ..., "e" an ellipse and "r" a rectangle left top right bottom.
SILHOUETTES: dict[str, tuple[str, ...]] = {
    "dress": ("p 18 4 30 4 31 18 42 45 6 45 17 18",),
    "shirt": ("p 14 6 34 6 45 16 39 22 34 18 34 44 14 44 14 18 9 22 3 16",),
    "jacket": ("p 12 5 22 5 22 43 10 43 10 20 5 40 0 38 5 10", "p 26 5 36 5 43 10 48 38 43 40 38 20 38 43 26 43"),
    "trousers": ("p 12 4 36 4 40 45 28 45 24 16 20 45 8 45",),
    "sneakers": ("p 4 18 16 20 24 27 44 32 45 40 3 40",),
    "boots": ("p 12 3 28 3 28 28 44 34 44 43 12 43",),
    "sandals": ("r 3 36 45 41", "p 8 36 14 24 20 36", "p 28 36 34 24 40 36"),
    "slippers": ("e 3 22 45 42", "r 3 34 45 42"),
    "backpack": ("e 10 3 38 30", "r 10 16 38 45", "r 4 24 10 42", "r 38 24 44 42"),
    "handbag": ("p 8 20 40 20 46 44 2 44", "p 14 20 18 6 30 6 34 20 31 20 28 9 20 9 17 20"),
    "suitcase": ("r 10 14 38 44", "r 17 3 20 14", "r 28 3 31 14", "r 17 3 31 6"),
    "wallet": ("r 3 14 45 36",),
    "lamp": ("p 16 4 32 4 42 24 6 24", "r 22 24 26 42", "r 14 41 34 45"),
    "rug": ("p 10 14 46 14 38 36 2 36",),
    "cushion": ("p 5 5 24 9 43 5 39 24 43 43 24 39 5 43 9 24",),
    "vase": ("p 19 3 29 3 27 14 37 28 32 45 16 45 11 28 21 14",),
    "mug": ("r 8 12 32 42", "r 32 18 43 22", "r 39 18 43 34", "r 32 31 43 35"),
    "kettle": ("e 10 16 40 45", "p 10 26 2 16 6 14 14 22", "r 16 5 34 9", "r 16 5 19 18", "r 31 5 34 18"),
    "pan": ("e 2 16 30 44", "p 26 22 46 6 48 10 30 28"),
    "bowl": ("p 3 18 45 18 40 34 32 42 16 42 8 34",),
    "tent": ("p 24 6 46 42 30 42 24 26 18 42 2 42",),
    "bottle": ("r 20 2 28 10", "p 20 10 28 10 34 18 34 46 14 46 14 18"),
    "umbrella": ("p 2 24 10 10 24 4 38 10 46 24", "r 23 24 26 44", "r 17 41 26 44"),
    "hammock": ("p 2 10 6 8 16 24 32 24 42 8 46 10 36 34 12 34",),
}


def draw_images(values: dict[str, np.ndarray], rng: np.random.Generator) -> list[bytes]:
    """JPEG pictures of items.

    Args:
        values: `"type"`, `"colour"` and `"pattern"` -> int array [B], in the order of `WORDS[attribute]`.
        rng: source of size, place, shade, background and noise.
    """
    count = len(values["type"])
    shapes = _shapes()[values["type"], rng.integers(len(_SCALES), size=count)]  # [B, S, S]
    rows = np.clip(np.arange(SIZE) + rng.integers(-3, 4, size=(count, 1)), 0, SIZE - 1)
    columns = np.clip(np.arange(SIZE) + rng.integers(-3, 4, size=(count, 1)), 0, SIZE - 1)
    shapes = np.take_along_axis(np.take_along_axis(shapes, rows[:, :, None], axis=1), columns[:, None, :], axis=2)

    palette = np.array([COLOURS[name] for name in WORDS["colour"]], np.float32)
    main = palette[values["colour"]] + 10.0 * rng.standard_normal((count, 3), dtype=np.float32)
    # The second colour of a pattern is a darker shade of a light colour, or a lighter shade of a dark one.
    second = np.where(main.mean(axis=1, keepdims=True) > 140, main * 0.6, main * 0.6 + 100)
    background = rng.uniform(165, 200, size=(count, 1)).astype(np.float32) + 4.0 * rng.standard_normal((count, 3), dtype=np.float32)
    ink = _patterns()[values["pattern"]]
    pixels = np.where(ink[..., None], second[:, None, None], main[:, None, None])
    pixels = np.where(shapes[..., None], pixels, background[:, None, None])
    pixels = pixels + 5.0 * rng.standard_normal((count, SIZE, SIZE, 1), dtype=np.float32)
    return [_encode(image) for image in np.clip(pixels, 0, 255).astype(np.uint8)]


def _encode(pixels: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


@cache
def _shapes() -> np.ndarray:
    """Masks of the silhouettes at each scale, bool [types, scales, S, S]."""
    masks = np.zeros((len(WORDS["type"]), len(_SCALES), SIZE, SIZE), bool)
    for row, name in enumerate(WORDS["type"]):
        canvas = Image.new("1", (SIZE, SIZE))
        pen = ImageDraw.Draw(canvas)
        for shape in SILHOUETTES[name]:
            kind, *numbers = shape.split()
            draw = {"p": pen.polygon, "e": pen.ellipse, "r": pen.rectangle}[kind]
            draw([int(number) for number in numbers], fill=1)
        for column, side in enumerate(_SCALES):
            margin = (SIZE - side) // 2
            masks[row, column, margin : margin + side, margin : margin + side] = np.array(canvas.resize((side, side)))
    return masks


@cache
def _patterns() -> np.ndarray:
    """Where a pattern shows its second colour, bool [patterns, S, S], in the order of `WORDS["pattern"]`."""
    y, x = np.mgrid[:SIZE, :SIZE]
    inks = {
        "plain": np.zeros((SIZE, SIZE), bool),
        "striped": y % 8 < 4,
        "dotted": (x % 8 - 4) ** 2 + (y % 8 - 4) ** 2 < 7,
        "checked": (x // 6 + y // 6) % 2 == 0,
        "zigzag": (y + np.abs(x % 12 - 6)) % 10 < 4,
    }
    return np.stack([inks[name] for name in WORDS["pattern"]])
