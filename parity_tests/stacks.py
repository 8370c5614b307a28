"""The two stacks behind one interface, NumPy in and NumPy out: a value from outside is compared with each of them.

Everything is computed in float64.
"""

from typing import Any

import keras
import numpy as np
import torch

from keras_impl import fits as keras_fits
from keras_impl import forest as keras_forest
from keras_impl import heads as keras_heads
from keras_impl import losses as keras_losses
from keras_impl import metrics as keras_metrics
from keras_impl import weighting as keras_weighting
from keras_impl.methods import METHODS as KERAS_METHODS
from parity_tests.bridge import head_variables, keras_value_and_gradient, to_numpy, torch_value_and_gradient
from torch_ref import fits as torch_fits
from torch_ref import forest as torch_forest
from torch_ref import heads as torch_heads
from torch_ref import losses as torch_losses
from torch_ref import metrics as torch_metrics
from torch_ref import weighting as torch_weighting
from torch_ref.methods import METHODS as TORCH_METHODS
from torch_ref.weights import keras_weights as torch_weights
from torch_ref.weights import load_keras_weights

Values = Any  # an array, or anything that NumPy makes one of


class Stack:
    """One of the two; every method takes and gives NumPy arrays.

    Attributes:
        name: what pytest calls it.
        losses: the package of that name, and so on.
    """

    name: str
    losses: Any
    heads: Any
    metrics: Any
    fits: Any
    weighting: Any
    forest: Any
    methods: Any

    def tensor(self, values: Values) -> Any:
        """An array as a float64 tensor of the stack."""
        raise NotImplementedError

    def value_and_gradient(self, fn: Any, output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """fn(tensor) -> (N,), and the gradient of its sum with respect to `output`."""
        raise NotImplementedError

    def head(self, name: str, features: int = 1, **arguments: Any) -> Any:
        """An untrained head for (N, features)."""
        raise NotImplementedError

    def load(self, head: Any, weights: dict[str, np.ndarray]) -> None:
        """Give a head of `head` its weights by Keras' keys and in Keras' layout."""
        raise NotImplementedError

    def weights(self, head: Any, *, trainable: bool = False) -> dict[str, np.ndarray]:
        """Weights of a head by the same keys, all or those alone that an optimizer would change."""
        raise NotImplementedError

    def array(self, values: Any) -> np.ndarray:
        """A tensor of the stack, or what is an array already, as an array."""
        raise NotImplementedError

    def _arguments(self, params):
        """Arrays among the arguments as tensors; lists, words and numbers as they are."""
        return {key: self.tensor(item) if isinstance(item, np.ndarray) else item for key, item in params.items()}

    def loss(self, name: str, label: Values, output: Values, **params: Any) -> np.ndarray:
        """(N,) values of a loss."""
        return self.loss_and_gradient(name, label, output, **params)[0]

    def gradient(self, name: str, label: Values, output: Values, **params: Any) -> np.ndarray:
        """Gradient of the sum of a loss's values with respect to the output."""
        return self.loss_and_gradient(name, label, output, **params)[1]

    def loss_and_gradient(self, name: str, label: Values, output: Values, **params: Any) -> tuple:
        """((N,) values, their gradient)."""
        fn, label, params = getattr(self.losses, name), self.tensor(label), self._arguments(params)
        return self.value_and_gradient(lambda variable: fn(label, variable, **params), np.asarray(output, "float64"))

    def decode(self, name: str, output: Values, **arguments: Any) -> np.ndarray:
        """(N,) years that a head makes of a raw output."""
        return self.array(self.head(name, **arguments).decode(self.tensor(output)))

    def probabilities(self, name: str, output: Values, **arguments: Any) -> np.ndarray:
        """(N, K) of the same."""
        return self.array(self.head(name, **arguments).probabilities(self.tensor(output)))

    def output(self, head: Any, features: Values) -> np.ndarray:
        """Raw output of a head."""
        return self.array(head(self.tensor(features)))

    def metric(self, name: str, truth: Values, predicted: Values, **arguments: Any) -> np.ndarray:
        """(N,) values or the scalar of a metric."""
        fn = getattr(self.metrics, name)
        return self.array(fn(self.tensor(truth), self.tensor(predicted), **self._arguments(arguments)))


class _Keras(Stack):
    name = "keras"
    losses, heads, metrics, fits, weighting, forest, methods = (
        keras_losses, keras_heads, keras_metrics, keras_fits, keras_weighting, keras_forest, KERAS_METHODS,
    )  # fmt: skip

    def tensor(self, values):
        return keras.ops.convert_to_tensor(np.asarray(values, "float64"))

    def value_and_gradient(self, fn, output):
        return keras_value_and_gradient(fn, output)

    def head(self, name, features=1, **arguments):
        classes = {**keras_heads.HEADS, "gender": keras_heads.GenderHead}
        head = classes[name](dtype="float64", **arguments)
        head.build((None, features))
        return head

    def load(self, head, weights):
        variables = head_variables(head)
        assert weights.keys() <= variables.keys(), (weights.keys(), variables.keys())
        for key, values in weights.items():
            variables[key].assign(values)

    def weights(self, head, *, trainable=False):
        variables = head_variables(head).items()
        return {key: to_numpy(variable) for key, variable in variables if variable.trainable or not trainable}

    def array(self, values):
        return to_numpy(values)


class _Torch(Stack):
    name = "torch"
    losses, heads, metrics, fits, weighting, forest, methods = (
        torch_losses, torch_heads, torch_metrics, torch_fits, torch_weighting, torch_forest, TORCH_METHODS,
    )  # fmt: skip

    def tensor(self, values):
        return torch.tensor(np.asarray(values, "float64"))

    def value_and_gradient(self, fn, output):
        return torch_value_and_gradient(fn, output)

    def head(self, name, features=1, **arguments):
        classes = {**torch_heads.HEADS, "gender": torch_heads.GenderHead}
        head = classes[name](features, **arguments).double()
        for layer in head.modules():
            if isinstance(layer, torch.nn.Linear) and layer.bias is not None and _starts_at_random(arguments, name):
                layer.bias.data.zero_()  # Dense starts at 0, Linear at random: no claim of a method
        return head

    def load(self, head, weights):
        own = {key: value for key, value in torch_weights(head).items() if key not in weights}
        load_keras_weights(head, {**own, **weights})

    def weights(self, head, *, trainable=False):
        parameters = {path.replace(".", "/").replace("weight", "kernel") for path, _ in head.named_parameters()}
        return {key: value for key, value in torch_weights(head).items() if key in parameters or not trainable}

    def array(self, values):
        return values.detach().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _starts_at_random(arguments, name):
    return "initial_bias" not in arguments and name not in ("regression", "noisy_regression")


KERAS, TORCH = _Keras(), _Torch()
STACKS = (KERAS, TORCH)
