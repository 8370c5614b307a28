"""One format of benchmarks/inference.py: loads a model file, then predicts drawn faces whenever it is asked.

Started by `benchmarks.competitors.Competitor`, never by hand.
"""

import json
import re
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.competitors import installed_versions, serve

PACKAGES = {
    "keras": ("keras", "tensorflow"),
    "onnx": ("onnxruntime",),
    "litert": ("ai-edge-litert",),
    "litert int8": ("ai-edge-litert",),
    "openvino": ("openvino",),
}


def main():
    settings = json.loads(sys.argv[1])
    serve(lambda: prepare(**settings))


def prepare(kind, file, size, batch):
    """(facts of the start, fn(count, calls) -> seconds of each call and the peak memory so far).

    Args:
        kind: key of PACKAGES. file: of the model. size: side of a face in pixels. batch: most faces at a time.
    """
    faces = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    start = time.perf_counter()
    predict = load_keras(file) if kind == "keras" else load_export(kind, file)
    require_answer(predict(faces[:1]), 1)
    facts = {
        "start_seconds": time.perf_counter() - start,
        "file_mib": file_size(Path(file)) / 2**20,
        "versions": installed_versions(PACKAGES[kind]),
    }
    require_answer(predict(faces), batch)  # also lets it prepare for the larger batch

    def answer(count, calls):
        return {"seconds": [timed(predict, faces[:count]) for _ in range(calls)], "peak_mib": peak_mib()}

    return facts, answer


def load_keras(file):
    from keras_impl.predictor import Predictor

    predictor = Predictor.load(file)
    return lambda faces: predictor(faces, batch_size=len(faces))


def load_export(kind, file):
    """The format's own runtime; neither Keras nor TensorFlow is loaded."""
    from keras_impl.export.formats import FORMATS

    return FORMATS[kind.split()[0]].load(file)


def require_answer(prediction, count):
    """ValueError unless there is a finite age for every face."""
    ages = np.asarray(prediction["age"])
    if ages.shape != (count,) or not np.isfinite(ages).all():
        raise ValueError(f"Expected {count} finite ages. Received: {ages.shape}, {ages.ravel()[:3]}")


def timed(predict, faces):
    start = time.perf_counter()
    predict(faces)
    return time.perf_counter() - start


def file_size(path):
    """Bytes of a model's file, and of the weights that OpenVINO keeps beside it."""
    weights = path.with_suffix(".bin")
    return path.stat().st_size + (weights.stat().st_size if path.suffix == ".xml" else 0)


def peak_mib():
    """Largest resident memory of this process so far."""
    # Not getrusage: on Linux its peak starts at that of the process that started this one.
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024


if __name__ == "__main__":
    main()
