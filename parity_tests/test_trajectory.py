"""Fifty training steps of a small net in both stacks: same start, same batches, same optimizer.

The hyper-parameters are exact in float32, where the stacks store them: anything else differs by 6e-8 at the first step.
"""

import keras
import numpy as np
import pytest
import torch
from torch import nn

from keras_impl.heads import HEADS, GenderHead
from keras_impl.methods import METHODS
from keras_impl.model import FaceModel
from parity_tests import tolerances
from parity_tests.bridge import model_variables, values_of
from torch_ref import heads as torch_heads
from torch_ref import losses as torch_losses
from torch_ref.layers import BatchNorm, SameConv2d
from torch_ref.methods import METHODS as TWINS
from torch_ref.weights import load_keras_weights

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="float64 nets need TensorFlow")
STEPS, BATCH, SIZE, CHANNELS = 50, 16, 12, 8
LR, MOMENTUM, BETA_2, EPSILON, DECAY = 2.0**-7, 0.875, 1 - 2.0**-10, 2.0**-23, 2.0**-5
KERAS_OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(LR / 8, momentum=MOMENTUM),
    "adamw": lambda: keras.optimizers.AdamW(LR, weight_decay=DECAY, beta_1=MOMENTUM, beta_2=BETA_2, epsilon=EPSILON),
}


def keras_net(method):
    images = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 128, offset=-1)(images)
    x = keras.layers.Conv2D(CHANNELS, 3, strides=2, padding="same", name="conv")(x)
    x = keras.layers.BatchNormalization(momentum=0.875, name="norm")(x)
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Activation("silu")(x))
    model = FaceModel(keras.Model(images, features), HEADS[METHODS[method].head](), GenderHead(), method=method)
    model.build()
    return model


class TorchNet(nn.Module):
    """The twin of `keras_net`."""

    def __init__(self, method):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.conv = SameConv2d(3, CHANNELS, 3, stride=2)
        self.backbone.norm = BatchNorm(CHANNELS, momentum=0.875)
        self.age_head = torch_heads.HEADS[TWINS[method].head](CHANNELS)
        self.gender_head = torch_heads.GenderHead(CHANNELS)

    def forward(self, images):
        x = self.backbone.norm(self.backbone.conv(images / 128 - 1))
        features = nn.functional.silu(x).mean(dim=(2, 3))
        return self.age_head(features), self.gender_head(features)


class SgdMomentum:
    """v <- momentum v - lr g; w <- w + v."""

    def __init__(self, parameters):
        self.slots = [(parameter, torch.zeros_like(parameter)) for parameter in parameters]

    @torch.no_grad()
    def step(self):
        for parameter, velocity in self.slots:
            velocity.mul_(MOMENTUM).sub_(LR / 8 * parameter.grad)
            parameter.add_(velocity)


class KerasAdamW:
    """AdamW as Keras writes it: epsilon is added before the bias correction, the decay uses the plain learning rate."""

    def __init__(self, parameters):
        self.slots = [(p, torch.zeros_like(p), torch.zeros_like(p)) for p in parameters]
        self.steps = 0

    @torch.no_grad()
    def step(self):
        self.steps += 1
        rate = LR * (1 - BETA_2**self.steps) ** 0.5 / (1 - MOMENTUM**self.steps)
        for parameter, mean, square in self.slots:
            parameter.sub_(parameter * DECAY * LR)
            mean.add_((parameter.grad - mean) * (1 - MOMENTUM))
            square.add_((parameter.grad**2 - square) * (1 - BETA_2))
            parameter.sub_(rate * mean / (square.sqrt() + EPSILON))


TORCH_OPTIMIZERS = {"sgd": SgdMomentum, "adamw": KerasAdamW}


def make_batches(dtype):
    rng = np.random.default_rng(41)
    for _ in range(STEPS):
        age = np.full((BATCH, 4), np.nan)
        age[:, 0] = rng.uniform(0, 100, BATCH)
        age[rng.random(BATCH) < 0.2, 0] = np.nan
        age[:4, 1] = rng.uniform(1, 5, 4)
        gender = rng.integers(-1, 2, BATCH)
        images = rng.integers(0, 256, (BATCH, SIZE, SIZE, 3)).astype(dtype)
        yield images, age.astype(dtype), gender


def torch_loss(twin, method, images, age, gender, progress):
    age_output, gender_output = twin(torch.tensor(images.transpose(0, 3, 1, 2).copy()))
    age, gender = torch.tensor(age), torch.tensor(gender)
    columns = {"age_std": age[:, 1], "age_low": age[:, 2], "age_high": age[:, 3], "progress": progress}
    extra = {key: columns[key] for key in TWINS[method].needs}
    age_values = TWINS[method].loss(age[:, 0], age_output, **extra, **TWINS[method].params)
    gender_values = torch_losses.gender_cross_entropy(gender, gender_output)
    known_age, known_gender = ~torch.isnan(age[:, 0]), gender >= 0
    return age_values[known_age].mean() + gender_values[known_gender].mean()


def trajectories():
    """Every method once, one with each optimizer and precision; the rest are slow."""
    for method in METHODS:
        for optimizer in KERAS_OPTIMIZERS:
            for dtype in ("float64", "float32"):
                usual = (optimizer, dtype) == ("sgd", "float64") or (method == "dldl_v2" and dtype == "float64")
                yield pytest.param(method, optimizer, dtype, marks=() if usual else pytest.mark.slow)


def train_both(method, optimizer, dtype):
    """Train both nets from one start on the same batches; the losses of each step in each stack."""
    keras.utils.set_random_seed(3)
    model = keras_net(method)
    twin = TorchNet(method).to(getattr(torch, dtype)).train()
    start = values_of(model_variables(model))
    assert {value.dtype for value in start.values()} == {np.dtype(dtype)}
    load_keras_weights(twin, start)
    model.compile(KERAS_OPTIMIZERS[optimizer](), total_steps=STEPS, jit_compile=False)
    twin_optimizer = TORCH_OPTIMIZERS[optimizer](list(twin.parameters()))
    losses, twin_losses = [], []
    for step, (images, age, gender) in enumerate(make_batches(dtype)):
        weights = {"age": ~np.isnan(age[:, 0]), "gender": gender >= 0}
        weights = {name: weight.astype(dtype) for name, weight in weights.items()}
        model.reset_metrics()
        losses.append(model.train_on_batch(images, {"age": age, "gender": gender}, weights, return_dict=True)["loss"])
        twin.zero_grad()
        loss = torch_loss(twin, method, images, age, gender, step / STEPS)
        loss.backward()
        twin_optimizer.step()
        twin_losses.append(loss.item())
    end = values_of(model_variables(model))
    assert np.abs(end["backbone/conv/kernel"] - start["backbone/conv/kernel"]).max() > 1e-4
    return losses, twin_losses


@pytest.mark.parametrize(("method", "optimizer", "dtype"), list(trajectories()))
def test_fifty_steps_agree(method, optimizer, dtype, floatx):
    floatx(dtype)
    losses, twin_losses = train_both(method, optimizer, dtype)
    np.testing.assert_allclose(losses, twin_losses, rtol=tolerances.TRAJECTORY[dtype])
