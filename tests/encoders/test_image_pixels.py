import io
import warnings

import numpy as np
import pytest
from PIL import Image

from ppm_tf.encoders.image_pixels import read_pixels

CORNERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)  # red, green / blue, white
LARGE = np.kron(CORNERS, np.ones((400, 400, 1)))
NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3))


def encoded(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(np.asarray(picture, np.uint8))).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
def test_pixels_are_those_of_the_image(kind):
    np.testing.assert_array_equal(read_pixels(encoded(CORNERS, kind, **({"lossless": True} if kind == "WEBP" else {})), 2), CORNERS)


def test_a_pixel_sees_all_that_it_covers():
    pixels = np.zeros((8, 4, 3))
    pixels[:4] = 200  # the upper half
    small = read_pixels(encoded(pixels), 1)
    assert small.shape == (1, 1, 3) and small.dtype == np.uint8
    np.testing.assert_allclose(small, 100, atol=1)


def test_the_whole_image_is_seen_whatever_its_sides():
    pixels = np.zeros((4, 40, 3))
    pixels[:, :2], pixels[:, -2:] = [255, 0, 0], [0, 0, 255]
    small = read_pixels(encoded(pixels), 20)
    assert small[10, 0, 0] > 200 and small[10, -1, 2] > 200


def test_the_camera_that_was_held_sideways():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise: blue comes up, then red
    upright = read_pixels(encoded(LARGE, "JPEG", exif=exif), 8)[1::5, 1::5]
    np.testing.assert_allclose(upright, [[[0, 0, 255], [255, 0, 0]], [[255, 255, 255], [0, 255, 0]]], atol=12)


def test_what_is_transparent_is_white():
    pixels = np.zeros((2, 2, 4))
    pixels[0, 0] = [255, 0, 0, 255]
    expected = [[[255, 0, 0], [255, 255, 255]], [[255, 255, 255], [255, 255, 255]]]
    np.testing.assert_array_equal(read_pixels(encoded(pixels), 2), expected)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1"])
def test_other_colour_modes(mode):
    white = encoded(Image.new("RGB", (4, 4), "white").convert(mode), "TIFF")
    np.testing.assert_array_equal(read_pixels(white, 4), np.full((4, 4, 3), 255))


def test_sixteen_bits_of_grey_keep_their_order():
    grey = encoded(Image.fromarray(np.array([[0, 16384], [32768, 65535]], np.uint16)))
    np.testing.assert_array_equal(read_pixels(grey, 2)[..., 0], [[0, 64], [128, 255]])


@pytest.mark.parametrize(
    ("values", "kind"), [(np.array([[0.0, 0.5], [0.75, 1.0]], np.float32), "floats"), (np.array([[0, 2**30], [2**31 - 1, 7]], np.int32), "integers")]
)
def test_values_of_an_unknown_scale_are_refused(values, kind):
    """Cut to 0 to 255 they were a black and a white image."""
    with pytest.raises(
        ValueError, match=f"its grey values are 32-bit {kind}, and no file says which of them is white. Remedy: save it with 8 or 16 bits"
    ):
        read_pixels(encoded(Image.fromarray(values), "TIFF"), 2)


def test_a_large_photo_is_decoded_small_but_right():
    np.testing.assert_allclose(read_pixels(encoded(LARGE, "JPEG"), 8)[1::5, 1::5], CORNERS, atol=12)


@pytest.mark.parametrize(
    "content",
    [b"", b"no image", encoded(NOISE)[:-100], encoded(NOISE, "JPEG")[:-100], b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"],
    ids=["empty", "text", "truncated PNG", "truncated JPEG", "PostScript"],
)
def test_what_is_no_whole_image_is_refused(content):
    with pytest.raises(ValueError, match=rf"An image must be JPEG, PNG, .* whole. Received: {len(content)} bytes \(.+\)"):
        read_pixels(content, 8)


@pytest.mark.parametrize("side, reason", [(9_000, "9000 x 9000 pixels are more than 80,000,000"), (9_500, "."), (20_000, "decompression bomb")])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side, reason):
    bomb = encoded(Image.new("1", (side, side)), "PNG")
    assert len(bomb) < 100_000
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(ValueError, match=reason):
            read_pixels(bomb, 8)
