"""An untrained model for tests of the scripts."""

import numpy as np


def save_checkpoint(path, outputs=("age", "gender"), margin=0.25):
    """An untrained model whose heads answer differently to different crops."""
    import keras

    from keras_impl.checkpoint import save_model
    from keras_impl.model import build_model

    keras.utils.set_random_seed(0)
    model = build_model(image_size=32, outputs=outputs, crop={"margin": margin})
    rng = np.random.default_rng(0)
    for head in (model.age_head, model.gender_head):
        for weight in head.trainable_weights if head is not None else ():
            weight.assign(rng.normal(0, 3, weight.shape))
    # Fresh running statistics (variance 1) let almost nothing of the picture through; 0.01 saturates every output.
    for weight in model.backbone.non_trainable_weights:
        if weight.name == "moving_variance":
            weight.assign(np.full(weight.shape, 0.1))
    save_model(model, path)
    return path
