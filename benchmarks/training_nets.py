"""The nets of benchmarks/training.py and how each competitor builds one; frameworks load only in the functions."""

import json
import zipfile
from dataclasses import dataclass, replace

from faces.errors import UserError
from faces.labels import MAX_AGE, MIN_AGE

AGES = MAX_AGE - MIN_AGE + 1
GENDER_WEIGHT = 5.0  # the values of src/config.yaml
LR, WEIGHT_DECAY, CLIP_NORM = 2e-3, 1e-4, 5.0
TOTAL_STEPS = 100_000  # of the learning rate's schedule, more than any run here takes


@dataclass(frozen=True)
class Net:
    """A backbone at an image size of `size` pixels, trained with batches of `batch` faces."""

    backbone: str
    size: int
    batch: int

    @property
    def name(self):
        return f"{self.backbone}-{self.size}"


# Batches that two cores and 24 GiB manage in a few seconds; all competitors have the same.
NETS = {
    net.name: net
    for net in (
        Net("MobileNetV3Small", 96, 64),
        Net("FaceResNet10", 96, 64),
        Net("EfficientNetB0", 128, 32),
        Net("EfficientNetB0", 224, 16),
        Net("EfficientNetB3", 224, 16),
        Net("ResNet50", 224, 16),
    )
}
GPU_NETS = {net.name: net for net in (Net("EfficientNetB0", 224, 256), Net("ResNet50", 224, 256))}


def net_of_checkpoint(path, batch=64):
    """The Net that a checkpoint holds, without loading a framework; its backbone is None where nothing tells it.

    Raises:
        UserError: the file is not a checkpoint of this program.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))["config"]
        layers = config["backbone"]["config"]["layers"]
        shape = next(layer["config"]["batch_shape"] for layer in layers if layer["class_name"] == "InputLayer")
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError, StopIteration) as error:
        raise UserError(f"Expected a checkpoint of this program. Received: {path} ({error})") from error
    return Net(config["provenance"].get("backbone"), shape[1], batch)


# === Keras ===


def our_model(net, precision="auto"):
    """A FaceModel compiled as `train.py` compiles it with the default configuration but for the precision."""
    from keras_impl.devices import compiles_steps, set_precision
    from keras_impl.model import build_model
    from keras_impl.training.optimizers import make_optimizer, make_schedule

    set_precision(precision)
    model = build_model(net.backbone, image_size=net.size, dropout=0.2, batch_norm_momentum=0.9)
    schedule = make_schedule("cosine", LR, total_steps=TOTAL_STEPS, warmup_steps=TOTAL_STEPS)
    optimizer = make_optimizer("adamw", schedule, weight_decay=WEIGHT_DECAY, clip_norm=CLIP_NORM)
    model.compile(optimizer, gender_weight=GENDER_WEIGHT, total_steps=TOTAL_STEPS, jit_compile=compiles_steps())
    return model


def plain_keras_model(net, jit_compile="auto"):
    """The same net with Keras' own layers, heads, losses and defaults: `compile` is told nothing but what it needs.

    Faces are float32 (N, S, S, 3), labels {"age": (N,) years, "gender": (N,)}.

    Args:
        jit_compile: "auto" is Keras' default; True uses XLA wherever it runs.
    """
    import keras

    images = keras.Input((net.size, net.size, 3))
    features = _plain_backbone(net, images)
    outputs = {
        "age": keras.layers.Dense(AGES, name="age")(features),
        "gender": keras.layers.Dense(2, name="gender")(features),
    }
    model = keras.Model(images, outputs)
    model.compile(
        optimizer=keras.optimizers.AdamW(LR),
        loss={name: keras.losses.SparseCategoricalCrossentropy(from_logits=True) for name in outputs},
        loss_weights={"age": 1.0, "gender": GENDER_WEIGHT},
        jit_compile=jit_compile,
    )
    return model


def _plain_backbone(net, images):
    import keras

    application = getattr(keras.applications, net.backbone, None)
    if application is None:
        from keras_impl.backbones import build_backbone

        return build_backbone(net.backbone, net.size)(images)
    if net.backbone.startswith("ResNet"):
        images = keras.applications.resnet.preprocess_input(images)
    return application(include_top=False, weights=None, input_tensor=images, pooling="avg").output


# === PyTorch ===


def torch_model(net):
    """torch_ref's model with PyTorch's own fused layers where the reference, written for equality with Keras, has
    slower ones of its own."""
    from torch_ref.model import FaceModel

    model = FaceModel(net.backbone)
    _use_native_batch_norm(model.backbone)
    _use_native_activations(model.backbone)
    return model.train()


def _use_native_batch_norm(backbone):
    from torch import nn

    from torch_ref.layers import BatchNorm

    for name, layer in backbone.named_children():
        if isinstance(layer, BatchNorm):
            native = nn.BatchNorm2d(len(layer.gamma), eps=layer.epsilon, momentum=1 - layer.momentum)
            setattr(backbone, name, native)


def _use_native_activations(backbone):
    import torch.nn.functional as F

    from torch_ref.backbones.mobilenet_v3 import hard_sigmoid, hard_swish

    native = {hard_swish: F.hardswish, hard_sigmoid: F.hardsigmoid}
    for name in ("activation", "gate"):
        if getattr(backbone, name, None) in native:
            setattr(backbone, name, native[getattr(backbone, name)])
    backbone.blocks = [
        replace(block, activation=native.get(block.activation, block.activation))
        if hasattr(block, "activation")
        else block
        for block in getattr(backbone, "blocks", [])
    ]


def torch_loss(outputs, age, gender):
    """Cross-entropy over the ages plus GENDER_WEIGHT times that over the genders; age (N,) whole years."""
    import torch.nn.functional as F

    return F.cross_entropy(outputs["age"], age) + GENDER_WEIGHT * F.cross_entropy(outputs["gender"], gender)
