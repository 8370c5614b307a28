"""The Keras 3 product: backbones, heads, losses, methods, metrics, model, input pipeline, training, predictor."""
