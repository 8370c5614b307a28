"""NumPy in, NumPy out: one function evaluated in both stacks, and the weights of a Keras model by the twin's keys."""

import copy

import keras
import numpy as np
import torch

from torch_ref.weights import keras_weights as module_weights


def torch_value_and_gradient(fn, output):
    """fn(tensor) -> (N,), and the gradient of its sum with respect to `output`."""
    variable = torch.tensor(output, requires_grad=True)
    values = fn(variable)
    (gradient,) = torch.autograd.grad(values.sum(), variable)
    return values.detach().numpy(), gradient.numpy()


def keras_value_and_gradient(fn, output):
    """The same under the Keras backend of this process."""
    return _GRADIENTS[keras.backend.backend()](fn, output)


def _tensorflow(fn, output):
    import tensorflow as tf

    variable = tf.constant(output)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        values = fn(variable)
    return values.numpy(), tf.convert_to_tensor(tape.gradient(values, variable)).numpy()


def _jax(fn, output):
    import jax

    variable = jax.numpy.asarray(output)
    gradient = jax.grad(lambda tensor: fn(tensor).sum())(variable)
    return np.array(fn(variable)), np.array(gradient)


_GRADIENTS = {"tensorflow": _tensorflow, "torch": torch_value_and_gradient, "jax": _jax}


def to_numpy(tensor):
    """A Keras tensor as an array that may be written to."""
    return np.array(keras.ops.convert_to_numpy(tensor))


def head_variables(head, prefix=""):
    """Variables of a Keras head by the twin's keys: "logits/kernel", "rank_bias"."""
    own = {f"{prefix}{variable.name}": variable for variable in head.weights}
    for layer in head._layers:
        own = {key: variable for key, variable in own.items() if not any(variable is item for item in layer.weights)}
        own |= {f"{prefix}{layer.name}/{variable.name}": variable for variable in layer.weights}
    return own


def backbone_variables(backbone, prefix=""):
    """Variables of a functional Keras backbone by the twin's keys: "stem_conv/kernel"."""
    return {
        f"{prefix}{layer.name}/{variable.name}": variable for layer in backbone.layers for variable in layer.weights
    }


def model_variables(model):
    """Variables of a Keras FaceModel by the twin's keys."""
    variables = backbone_variables(model.backbone, "backbone/")
    for name in ("age_head", "gender_head"):
        if getattr(model, name) is not None:
            variables |= head_variables(getattr(model, name), f"{name}/")
    return variables


def values_of(variables):
    """{key: variable} -> {key: array}."""
    return {key: to_numpy(variable) for key, variable in variables.items()}


def module_gradients(module):
    """Gradients of a torch module by Keras' keys and in Keras' layout; buffers and unused parameters are left out."""
    holder = copy.deepcopy(module)
    used = set()
    for (path, parameter), target in zip(module.named_parameters(), holder.parameters(), strict=True):
        if parameter.grad is not None:
            target.data = parameter.grad.detach().clone()
            used.add(path)
    trainable = {path.rpartition(".")[0].replace(".", "/") for path in used}
    return {key: value for key, value in module_weights(holder).items() if key.rpartition("/")[0] in trainable}


def randomise(variables, rng, *, gain=2.0):
    """Give every variable a value that a trained net could have, so that no swapped statistic goes unseen.

    Args:
        gain: the variance of a kernel times its number of inputs; 2 is He's.
    """
    ranges = {
        "gamma": lambda shape: rng.uniform(0.8, 1.2, shape),
        "beta": lambda shape: rng.normal(0, 0.1, shape),
        "moving_mean": lambda shape: rng.normal(0, 0.1, shape),
        "moving_variance": lambda shape: rng.uniform(0.8, 1.25, shape),
        "bias": lambda shape: rng.normal(0, 0.1, shape),
        "rank_bias": lambda shape: rng.normal(0, 1, shape),
        "first_bias": lambda shape: rng.normal(0, 1, shape),
        "bias_steps": lambda shape: rng.normal(-3, 1, shape),
        "log_noise": lambda shape: rng.normal(2, 0.3, shape),
        "leaf_mean": lambda shape: rng.uniform(0, 100, shape),
        "leaf_variance": lambda shape: rng.uniform(1, 80, shape),
    }
    for key, variable in variables.items():
        name = key.rpartition("/")[2]
        if name == "kernel":
            # Keras' own start makes the features of a deep net all but independent of the image.
            values = rng.normal(0, (gain / _fan_in(variable.shape)) ** 0.5, variable.shape)
        elif name in ranges:
            values = ranges[name](variable.shape)
        else:
            continue
        # Rounded to float32, so that the float32 and the float64 net have the very same weights.
        variable.assign(values.astype("float32"))


def _fan_in(shape):
    """Inputs of one output; a depthwise kernel (H, W, C, 1) sees one channel."""
    depthwise = len(shape) == 4 and shape[3] == 1
    return int(np.prod(shape[:2] if depthwise else shape[:-1]))
