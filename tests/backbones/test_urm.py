import keras
import numpy as np

from ppm_tf.backbones.urm import URM
from tests.battery import built, random_features, shapes_of
from tests.layers.reference import softmax

INIT = {
    "num_tasks": 2,
    "num_heads": 2,
    "width": None,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
    "num_experts": 3,
    "expert_units": (6,),
    "tower_units": (5,),
    "initializer_stddev": 0.3,
}


def test_equals_the_equations():
    """x = [U_ID | I_ID | D], eq. 9 to 11; the transformer itself is checked in its own test."""
    keras.utils.set_random_seed(0)
    features = random_features(np.random.default_rng(0), dim=4)
    backbone = built(URM, INIT, features)
    history, item = features.history.reshape(3, 6, 12), features.item.reshape(3, 4, 12)
    user_id, item_id = backbone.transformer(history, item, features.mask, features.recency)
    request = np.concatenate([features.user.reshape(3, -1), features.context.reshape(3, -1)], 1)
    x = np.concatenate([user_id, item_id, np.repeat(request[:, None], 4, 1), features.other], -1)
    kernel, bias, gate_kernel, gate_bias = (np.array(weight) for weight in backbone.mixture.weights)
    experts = np.maximum(np.einsum("rnd,edo->rneo", x, kernel) + bias, 0)
    for task in range(2):
        columns = slice(3 * task, 3 * task + 3)
        gate = softmax(x @ gate_kernel[:, columns] + gate_bias[columns])
        mixed = np.einsum("rne,rneo->rno", gate, experts)
        for kernel_, bias_ in zip(*[iter(map(np.array, backbone.towers[task].weights))] * 2, strict=True):
            mixed = np.maximum(mixed @ kernel_ + bias_, 0)
        weights, offset = backbone.logits[task].get_weights()
        np.testing.assert_allclose(backbone(features)[..., task : task + 1], mixed @ weights + offset, rtol=1e-4, atol=1e-5)


def test_items_enter_at_the_width_of_all_their_fields_or_at_a_set_one():
    features = random_features(np.random.default_rng(0))
    assert built(URM, INIT, features).transformer.projection is None
    narrow = built(URM, {**INIT, "width": 8}, features).transformer
    assert narrow.compute_output_shape((None, 6, 24), (None, 4, 24))[0] == (None, 4, 8)


def test_without_positions_the_order_of_equal_times_says_nothing():
    features = random_features(np.random.default_rng(0))
    swapped = features._replace(history=features.history[:, ::-1], recency=np.where(features.mask, 60, -1)[:, ::-1], mask=features.mask[:, ::-1])
    features = features._replace(recency=np.where(features.mask, 60, -1))
    for positions, alike in ((False, True), (True, False)):
        keras.utils.set_random_seed(0)
        backbone = URM(**{**INIT, "positions": positions})
        backbone.build(shapes_of(features))
        assert np.allclose(backbone(features)[:1], backbone(swapped)[:1], atol=1e-5) is alike
