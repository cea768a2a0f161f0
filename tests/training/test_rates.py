import keras
import numpy as np
import pytest
import tensorflow as tf

from ppm_tf.config import TrainSettings
from ppm_tf.training.rates import RiseHoldFall, steps_between_looks


def rates(schedule, steps):
    return [float(schedule(step)) for step in range(steps)]


def test_without_a_hold_it_is_the_linear_decay_of_keras():
    keras_decay = keras.optimizers.schedules.PolynomialDecay(4e-4, 100, 1e-4)
    np.testing.assert_allclose(rates(RiseHoldFall(4e-4, 1e-4, 0, 0, 100), 110), rates(keras_decay, 110), rtol=1e-5)


def test_nothing_before_the_fall_depends_on_the_length():
    short, long = RiseHoldFall(1.0, 0.1, 5, 24, 30), RiseHoldFall(1.0, 0.1, 5, 48, 60)
    assert rates(short, 25) == rates(long, 25)
    np.testing.assert_allclose(rates(short, 31)[24:], np.linspace(1.0, 0.1, 7), rtol=1e-6)
    np.testing.assert_allclose(rates(short, 5), np.arange(1, 6) / 5, rtol=1e-6)


def test_settings_count_the_rise_in_passes_and_the_fall_in_steps():
    schedule = RiseHoldFall.of(TrainSettings(batch_size=10, epochs=4, learning_rate=1.0, final_learning_rate=0.1, warmup=0.5, cooldown=0.25), 100)
    assert (schedule.rise, schedule.falls_from, schedule.steps, schedule.holds) == (5, 30, 40, True)
    assert not RiseHoldFall.of(TrainSettings(batch_size=10, cooldown=1.0), 100).holds


def test_an_early_fall_takes_the_same_share_and_never_more_steps_than_there_are():
    schedule = RiseHoldFall(1.0, 0.0, 0, 80, 100)
    schedule.fall_now(20)
    assert (schedule.falling_from, schedule.ends) == (20, 25)
    np.testing.assert_allclose(rates(schedule, 26)[18:], [1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0], atol=1e-6)
    schedule.fall_now(98)
    assert schedule.ends == 100


def test_the_early_fall_reaches_a_graph_that_was_made_before_it_and_is_in_variables():
    schedule = RiseHoldFall(1.0, 0.0, 0, 80, 100)
    rate = tf.function(lambda step: schedule(step))
    assert float(rate(tf.constant(24))) == 1.0
    schedule.fall_now(20)
    assert float(rate(tf.constant(24))) == pytest.approx(0.2)
    assert [variable.numpy().tolist() for variable in schedule.variables] == [[20, 25]]


@pytest.mark.parametrize(("validate_every", "steps"), [(None, 3), (7, 7)])
def test_looks_do_not_depend_on_the_number_of_passes(validate_every, steps):
    for epochs in (1, 5):
        assert steps_between_looks(TrainSettings(batch_size=10, epochs=epochs, validate_every=validate_every), 100) == steps
