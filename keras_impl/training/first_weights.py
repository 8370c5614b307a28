"""The model a training starts from: from scratch, with ImageNet weights, or from a checkpoint."""

from pathlib import Path
from typing import Any

import keras

from faces.errors import UserError, WeightsUnavailable, one_line
from keras_impl.backbones import describe_weights
from keras_impl.checkpoint import load_model
from keras_impl.model import FaceModel, build_model

# Arguments of a head that do not change what its trained weights mean.
START_KEYS = ("name", "dtype", "decode", "initial_bias", "initial_noise", "leaf_mean", "leaf_variance")


def make_model(
    backbone: str, method: str, *, weights: str | Path | None = "auto", **settings: Any
) -> tuple[FaceModel, str]:
    """(FaceModel, a sentence on its first weights).

    Args:
        backbone: its name.
        method: its name.
        weights: "auto": ImageNet weights if they can be had, else from scratch, and the sentence says why; "imagenet":
            the same, but an error where they cannot be had; None: from scratch; a `.keras` path: fine-tune from it,
            also at another image size.
        settings: further arguments of `build_model`, `image_size` among them.
    """
    if weights is None:
        return build_model(backbone, method, **settings), "from scratch"
    if str(weights).endswith(".keras"):
        return _from_checkpoint(weights, backbone, method, settings)
    try:
        return build_model(backbone, method, weights="imagenet", **settings), describe_weights(backbone)
    except WeightsUnavailable as error:
        reason = one_line(error)
        if weights == "imagenet":
            raise UserError(f"The ImageNet weights of {backbone} cannot be had: {reason}") from error
    return build_model(backbone, method, **settings), f"from scratch, the ImageNet weights cannot be had ({reason})"


def _from_checkpoint(path, backbone, method, settings):
    source = load_model(Path(path))
    held = source.provenance.get("backbone")
    if held != backbone:
        raise UserError(f"{path} holds {held}, the configuration asks for {backbone}. Set model.model_name={held}")
    model = build_model(_adapted(source, settings["image_size"], path), method, **settings)
    kept = [name for name in model.output_keys if _copy_head(source, model, f"{name}_head")]
    heads = f"the {' and '.join(kept)} head" if kept else "no head"
    size = "" if source.image_size == settings["image_size"] else f" learnt at {source.image_size} px"
    return model, f"{path} (backbone and {heads}{size})"


def _adapted(source, size, path):
    """The backbone of a FaceModel with its weights, for images of `size` pixels and in the precision of this run;
    checkpoints hold float32."""

    def in_this_precision(layer):
        precision = {"dtype": keras.config.dtype_policy()} if isinstance(layer, keras.layers.Layer) else {}
        return type(layer).from_config({**layer.get_config(), **precision})

    # The graph itself is reused: rebuilding it by name can lose layers that depend on its first weights.
    try:
        adapted = keras.models.clone_model(
            source.backbone,
            input_tensors=keras.Input((size, size, 3), name="images"),
            clone_function=in_this_precision,
        )
        adapted.set_weights(source.backbone.get_weights())
    except ValueError as error:
        reason = one_line(error, kind=False)
        raise UserError(
            f"{path} learnt at {source.image_size} px and cannot go on at {size} px ({reason}). Set "
            f"model.img_size={source.image_size}"
        ) from error
    return adapted


def _copy_head(source, target, name):
    """Copy a head's weights where both models have the same one; returns whether it did."""
    old, new = getattr(source, name), getattr(target, name)
    if old is None or type(old) is not type(new) or not _same_meaning(old, new):
        return False
    new.set_weights(old.get_weights())
    return True


def _same_meaning(old, new):
    """Whether one head's weights mean the same in the other; their start values do not matter, nor do decodes."""
    old, new = ({k: v for k, v in head.get_config().items() if k not in START_KEYS} for head in (old, new))
    return old == new
