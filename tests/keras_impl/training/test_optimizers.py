"""Learning rates at the places that matter, and weight decay on kernels only."""

import keras
import numpy as np
import pytest

from faces.errors import UserError
from keras_impl.training.optimizers import OPTIMIZERS, make_optimizer, make_schedule


def rates(schedule, steps):
    return [float(schedule(step)) for step in steps]


def test_steps_at_the_middle_of_each_quarter():
    schedule = make_schedule("steps", 0.1, total_steps=40)
    np.testing.assert_allclose(rates(schedule, (0, 5, 15, 25, 35, 39)), [0.1, 0.1, 0.02, 0.004, 0.0008, 0.0008])


def test_cosine_warms_up_then_falls_to_nothing():
    schedule = make_schedule("cosine", 0.1, total_steps=110, warmup_steps=10)
    np.testing.assert_allclose(rates(schedule, (0, 5, 10)), [0.01, 0.055, 0.1], rtol=1e-5)
    # Half a cosine over the 100 steps after the warm-up: 0.05 (1 + cos(pi t / 100)).
    np.testing.assert_allclose(rates(schedule, (35, 60, 85)), [0.0853553, 0.05, 0.0146447], rtol=1e-5)
    assert rates(schedule, (110,))[0] == pytest.approx(0, abs=1e-8)
    assert np.diff(rates(schedule, range(10, 110))).max() < 0


def test_cosine_without_warm_up_starts_at_the_top():
    assert rates(make_schedule("cosine", 0.1, total_steps=50), (0,)) == pytest.approx([0.1])


def test_warm_up_longer_than_the_training_still_ends():
    schedule = make_schedule("cosine", 0.1, total_steps=4, warmup_steps=100)
    assert np.isfinite(rates(schedule, range(5))).all() and max(rates(schedule, range(5))) == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["steps", "cosine"])
def test_optimizer_that_begins_later_joins_the_schedule(name):
    whole = make_schedule(name, 0.1, total_steps=40, warmup_steps=8)
    later = make_schedule(name, 0.1, total_steps=40, warmup_steps=8, first_step=12)
    np.testing.assert_allclose(rates(later, range(28)), rates(whole, range(12, 40)))
    assert np.ptp(rates(later, range(28))) > 0.01
    assert make_schedule("constant", 0.1, total_steps=40, first_step=12) == 0.1


def test_constant():
    assert make_schedule("constant", 0.1, total_steps=4) == 0.1


@pytest.mark.parametrize("name", [*OPTIMIZERS, "AdamW"])
def test_decay_shrinks_kernels_only(name):
    model = keras.Sequential(
        [keras.layers.Input((3,)), keras.layers.Dense(2, name="dense"), keras.layers.BatchNormalization()]
    )
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape))
    optimizer = make_optimizer(name, 0.5, weight_decay=0.1)
    optimizer.build(model.trainable_variables)
    optimizer.apply([np.zeros(variable.shape, np.float32) for variable in model.trainable_variables])
    after = {variable.name: np.unique(variable).tolist() for variable in model.trainable_variables}
    assert after.pop("kernel") == pytest.approx([1 - 0.5 * 0.1])
    assert after == {"bias": [1], "gamma": [1], "beta": [1]}


def test_what_is_no_kernel_does_not_decay_whatever_its_name():
    scale, noise, kernel = (keras.Variable(np.ones(2), name=name) for name in ("variable_3", "log_noise", "kernel"))
    optimizer = make_optimizer("adamw", 0.5, weight_decay=0.1)
    optimizer.build([scale, noise, kernel])
    optimizer.apply([np.zeros(2, np.float32)] * 3)
    np.testing.assert_array_equal(scale, np.ones(2))
    np.testing.assert_array_equal(noise, np.ones(2))
    np.testing.assert_allclose(kernel, np.full(2, 0.95))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_decay_leaves_the_weights(name):
    kernel = keras.Variable(np.ones((2, 2)), name="kernel")
    optimizer = make_optimizer(name, 0.5)
    optimizer.build([kernel])
    optimizer.apply([np.zeros((2, 2), np.float32)])
    np.testing.assert_array_equal(kernel, np.ones((2, 2)))


def test_gradient_is_clipped_by_the_norm_of_all_of_it():
    one, two = (keras.Variable(np.zeros(1), name=name) for name in ("kernel", "bias"))
    optimizer = make_optimizer("sgd", 1.0, clip_norm=1.0)
    optimizer.build([one, two])
    optimizer.apply([np.array([30.0], np.float32), np.array([40.0], np.float32)])
    # Nesterov's first step is (1 + momentum) times the gradient, here (.6, .8) after clipping.
    np.testing.assert_allclose([one[0], two[0]], [-1.9 * 0.6, -1.9 * 0.8], rtol=1e-5)


def test_sgd_is_nesterov_with_momentum():
    kernel = keras.Variable(np.zeros(1), name="kernel")
    optimizer = make_optimizer("sgd", 0.1)
    optimizer.build([kernel])
    for _ in range(2):
        optimizer.apply([np.ones(1, np.float32)])
    # By hand: v1 = -.1, step -.1 + .9 v1 = -.19; v2 = .9 v1 - .1 = -.19, step -.1 + .9 v2 = -.271.
    np.testing.assert_allclose(np.asarray(kernel), [-0.461], rtol=1e-5)


def test_unknown_names_list_the_known():
    with pytest.raises(UserError, match=r"'lion'\. Expected one of: sgd, adam, adamw"):
        make_optimizer("lion", 0.1)
    with pytest.raises(UserError, match=r"'saw'\. Expected one of: constant, steps, cosine"):
        make_schedule("saw", 0.1, total_steps=4)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("schedule", ["constant", "steps", "cosine"])
def test_whole_learning_rate_is_one_as_any_other(optimizer, schedule):
    made = make_optimizer(optimizer, make_schedule(schedule, 1, total_steps=10))
    assert float(made.learning_rate) == pytest.approx(1)
