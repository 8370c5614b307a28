"""Every head: output, decodes and probabilities on copied weights."""

import keras
import numpy as np
import pytest
import torch

from keras_impl.heads import HEADS, GenderHead
from parity_tests import cases, tolerances
from parity_tests.bridge import head_variables, randomise, to_numpy, values_of
from torch_ref.heads import HEADS as TWINS
from torch_ref.heads import GenderHead as GenderTwin
from torch_ref.weights import keras_weights, load_keras_weights

FEATURES = 24
# Keras 3.15 multiplies matrices in float32 under its torch and jax backends, whatever the dtype of the layer.
DTYPES = ["float64", "float32"] if keras.backend.backend() == "tensorflow" else ["float32"]
BIASES = ("free", "ordered")
FALLING = "falling"  # stands for K - 1 falling numbers
ARGUMENTS = {
    "rank": [{"bias": "free"}, {"bias": "ordered"}, *({"bias": bias, "initial_bias": FALLING} for bias in BIASES)],
    "independent_rank": [{}, {"initial_bias": FALLING}],
    "conditional_rank": [{}, {"initial_bias": FALLING}],
    "regression": [{"scale": scale, "initial_bias": 31.0} for scale in HEADS["regression"].SCALES],
    "noisy_regression": [{"scale": "normalised", "initial_bias": 31.0, "initial_noise": 4.0}],
    "forest": [{"units": 40}, {"trees": 2, "depth": 3, "units": 8, "seed": 5}],
    "stagewise": [{"stage_activation": "softmax"}, {"stage_activation": "relu", "delta_scale": 0.5}],
}
VARIANTS = [
    (name, {"decode": decode, **arguments})
    for name, head in HEADS.items()
    for decode in head.DECODES
    for arguments in ARGUMENTS.get(name, [{}])
]


def for_grid(arguments, min_age=0, max_age=100):
    """The arguments with FALLING as numbers for a grid; two steps are below the least of ordered biases."""
    if arguments.get("initial_bias") != FALLING:
        return arguments
    bias = np.linspace(4, -5, max_age - min_age)
    bias[1:3] = bias[0] - 0.001
    return {**arguments, "initial_bias": bias.tolist()}


def build_pair(head, twin, dtype):
    """A Keras head and its twin with the same random weights, and features for both."""
    rng = np.random.default_rng(21)
    head.build((None, FEATURES))
    randomise(head_variables(head), rng)
    load_keras_weights(twin, values_of(head_variables(head)))
    return rng.normal(0, 1.5, (cases.N, FEATURES)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("min_age", "max_age"), [(0, 100), (15, 60)])
@pytest.mark.parametrize(("name", "arguments"), VARIANTS)
def test_age_head(name, arguments, min_age, max_age, dtype):
    arguments = for_grid(arguments, min_age, max_age)
    head = HEADS[name](min_age=min_age, max_age=max_age, dtype=dtype, **arguments)
    if len(head.DECODES) == 1:  # the only decode is not an argument of the twin
        arguments = {key: value for key, value in arguments.items() if key != "decode"}
    twin = TWINS[name](FEATURES, min_age=min_age, max_age=max_age, **arguments).to(getattr(torch, dtype))
    features = build_pair(head, twin, dtype)
    output, twin_output = head(features), twin(torch.tensor(features))
    assert to_numpy(output).dtype == np.dtype(dtype)
    tolerance = tolerances.HEAD[dtype]
    tolerances.assert_close_to_largest(to_numpy(output), twin_output.detach().numpy(), tolerance)
    # The decodes get the same output, so that a tie broken by rounding cannot hide behind the layer.
    shared = twin_output.detach().numpy()
    age = to_numpy(head.decode(keras.ops.convert_to_tensor(shared)))
    assert age.shape == (cases.N,)
    tolerances.assert_close_to_largest(age, twin.decode(twin_output).detach().numpy(), tolerance)
    assert hasattr(head, "probabilities") == hasattr(twin, "probabilities")
    if hasattr(head, "probabilities"):
        probabilities = to_numpy(head.probabilities(keras.ops.convert_to_tensor(shared)))
        tolerances.assert_close_to_largest(probabilities, twin.probabilities(twin_output).detach().numpy(), tolerance)
        assert (probabilities >= 0).all()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gender_head(dtype):
    head, twin = GenderHead(dtype=dtype), GenderTwin(FEATURES).to(getattr(torch, dtype))
    features = build_pair(head, twin, dtype)
    output, twin_output = head(features), twin(torch.tensor(features))
    tolerances.assert_close_to_largest(to_numpy(output), twin_output.detach().numpy(), tolerances.HEAD[dtype])
    probabilities = to_numpy(head.probabilities(output))
    twin_probabilities = twin.probabilities(twin_output).detach().numpy()
    tolerances.assert_close_to_largest(probabilities, twin_probabilities, tolerances.HEAD[dtype])


def build_alike(name, arguments):
    arguments = {key: value for key, value in for_grid(arguments).items() if key != "decode"}
    return HEADS[name](**arguments), TWINS[name](FEATURES, **arguments)


def without_repeats():
    seen = [(name, {k: v for k, v in arguments.items() if k != "decode"}) for name, arguments in VARIANTS]
    return [pair for number, pair in enumerate(seen) if pair not in seen[:number]]


@pytest.mark.parametrize(("name", "arguments"), without_repeats())
def test_untrained_heads_start_alike(name, arguments):
    """With features of zero only the biases count: both stacks start from the same output."""
    head, twin = build_alike(name, arguments)
    for path, module in twin.named_modules():
        given = path == "value" or "initial_bias" in arguments
        if isinstance(module, torch.nn.Linear) and module.bias is not None and not given:
            module.bias.data.zero_()  # Dense starts at 0, Linear at random: no claim of the method
    zeros = np.zeros((2, FEATURES), "float32")
    output = to_numpy(head(zeros))
    tolerances.assert_close_to_largest(output, twin(torch.tensor(zeros)).detach().numpy(), tolerances.HEAD["float32"])
    np.testing.assert_allclose(
        to_numpy(head.decode(keras.ops.convert_to_tensor(output))), twin.decode(torch.tensor(output)), rtol=1e-6
    )


@pytest.mark.parametrize(("name", "arguments"), without_repeats())
def test_weights_travel_back(name, arguments):
    head, twin = build_alike(name, arguments)
    build_pair(head, twin, "float32")
    variables = head_variables(head)
    for variable in variables.values():
        variable.assign(np.zeros(variable.shape))
    back = keras_weights(twin)
    assert back.keys() == variables.keys()
    for key, variable in variables.items():
        variable.assign(back[key])
    features = np.random.default_rng(5).normal(size=(8, FEATURES)).astype("float32")
    expected = twin(torch.tensor(features)).detach().numpy()
    tolerances.assert_close_to_largest(to_numpy(head(features)), expected, tolerances.HEAD["float32"])
