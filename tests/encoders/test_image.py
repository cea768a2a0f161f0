import json

import keras
import keras_nlp
import numpy as np
import pytest
from PIL import Image

from ppm_tf.config import ImageSettings
from ppm_tf.encoders.image import IMAGENET_OFFSET, IMAGENET_SCALE, ImageEncoder
from ppm_tf.encoders.image_start import RESNETS, resnet, start_encoder
from ppm_tf.encoders.saved import load_encoder
from tests.encoders.test_image_pixels import encoded

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 8, 8, 3)).astype("uint8")
IMAGES = [encoded(pixels) for pixels in PIXELS]


def tiny_backbone():
    return keras_nlp.models.ResNetBackbone([8], [3], [64], [1], [1], "basic_block_vd")


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(1)
    return ImageEncoder(tiny_backbone(), size=8, dim=4)


def linear_backbone(kernel, tokens=False):
    """Each pixel through one matrix, as a map or as a sequence of places."""
    image = keras.Input((8, 8, 3))
    features = keras.layers.Conv2D(kernel.shape[1], 1, use_bias=False, name="features")(image)
    model = keras.Model(image, keras.layers.Reshape((64, -1))(features) if tokens else features)
    model.get_layer("features").set_weights([kernel[None, None]])
    return model


@pytest.mark.parametrize("tokens", [False, True])
def test_values_by_hand(tokens):
    kernel, weights, bias = RNG.normal(size=(3, 5)).astype("float32"), RNG.normal(size=(5, 2)).astype("float32"), np.array([1.0, -2.0], "float32")
    encoder = ImageEncoder(linear_backbone(kernel, tokens), size=8, dim=2)
    encoder.projection.set_weights([weights, bias])
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # ImageNet's, as published
    expected = ((PIXELS / 255 - mean) / deviation @ kernel).mean((1, 2)) @ weights + bias
    np.testing.assert_allclose(encoder.encode(IMAGES), expected, rtol=1e-4, atol=1e-5)
    assert ImageEncoder(linear_backbone(kernel, tokens), size=8).encode(IMAGES).shape == (6, 5)  # without a projection


def test_encoding_is_the_forward_pass_in_one_trace(encoder):
    expected = encoder(PIXELS, training=False)
    for size in (1, 4, 6):
        np.testing.assert_allclose(encoder.encode(IMAGES, batch_size=size), expected, rtol=1e-4, atol=1e-5)
    assert encoder.encode(IMAGES).dtype == np.float32
    assert encoder._forward.experimental_get_tracing_count() == 1


def test_no_images_no_vectors(encoder):
    assert encoder.encode([]).shape == encoder.encode_batch([]).shape == (0, 4)


def test_batch_normalisation_learns_in_training_alone(encoder):
    model = ImageEncoder(tiny_backbone(), size=8, dim=4)
    before, version = model.get_weights(), model.version
    model.encode(IMAGES)
    assert model.version == version
    model(PIXELS, training=True)
    changed = [weight.path.rsplit("/", 1)[1] for weight, old in zip(model.weights, before, strict=True) if np.any(weight.numpy() != old)]
    assert set(changed) == {"moving_mean", "moving_variance"}
    assert model.version != version


def test_a_saved_encoder_gives_equal_vectors(encoder, tmp_path):
    encoder.save(tmp_path)
    loaded = load_encoder(tmp_path)
    np.testing.assert_array_equal(loaded.encode(IMAGES), encoder.encode(IMAGES))
    about = json.loads((tmp_path / "encoder.json").read_text())
    assert (about["kind"], about["dim"], about["version"]) == (loaded.kind, loaded.dim, loaded.version) == ("image", 4, encoder.version)


def test_a_saved_encoder_without_projection(tmp_path):
    encoder = ImageEncoder(tiny_backbone(), size=8, scale=(1.0, 2.0, 3.0), offset=(0.0, 0.5, 1.0))
    encoder.save(tmp_path)
    loaded = load_encoder(tmp_path)
    assert (loaded.dim, loaded.projection, loaded.scale, loaded.offset) == (64, None, [1.0, 2.0, 3.0], [0.0, 0.5, 1.0])
    np.testing.assert_array_equal(loaded.encode(IMAGES), encoder.encode(IMAGES))


def test_the_version_names_settings_and_weights():
    keras.utils.set_random_seed(2)
    backbone = tiny_backbone()
    encoder = ImageEncoder(backbone, size=8, dim=4)
    copy = ImageEncoder(tiny_backbone(), size=8, dim=4)
    copy.set_weights(encoder.get_weights())
    assert copy.version == encoder.version != ImageEncoder(backbone, size=16, dim=4).version
    others = {
        ImageEncoder(backbone, size=8).version,
        ImageEncoder(backbone, size=16).version,
        ImageEncoder(backbone, size=8, scale=(1, 1, 1)).version,
    }
    assert len(others | {encoder.version}) == 4
    copy.projection.bias.assign([0.0, 0.0, 0.0, 1e-6])
    assert copy.version != encoder.version


def test_the_projection_is_fitted_to_the_main_directions():
    kernel = RNG.normal(size=(3, 5)).astype("float32")
    encoder = ImageEncoder(linear_backbone(kernel), size=8, dim=2, scale=(1 / 255,) * 3, offset=(0,) * 3)
    encoder.fit_projection(list(PIXELS), batch_size=4)
    features = (PIXELS / 255 @ kernel).mean((1, 2))
    left, strength, _ = np.linalg.svd(features - features.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(encoder.encode(IMAGES)), np.abs(left[:, :2] * strength[:2]), atol=1e-4)  # up to a sign a direction


def test_a_sample_smaller_than_the_width_leaves_zeros(encoder):
    wide = ImageEncoder(tiny_backbone(), size=8, dim=10)
    wide.fit_projection(list(PIXELS[:3]))
    assert np.abs(wide.encode(IMAGES)[:, 3:]).max() == 0
    with pytest.raises(ValueError, match="at least two images to be fitted to. Received: 1"):
        wide.fit_projection(list(PIXELS[:1]))


def test_low_precision_gives_float32_vectors(encoder, tmp_path, float32_policy):
    encoder.save(tmp_path)
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    vectors = ImageEncoder.load(tmp_path).encode(IMAGES)
    assert vectors.dtype == np.float32
    difference = np.abs(vectors - encoder.encode(IMAGES)).max()
    assert 0 < difference < 0.05 * np.abs(vectors).max()  # bfloat16 keeps 8 bits


def test_a_preset_brings_its_own_scale(encoder, tmp_path):
    encoder.save(tmp_path)
    bare = ImageEncoder.from_preset(str(tmp_path / "backbone"), size=8, dim=4)
    np.testing.assert_allclose([bare.scale, bare.offset], [IMAGENET_SCALE, IMAGENET_OFFSET])
    converter = keras_nlp.layers.ResNetImageConverter(image_size=(8, 8), scale=1 / 127.5, offset=[-1.0, -1.0, -0.5])
    converter.save_to_preset(str(tmp_path / "backbone"))
    own = ImageEncoder.from_preset(str(tmp_path / "backbone"), size=8)
    np.testing.assert_allclose([own.scale, own.offset], [[1 / 127.5] * 3, [-1.0, -1.0, -0.5]])
    np.testing.assert_array_equal(own.backbone.get_weights()[0], encoder.backbone.get_weights()[0])


def test_presets_that_are_no_image_backbone(tmp_path):
    with pytest.raises(ValueError, match="image.preset must be a keras-nlp preset, or a folder .* Received: no-such-preset"):
        ImageEncoder.from_preset("no-such-preset", size=8)
    words = keras_nlp.models.BertBackbone(vocabulary_size=8, num_layers=1, num_heads=1, hidden_dim=2, intermediate_dim=2, max_sequence_length=4)
    with pytest.raises(ValueError, match=r"must map \[B, height, width, 3\] to .* Received: BertBackbone"):
        ImageEncoder(words, size=8)
    with pytest.raises(ValueError, match="image.size must be what the Functional takes, 8 x 8. Received: 16"):
        ImageEncoder(linear_backbone(np.ones((3, 2), "float32")), size=16)


def test_no_encoder_in_the_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="must hold a saved encoder"):
        ImageEncoder.load(tmp_path)


@pytest.mark.parametrize("content", [b"no image", IMAGES[0][:60]])
def test_what_is_no_image_is_refused(encoder, content):
    with pytest.raises(ValueError, match="An image must be JPEG, PNG"):
        encoder.encode([IMAGES[0], content])


# === ResNets ===


@pytest.mark.parametrize("name, weights", [("resnet18", 11_689_512 - 513_000), ("resnet50", 25_557_032 - 2_049_000)])
def test_resnets_have_the_published_size(name, weights):
    """Parameters of the published models without their classification head."""
    assert sum(int(np.prod(variable.shape)) for variable in resnet(name).trainable_variables) == weights


def test_resnet_101_is_resnet_50_with_23_blocks_in_its_third_stage():
    assert RESNETS["resnet101"] == {**RESNETS["resnet50"], "stackwise_num_blocks": [3, 4, 23, 3]}


def test_the_default_starts_from_random_weights():
    encoder = start_encoder(ImageSettings(size=16))
    assert (encoder.size, encoder.dim) == (16, 64)
    assert encoder.encode([encoded(Image.new("RGB", (16, 16), "red"))]).shape == (1, 64)


def test_weights_come_from_a_file(tmp_path):
    first = resnet("small_resnet")
    first.save_weights(tmp_path / "of.weights.h5")
    second = start_encoder(ImageSettings(weights=str(tmp_path / "of.weights.h5"), size=16)).backbone
    for mine, theirs in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    with pytest.raises(ValueError, match="weights of a keras-nlp ResNetBackbone of the sizes of resnet18. Received: .*of.weights.h5"):
        resnet("resnet18", tmp_path / "of.weights.h5")
    (tmp_path / "other.weights.h5").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="of the sizes of small_resnet. Received: .*other.weights.h5"):
        resnet("small_resnet", tmp_path / "other.weights.h5")


def test_names_that_are_not_there(tmp_path):
    with pytest.raises(ValueError, match="must be one of small_resnet, resnet18, resnet50, resnet101. Received: resnet7"):
        resnet("resnet7")
    with pytest.raises(FileNotFoundError, match="image.weights must be a .weights.h5 file. Received: .*none.weights.h5, which does not exist"):
        resnet("small_resnet", tmp_path / "none.weights.h5")
