"""What bounds a training step on a CPU: the step as train.py runs it, beside itself with one thing changed.

python benchmarks/step_variants.py
python benchmarks/step_variants.py --nets FaceResNet10-96 --rounds 7

Every variant has a process of its own and they take turns; printed are medians of images a second and their ratio to
the step of train.py.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.competitors import (
    Competitor,
    describe_machine,
    machine_line,
    require_at_least,
    serve,
    settle,
    take_turns,
)
from benchmarks.training_nets import NETS, Net, our_model
from faces.errors import UserError
from faces.startup import run_main

DEFAULT = ["MobileNetV3Small-96", "FaceResNet10-96"]
BASE = "as train.py"
VARIANTS = {
    BASE: {},
    "batch normalisation by Keras' layers": {"fused": False},
    "mixed precision (bfloat16)": {"precision": "on"},
    "mixed precision, Keras' layers": {"precision": "on", "fused": False},
    "XLA": {"xla": True},
    "plain SGD, nothing clipped": {"optimizer": "sgd"},
    "half the batch": {"batch_factor": 0.5},
    "twice the batch": {"batch_factor": 2},
    "one operation at a time": {"inter_op": 1},
    "one thread": {"inter_op": 1, "intra_op": 1},
}
PATIENCE = 600  # seconds for a first step, of which XLA's compilation is the longest


def main(arguments=None):
    arguments = parse_arguments(arguments)
    machine = describe_machine()
    print(machine_line(machine))
    for name in arguments.nets:
        print_table(name, measure(NETS[name], arguments))


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--nets", nargs="+", default=DEFAULT, help=f"any of {', '.join(NETS)} (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each variant (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3, help="length of a turn (default: %(default)s)")
    arguments = parser.parse_args(arguments)
    require_at_least(arguments, rounds=1, seconds=0.01)
    if unknown := set(arguments.nets) - set(NETS):
        raise UserError(f"Unknown net {sorted(unknown)[0]!r}. Expected any of: {', '.join(NETS)}")
    return arguments


def measure(net, arguments):
    """({variant: images a second of each turn}, {variant: why it failed}) of a Net."""
    with tempfile.TemporaryFile("w") as log:
        competitors = {
            name: Competitor(name, "benchmarks.step_variants", {**vars(net), **changes, "turn": arguments.seconds}, log)
            for name, changes in VARIANTS.items()
        }
        try:
            for competitor in competitors.values():
                competitor.receive(PATIENCE)
            runners = {name: (lambda c=competitor: c.ask(PATIENCE)) for name, competitor in competitors.items()}
            return take_turns(runners, arguments.rounds)
        finally:
            for competitor in competitors.values():
                competitor.close()


def print_table(name, measured):
    values, failed = measured
    base = statistics.median(values[BASE]) if BASE in values else None
    print(f"\n{name}\n\n| step | images/s | lowest to highest | ratio |\n| --- | --- | --- | --- |")
    for variant, speeds in values.items():
        middle = statistics.median(speeds)
        ratio = f"{middle / base:.2f}" if base else ""
        print(f"| {variant} | {middle:.0f} | {min(speeds):.0f} to {max(speeds):.0f} | {ratio} |")
    for variant, reason in failed.items():
        print(f"| {variant} | failed: {reason} | | |")


# === In the process of a variant ===


def prepare(backbone, size, batch, turn, *, inter_op=0, intra_op=0, precision="off", optimizer=None, **changes):
    """(None, fn() -> images a second over `turn` seconds of steps on one batch in memory)."""
    import tensorflow as tf

    tf.config.threading.set_inter_op_parallelism_threads(inter_op)
    tf.config.threading.set_intra_op_parallelism_threads(intra_op)
    batch = round(batch * changes.get("batch_factor", 1))
    step = make_step(Net(backbone, size, batch), precision, optimizer, **changes)
    for _ in range(3):
        step()

    def take_turn():
        step()
        steps, start = 0, time.perf_counter()
        while (seconds := time.perf_counter() - start) < turn:
            step()
            steps += 1
        settle()
        return steps * batch / seconds

    return None, take_turn


def make_step(net, precision, optimizer, *, fused=True, xla=False, batch_factor=1):
    """fn() that trains one step of a Net and waits for it."""
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_impl import model as model_side

    if not fused:
        model_side.fuse_batch_normalization = lambda backbone: backbone
    model = our_model(net, precision=precision)
    if optimizer == "sgd":
        model.optimizer = keras.optimizers.SGD(1e-3)
    model.jit_compile = xla
    random = np.random.default_rng(0)
    faces = random.integers(0, 256, (net.batch, net.size, net.size, 3), np.uint8)
    ages = np.full((net.batch, 4), np.nan, np.float32)
    ages[:, 0] = random.uniform(0, 100, net.batch)
    labels = {"age": ages, "gender": random.integers(0, 2, net.batch, np.int32)}
    weights = {name: np.ones(net.batch, np.float32) for name in labels}
    batches = iter(tf.data.Dataset.from_tensors((faces, labels, weights)).repeat())
    model.make_train_function()
    return lambda: keras.ops.convert_to_numpy(model.train_function(batches)["loss"])


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        serve(lambda: prepare(**json.loads(sys.argv[1])))
    else:
        run_main(main)
