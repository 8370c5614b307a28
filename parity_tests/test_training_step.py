"""The training that a user starts, `keras_impl.training.fit.fit`, beside its twin: same start, same mixed batches.

Here are what the trajectories of a bare net leave out: the fused batch normalisation in training mode (under
TensorFlow, in float32), the optimizers with clipping, decay, schedule and average, sample weights by smoothed
frequency, mixup, the smoothed focal gender loss, ages that are known as intervals only, a frozen first phase, the
pixels' preprocessing. The twin computes in float64 from the label table; of the product's batches it only takes the
pixels and which two faces each shows.
"""

from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pandas as pd
import pytest

from faces.methods import DESCRIPTIONS
from keras_impl.backbones import BACKBONES, Backbone
from keras_impl.backbones.base import minus_one_to_one
from keras_impl.backbones.face_resnet import FaceResNet
from keras_impl.checkpoint import load_model
from keras_impl.input.augment import NO_AUGMENTATION, make_augmenter
from keras_impl.input.batches import epoch_order
from keras_impl.input.labels import make_labels
from keras_impl.input.parts import Part
from keras_impl.methods import fitted_settings
from keras_impl.model import build_model
from keras_impl.training.averaging import AveragedWeights
from keras_impl.training.fit import fit
from keras_impl.training.optimizers import OPTIMIZERS, SCHEDULES
from keras_impl.training.recipe import Recipe
from keras_impl.training.recorder import CHECKPOINT_NAME
from parity_tests import tolerances, torch_training
from parity_tests.bridge import model_variables, values_of
from tests.configurations import changed_values
from tests.method_cases import loss_params
from torch_ref.backbones import BACKBONES as TWIN_BACKBONES
from torch_ref.backbones.face_resnet import FaceResNet as TorchFaceResNet
from torch_ref.layers import BatchNorm
from torch_ref.methods import METHODS as TWINS
from torch_ref.model import FaceModel
from torch_ref.weights import keras_weights, load_keras_weights

FACES, BATCH, SIZE, EPOCHS = 36, 12, 16, 4
STEPS = FACES // BATCH
MOMENTUM = 0.75  # of the moving statistics
# Not "inverse", which takes counts below 5 as 5: of so few faces all ages would weigh the same.
WEIGHTING = {"scheme": "sqrt_inverse", "lds": True, "kernel": "gaussian", "kernel_size": 5, "kernel_sigma": 2.0}
GENDER = {"label_smoothing": 0.125, "focal_gamma": 1.5}
SHAPE = (8,), (1,)  # channels and blocks of the stages
# A rate at which twelve steps move the weights far; Adam's steps are as large as its rate.
RATES = {"sgd": 0.03, "adam": 0.01, "adamw": 0.01}


def narrow_nets(monkeypatch):
    """A net of the family FaceResNet that trains in no time, as a word of both stacks."""
    monkeypatch.setitem(BACKBONES, "Narrow", Backbone(partial(FaceResNet, *SHAPE), minus_one_to_one, min_size=SIZE))
    monkeypatch.setitem(TWIN_BACKBONES, "Narrow", partial(TorchFaceResNet, *SHAPE))


def make_part():
    """Training faces whose labels are known, known roughly and unknown."""
    rng = np.random.default_rng(51)
    age = np.round(rng.gamma(4, 8, FACES), 1)
    low = np.where(rng.random(FACES) < 0.4, np.floor(age / 10) * 10, np.nan)
    high = np.where(rng.random(FACES) < 0.3, np.floor(age / 10) * 10 + 9, np.nan)
    table = pd.DataFrame(
        {
            "apparent_age": np.where(rng.random(FACES) < 0.3, np.nan, age),
            "apparent_age_std": np.where(rng.random(FACES) < 0.5, np.nan, rng.uniform(1, 6, FACES)),
            "age_low": low,
            "age_high": high,
            "gender": rng.choice(["female", "male", None], FACES),
        }
    )
    images = rng.integers(0, 256, (FACES, 4, 4, 3)) * rng.uniform(0.2, 1, (FACES, 1, 1, 3))
    images = images.repeat(SIZE // 4, 1).repeat(SIZE // 4, 2) + rng.normal(0, 8, (FACES, SIZE, SIZE, 3))
    weights = rng.choice([1.0, 0.5], FACES).astype(np.float32)
    labels = make_labels(table, age_label="apparent")
    return Part(table, labels, weights, images=np.clip(images, 0, 255).astype(np.uint8))


def make_recipe(optimizer, **values):
    """The section `train` as it ships, but for what makes the training short."""
    section = changed_values()[0]["train"]
    short = {"epochs": EPOCHS, "batch_size": BATCH, "verbose": 0, "lr": RATES[optimizer], "weight_decay": 0.5}
    gender = {f"gender_{key}": value for key, value in GENDER.items()}
    return Recipe(**{**section, **short, **gender, "optimizer_name": optimizer, **values})


def train_product(method, recipe, mixup, folder):
    """(model, its first weights, history, labels of the part) after `fit`."""
    keras.utils.set_random_seed(4)
    part = make_part()
    settings = {"leaf_update_steps": 10**6} if method == "deep_regression_forest" else {}
    params, head = fitted_settings(method, settings, part.labels.age[:, 0], 0, 100)
    model = build_model(
        "Narrow",
        method,
        image_size=SIZE,
        batch_norm_momentum=MOMENTUM,
        method_params={**settings, **params},
        head_params=head,
    )
    start = values_of(model_variables(model))
    strength = replace(NO_AUGMENTATION, mixup=mixup)
    parts = {"train": part, "val": Part(part.table[:0], make_labels(part.table[:0]), part.weights[:0])}
    recorder = fit(model, parts, recipe, folder, augmentation=strength, weighting=WEIGHTING)
    return model, start, recorder.history, part, strength


class TwinTraining:
    """The twin of `fit`, phase by phase."""

    def __init__(self, method, recipe, part, strength, start):
        self.recipe, self.part = recipe, part
        self.twin = FaceModel("Narrow", method).double().train()
        load_keras_weights(self.twin, {key: value.astype("float64") for key, value in start.items()})
        for layer in self.twin.modules():
            if isinstance(layer, BatchNorm):
                layer.momentum = MOMENTUM
        # The table once more, in the columns that the twin's losses know.
        columns = ["apparent_age", "apparent_age_std", "age_low", "age_high"]
        gender = part.table["gender"].map({"female": 0, "male": 1}).fillna(-1).astype(int)
        age = part.table[columns].to_numpy(np.float32).astype(np.float64)
        needs = TWINS[method].needs
        self.labels = torch_training.Labels(age, gender.to_numpy(), part.weights, needs, WEIGHTING)
        assert self.labels.weights["age"].max() > 2, "weights that are ignored would go unnoticed"
        self.params = {"age": loss_params(TWINS[method], {}, age[:, 0]), "gender": GENDER}
        age_factor = DESCRIPTIONS[method].get("loss_weight", 1.0) if recipe.age_weight is None else recipe.age_weight
        self.factors = {"age": age_factor, "gender": recipe.gender_weight}
        self.augment = make_augmenter(strength, recipe.seed)

    def run(self):
        """(mean loss of each epoch, the twin with averaged weights after the best of them)."""
        recipe, losses, averaged = self.recipe, [], None
        for frozen in (True, False):
            epochs = range(recipe.freeze_epochs) if frozen else range(recipe.freeze_epochs, recipe.epochs)
            self.twin.backbone.requires_grad_(not frozen).train(not frozen)
            optimizer = torch_training.Optimizer(
                self.twin,
                recipe.optimizer_name,
                decay=recipe.weight_decay,
                clip=recipe.clip_norm,
                momentum=recipe.ema,
            )
            for epoch in epochs:
                losses.append(np.mean([self.step(optimizer, epoch, step) for step in range(STEPS)]))
                if recipe.ema and losses[-1] == min(losses):
                    averaged = self.averaged(optimizer)
        return losses, averaged

    def step(self, optimizer, epoch, step):
        """The loss of one step before it is taken."""
        done, total = epoch * STEPS + step, self.recipe.epochs * STEPS
        rows = epoch_order(self.recipe.seed, epoch, FACES)[step * BATCH :][:BATCH]
        images, labels, _ = self.augment(epoch, step, self.part.images[rows], {"row": rows}, {})
        loss = torch_training.batch_loss(
            self.twin,
            torch_training.channels_first(images),
            self.labels,
            rows,
            labels.get("row_partner", rows),
            labels.get("mix_weight", np.ones(BATCH)),
            params=self.params,
            factors=self.factors,
            progress=done / total,
        )
        self.twin.zero_grad()
        loss.backward()
        rate = torch_training.SCHEDULES[self.recipe.schedule]
        optimizer.step(rate(self.recipe.lr, done, total, round(self.recipe.warmup_epochs * STEPS)))
        return loss.item()

    def averaged(self, optimizer):
        """The twin with averaged weights, its statistics measured on the faces that the product measures them on."""
        measured = AveragedWeights(self.part.images, batch_size=BATCH, seed=self.recipe.seed)._batches
        batches = [torch_training.channels_first(self.part.images[rows]) for rows in measured]
        return optimizer.averaged(self.twin, batches)


def compare(actual, expected, start):
    """Every variable, to a share of how far the largest of its entries has moved."""
    assert actual.keys() == expected.keys() == start.keys()
    for key, value in actual.items():
        moved = np.abs(expected[key] - start[key]).max()
        difference = np.abs(value - expected[key]).max()
        kind = "statistics" if "moving" in key else "weights"
        assert difference <= tolerances.TRAINING[kind] * moved, (key, difference / moved)


def train_both(method, recipe, mixup, folder):
    """Train the product and its twin, and compare the loss of each epoch, all weights and what the checkpoint holds."""
    model, start, history, part, strength = train_product(method, recipe, mixup, folder)
    training = TwinTraining(method, recipe, part, strength, start)
    losses, averaged = training.run()
    np.testing.assert_allclose([row["loss"] for row in history], losses, rtol=tolerances.TRAINING["loss"])
    compare(values_of(model_variables(model)), keras_weights(training.twin), start)
    if recipe.ema:
        saved = load_model(folder / CHECKPOINT_NAME)
        compare(values_of(model_variables(saved)), keras_weights(averaged), start)


# (method, optimizer, further values of the section `train`, alpha of mixup): each word of optimizer and schedule.
CASES = [
    ("interval", "sgd", {"schedule": "cosine", "warmup_epochs": 1.0, "clip_norm": 5.0}, 0.4),
    ("dldl_v2", "adam", {"schedule": "steps", "clip_norm": 2.0, "ema": 0.75}, 0.0),
    # The least noise of balanced MSE is no kernel, so it must not decay.
    ("balanced_mse", "adamw", {"schedule": "constant", "freeze_epochs": 1, "ema": 0.875, "gender_weight": 3.0}, 0.4),
]


def test_every_word_is_trained():
    assert {optimizer for _, optimizer, _, _ in CASES} == set(OPTIMIZERS) == set(torch_training.RULES)
    assert {settings["schedule"] for _, _, settings, _ in CASES} == set(SCHEDULES) == set(torch_training.SCHEDULES)


@pytest.mark.parametrize(("method", "optimizer", "settings", "mixup"), CASES)
def test_training_agrees(method, optimizer, settings, mixup, monkeypatch, tmp_path):
    narrow_nets(monkeypatch)
    train_both(method, make_recipe(optimizer, **settings), mixup, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("method", DESCRIPTIONS)
def test_training_of_every_method_agrees(method, monkeypatch, tmp_path):
    narrow_nets(monkeypatch)
    train_both(method, make_recipe("adamw", schedule="cosine", ema=0.75), 0.4, tmp_path)
