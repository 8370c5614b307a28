"""The training step once more in plain torch, written from the papers and from what Keras documents of its rules.

It stands here and not in `torch_ref`, which never trains: only the parity tests have a use for it.
"""

import copy
import math
from collections.abc import Callable

import numpy as np
import torch

from torch_ref import losses
from torch_ref.layers import BatchNorm
from torch_ref.weighting import age_weights

# === Learning rates ===


def cosine_rate(lr, step, total, warmup):
    """Linear from lr / warmup to lr, then half a cosine down to 0 at `total` (Loshchilov and Hutter, ICLR 2017)."""
    warmup = min(warmup, total - 1)
    if step < warmup:
        return lr * (1 / warmup + (1 - 1 / warmup) * step / warmup)
    return lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def quarter_rate(lr, step, total, warmup):
    """A fifth after each quarter of the training."""
    return lr * 0.2 ** (4 * step // total)


SCHEDULES = {"constant": lambda lr, step, total, warmup: lr, "steps": quarter_rate, "cosine": cosine_rate}

# === Optimizers ===


class Nesterov:
    """v <- .9 v - lr g; w <- w + .9 v - lr g (Sutskever et al., On the Importance of Initialization and Momentum in
    Deep Learning, ICML 2013, with the weights at the look-ahead point)."""

    def __init__(self):
        self.velocity = 0.0

    def change(self, gradient, rate):
        self.velocity = 0.9 * self.velocity - rate * gradient
        return 0.9 * self.velocity - rate * gradient


class Adam:
    """Algorithm 1 in the order of section 2 (Kingma and Ba, ICLR 2015): epsilon beside the uncorrected root."""

    def __init__(self):
        self.steps, self.mean, self.square = 0, 0.0, 0.0

    def change(self, gradient, rate):
        self.steps += 1
        self.mean = 0.9 * self.mean + 0.1 * gradient
        self.square = 0.999 * self.square + 0.001 * gradient**2
        rate = rate * math.sqrt(1 - 0.999**self.steps) / (1 - 0.9**self.steps)
        return -rate * self.mean / (self.square.sqrt() + 1e-7)


# AdamW (Loshchilov and Hutter, ICLR 2019) is Adam whose decay stands outside of it, as it does here for all.
RULES: dict[str, Callable] = {"sgd": Nesterov, "adam": Adam, "adamw": Adam}


class Optimizer:
    """One phase of a training: clips, decays, steps and averages.

    Args:
        module: what is trained; parameters without a gradient stay.
        name: key of RULES.
        decay: share of a kernel that goes at each step, times the rate.
        clip: largest norm of the whole gradient, None for no clipping.
        momentum: of the average of the weights, None for none.
    """

    def __init__(self, module, name, *, decay, clip, momentum):
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self.rules = [RULES[name]() for _ in self.parameters]
        self.decay, self.clip, self.momentum = decay, clip, momentum
        self.averages = None

    @torch.no_grad()
    def step(self, rate):
        """Move the parameters at a learning rate."""
        norm = math.sqrt(sum(float((parameter.grad**2).sum()) for parameter in self.parameters))
        shrink = self.clip / norm if self.clip and norm > self.clip else 1.0
        for parameter, rule in zip(self.parameters, self.rules, strict=True):
            is_kernel = parameter.ndim > 1
            kept = 1 - rate * self.decay if is_kernel else 1.0
            parameter.copy_(kept * parameter + rule.change(shrink * parameter.grad, rate))
        if self.momentum is not None:
            self._average()

    def _average(self):
        if self.averages is None:  # of one vector the average is that vector
            self.averages = [parameter.clone() for parameter in self.parameters]
        for average, parameter in zip(self.averages, self.parameters, strict=True):
            average.copy_(self.momentum * average + (1 - self.momentum) * parameter)

    @torch.no_grad()
    def averaged(self, module, batches):
        """A copy of the module with the averages in it, and with the mean of the batch statistics that belong to them.

        Args:
            module: what was trained.
            batches: images (B, 3, S, S) to measure the statistics on.
        """
        place = {id(parameter): index for index, parameter in enumerate(self.parameters)}
        twin = copy.deepcopy(module)
        for own, parameter in zip(module.parameters(), twin.parameters(), strict=True):
            if id(own) in place:
                parameter.copy_(self.averages[place[id(own)]])
        measure_statistics(twin, batches)
        return twin


def measure_statistics(module, batches):
    """Moving mean and biased moving variance as plain means over batches."""
    sums = {layer: [0.0, 0.0] for layer in module.modules() if isinstance(layer, BatchNorm) and layer.training}

    def add(layer, inputs):
        for index, value in enumerate((inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3), correction=0))):
            sums[layer][index] = sums[layer][index] + value / len(batches)

    hooks = [layer.register_forward_pre_hook(add) for layer in sums]
    for images in batches:
        module.backbone(images)
    for hook in hooks:
        hook.remove()
    for layer, (mean, variance) in sums.items():
        layer.moving_mean.copy_(mean)
        layer.moving_variance.copy_(variance)


# === Loss ===


class Labels:
    """What is known of N training faces, and how much each counts.

    Args:
        age: (N, 4) years: age, spread of the votes, first and last age of an interval; NaN unknown.
        gender: (N,) index, -1 unknown.
        weight: (N,) of every loss of a face.
        needs: what the method needs besides the age.
        weighting: arguments of `torch_ref.weighting.age_weights`.
    """

    def __init__(self, age, gender, weight, needs, weighting):
        self.age, self.gender = torch.tensor(age, dtype=torch.float64), torch.tensor(gender)
        known = ~torch.isnan(self.age)
        exact, either_end = known[:, 0], known[:, 2] | known[:, 3]
        weight = torch.tensor(weight, dtype=torch.float64)
        known_age, groups = exact, {}
        if "age_low" in needs:
            known_age = exact | either_end
            low, high = self.age[:, 2].nan_to_num(0), self.age[:, 3].nan_to_num(100)  # the ends of the grid
            groups = {"age_low": low.where(either_end, math.nan), "age_high": high.where(either_end, math.nan)}
        age_weight = weight * known_age * age_weights(self.age[:, 0], **groups, **weighting)
        weights = {"age": age_weight, "gender": weight * (self.gender >= 0)}
        self.weights = {name: each / each[each > 0].mean() for name, each in weights.items()}


def sample_losses(twin, outputs, labels, rows, params, progress):
    """{"age": (B,), "gender": (B,)} losses of some faces.

    Args:
        twin: a `torch_ref.model.FaceModel`.
        outputs: of the twin.
        labels: `Labels`.
        rows: (B,) which faces.
        params: {"age": parameters of the method's loss, "gender": of the gender loss}.
        progress: share of the training that is over.
    """
    age, std, low, high = labels.age[rows].T
    columns = {"age_std": std, "age_low": low, "age_high": high, "progress": progress}
    extra = {key: columns[key] for key in twin.method.needs}
    return {
        "age": twin.method.loss(age, outputs["age"], **extra, **params["age"]),
        "gender": losses.gender_cross_entropy(labels.gender[rows], outputs["gender"], **params["gender"]),
    }


def batch_loss(twin, images, labels, rows, partners, share, *, params, factors, progress):
    """The training loss of a batch: mixup's losses (Zhang et al., ICLR 2018) of the faces whose two labels are known,
    each times its own weight, averaged over the number of these faces.

    Args:
        images: (B, 3, S, S) mixed.
        partners: (B,) the other face of each.
        share: (B,) of the first face.
        factors: {"age": factor of its loss, "gender": likewise}.
    """
    outputs = twin(images)
    own, other = (sample_losses(twin, outputs, labels, each, params, progress) for each in (rows, partners))
    share = torch.tensor(share, dtype=torch.float64)
    total = 0.0
    for name, factor in factors.items():
        weight, its_weight = (labels.weights[name][each] for each in (rows, partners))
        known = (weight > 0) & (its_weight > 0)
        values = share * weight * own[name] + (1 - share) * its_weight * other[name]
        total = total + factor * values[known].mean()
    return total


def channels_first(images):
    """uint8 (B, S, S, 3) -> float64 (B, 3, S, S)."""
    return torch.tensor(np.ascontiguousarray(images.transpose(0, 3, 1, 2)), dtype=torch.float64)
