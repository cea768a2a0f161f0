import io

import numpy as np
import pytest
from PIL import Image

from ppm_tf.encoders.image_descriptor import ImageDescriptor, describe


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def flat(color):
    return png(np.broadcast_to(np.array(color), (16, 16, 3)))


def stripes(vertical):
    pixels = np.zeros((64, 64, 3))
    pixels[:, 16:48] = 255
    return png(pixels if vertical else pixels.transpose(1, 0, 2))


def test_colours_by_hand():
    statistics = describe(flat([255, 0, 51]))
    np.testing.assert_allclose(statistics[:48].reshape(16, 3), np.tile([1.0, 0.0, 0.2], (16, 1)), atol=1e-6)
    histogram = statistics[48:112]
    assert histogram[3 * 16] == 1.0  # red in its last quarter, green and blue in their first
    assert histogram.sum() == 1.0
    assert not statistics[112:].any()  # a flat image has no edges


def test_edges_know_their_direction():
    vertical, horizontal = (describe(stripes(vertical))[112:].reshape(16, 8) for vertical in (True, False))
    assert vertical[:, 0].sum() > 0.99 * vertical.sum()  # gradient along x: angle 0
    assert horizontal[:, 4].sum() > 0.99 * horizontal.sum()  # along y: 90 degrees, the fifth of eight bins


def test_like_images_are_near():
    images = [flat([200, 0, 0]), flat([220, 10, 0]), flat([0, 0, 200]), stripes(True), stripes(False)]
    red, other_red, blue, *_ = ImageDescriptor(dim=3).fit(images).encode(images)
    assert np.linalg.norm(red - other_red) < 0.5 * np.linalg.norm(red - blue)


@pytest.mark.parametrize("content", [b"", b"no image", png(np.zeros((4, 4, 3)))[:40]])
def test_what_is_no_image_is_refused(content):
    with pytest.raises(ValueError, match="An image must be JPEG, PNG"):
        describe(content)


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="at least two images. Received: 1"):
        ImageDescriptor(dim=2).fit([flat([0, 0, 0])])


def test_fitting_passes_over_what_is_no_image():
    images = [flat([200, 0, 0]), flat([220, 10, 0]), flat([0, 0, 200])]
    clean, mixed = ImageDescriptor(dim=2).fit(images), ImageDescriptor(dim=2).fit([b"broken", images[0], None, *images[1:], b""])
    assert clean.version == mixed.version
    assert ImageDescriptor(dim=2).fit(images, most=2).version == ImageDescriptor(dim=2).fit(images[:2]).version


@pytest.mark.parametrize("use", [lambda encoder: encoder.encode([flat([0, 0, 0])]), lambda encoder: encoder.version])
def test_use_before_fitting_is_refused(use):
    with pytest.raises(ValueError, match="ImageDescriptor must be fitted"):
        use(ImageDescriptor(dim=2))
