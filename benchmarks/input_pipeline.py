"""What the input pipeline costs beside the training step: python benchmarks/input_pipeline.py [--db utkface]

The same model is trained from (a) one batch kept in memory as tensors, (b) data.cache=memory, (c) data.cache=none, each
without augmentation, and (d) data.cache=memory with the default augmentation. The variants take turns, round after
round, and medians are printed, so a machine whose speed drifts does no harm. Peak memory is that of a process of its
own that only feeds batches, for two sizes of the data set.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# isort: split

import keras
import numpy as np

from faces.images import read_and_resize
from keras_impl.input.augment import NO_AUGMENTATION, make_augmenter
from keras_impl.input.face_data import image_root, load_faces
from keras_impl.input.images import FaceImages
from keras_impl.input.labels import make_arrays, make_labels
from keras_impl.input.tf_data import make_training_dataset
from keras_impl.model import build_model

DEFAULT_AUGMENTATION = replace(NO_AUGMENTATION, flip=1, shift=0.06, scale=0.1, rotate=8, brightness=0.1, contrast=0.2)
ROWS = 4000  # a part of the data set is enough for the speed


def parse_arguments():
    parser = argparse.ArgumentParser(description="Cost of the input pipeline beside the training step.")
    parser.add_argument("--db", default="sample")
    parser.add_argument("--model_name", default="MobileNetV3Small")
    parser.add_argument("--img_size", type=int, default=96)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=12, help="steps of each turn")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--memory_only", choices=("memory", "disk", "none"), help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, default=ROWS, help=argparse.SUPPRESS)
    return parser.parse_args()


def faces_of(arguments, rows):
    table, _ = load_faces(arguments.db, limit=rows)
    return [image_root(arguments.db) / path for path in table["img_path"]], make_labels(table)


def make_dataset(arguments, paths, labels, cache, augment, seed=0):
    images = FaceImages(paths, arguments.img_size, cache=cache, progress=False)
    arrays = make_arrays(labels, method="cross_entropy", outputs=("age", "gender"))
    steps = len(paths) // arguments.batch_size
    return make_training_dataset(
        images,
        arrays,
        batch_size=arguments.batch_size,
        seed=seed,
        epochs=range(10_000),
        steps=steps,
        augment=make_augmenter(DEFAULT_AUGMENTATION, seed) if augment else None,
    )


def measure_steps(arguments):
    """{variant: seconds a step of each round}."""
    import tensorflow as tf

    paths, labels = faces_of(arguments, arguments.rows)
    datasets = {
        "cache=memory": make_dataset(arguments, paths, labels, "memory", augment=False),
        "cache=none": make_dataset(arguments, paths, labels, "none", augment=False),
        "cache=memory, augmented": make_dataset(arguments, paths, labels, "memory", augment=True),
    }
    batch = next(iter(datasets["cache=memory"]))
    datasets = {"in-memory tensors": tf.data.Dataset.from_tensors(batch).repeat(), **datasets}
    model = build_model(arguments.model_name, image_size=arguments.img_size, batch_norm_momentum=0.9)
    model.compile(keras.optimizers.AdamW(1e-3), jit_compile=False)
    model.make_train_function()
    iterators = {name: iter(dataset) for name, dataset in datasets.items()}
    for iterator in iterators.values():  # tracing, and the first fill of the prefetch buffers
        for _ in range(4):
            model.train_function(iterator)
    seconds = {name: [] for name in iterators}
    for _ in range(arguments.rounds):
        for name, iterator in iterators.items():
            model.train_function(iterator)  # the pause of the other variants' turns filled this one's buffer
            started = time.perf_counter()
            for _ in range(arguments.steps):
                logs = model.train_function(iterator)
            float(logs["loss"])
            seconds[name].append((time.perf_counter() - started) / arguments.steps)
    return seconds


def measure_decode(arguments):
    """Images a second of read_and_resize on one thread."""
    paths, _ = faces_of(arguments, min(arguments.rows, 2000))
    for path in paths[:200]:
        read_and_resize(path, arguments.img_size)
    started = time.perf_counter()
    for path in paths:
        read_and_resize(path, arguments.img_size)
    return len(paths) / (time.perf_counter() - started)


def feed_only(arguments):
    """Peak memory in MiB of a process that feeds every face once."""
    paths, labels = faces_of(arguments, arguments.rows)
    iterator = iter(make_dataset(arguments, paths, labels, arguments.memory_only, augment=False))
    for _ in range(len(paths) // arguments.batch_size):
        next(iterator)
    # Not getrusage: on Linux its peak starts at that of the process that started this one.
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def peak_memory(arguments, cache, rows):
    command = [sys.executable, __file__, "--db", arguments.db, "--memory_only", cache, "--rows", str(rows)]
    command += ["--img_size", str(arguments.img_size), "--batch_size", str(arguments.batch_size)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main():
    arguments = parse_arguments()
    if arguments.memory_only:
        print(json.dumps(feed_only(arguments)))
        return
    seconds = measure_steps(arguments)
    base = seconds["in-memory tensors"]
    print(f"{arguments.model_name}, {arguments.img_size} px, batch {arguments.batch_size}, {os.cpu_count()} cores")
    print(f"{'input':26}{'ms a step':>12}{'images/s':>12}{'ratio to tensors':>20}")
    for name, values in seconds.items():
        ratio = statistics.median(np.array(values) / np.array(base))
        median = statistics.median(values)
        print(f"{name:26}{1000 * median:12.1f}{arguments.batch_size / median:12.0f}{ratio:20.3f}")
    print(f"\ndecode and resize alone, one thread: {measure_decode(arguments):.0f} images/s")
    for cache in ("memory", "disk", "none"):
        peaks = [peak_memory(arguments, cache, rows) for rows in (arguments.rows // 4, arguments.rows)]
        print(
            f"peak memory, cache={cache}: {peaks[0]:.0f} MiB of {arguments.rows // 4} faces, "
            f"{peaks[1]:.0f} MiB of {arguments.rows} faces"
        )


if __name__ == "__main__":
    main()
