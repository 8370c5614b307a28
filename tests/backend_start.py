"""A process of another backend of Keras, in which TensorFlow is not installed and the word Tiny is a backbone.

python -m tests.backend_start SCRIPT [ARGUMENT ...] runs a script of the repository there.
"""

import runpy
import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class _WithoutTensorFlow:
    """Finds what Python finds, but for tensorflow."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.partition(".")[0] == "tensorflow" else PathFinder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(PathFinder, name)


def tiny(*, include_top, weights, input_tensor, pooling):
    """A backbone that compiles in seconds and holds a BatchNormalization."""
    import keras

    assert not include_top and pooling == "avg"
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(input_tensor)
    maps = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(scaled)
    return keras.Model(input_tensor, keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(maps)))


def prepare():
    """Hide TensorFlow, then make Tiny known."""
    sys.meta_path[sys.meta_path.index(PathFinder)] = _WithoutTensorFlow()
    assert find_spec("tensorflow") is None and "tensorflow" not in sys.modules
    from keras_impl.backbones import BACKBONES, Backbone

    BACKBONES["Tiny"] = Backbone(tiny, min_size=16)


def train(*overrides, stop_in=None):
    """History of a short training in this process, a list of dicts; an interruption ends it in the middle of epoch
    `stop_in`, 0 the first."""
    import pandas as pd

    from keras_impl.experiment.run import run
    from keras_impl.training.recorder import RunRecorder
    from tests.configurations import changed_values

    def stop(self, batch, logs=None):
        if batch == 1 and len(self.history) == stop_in:
            raise KeyboardInterrupt

    values, text = changed_values(*overrides)
    RunRecorder.on_train_batch_end = stop
    try:
        folder = run(values, config_text=text)
    except KeyboardInterrupt:
        return None
    return pd.read_csv(folder / "history.csv").drop(columns="seconds").to_dict("records")


if __name__ == "__main__":
    prepare()
    sys.argv = sys.argv[1:]
    runpy.run_path(str(ROOT / sys.argv[0]), run_name="__main__")
