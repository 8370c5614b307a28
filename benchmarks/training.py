"""Speed of training beside others: python benchmarks/training.py [--nets NET ...] [--rounds 5] [--quick]

The step of a training on tensors in memory, and full training from JPEG files, of this project (compiled as `train.py`
does it; faces from a warm cache, from packed data, decoded every time), of the same net under plain Keras defaults, of
torch_ref's net in plain PyTorch with a DataLoader (both memory layouts; the faster one counts), and of an OpenCV +
albumentations `keras.utils.PyDataset` that feeds this project's own compiled model. All mirror, move and recolour the
faces equally. Every competitor, and each memory layout, lives in a process of its own; they take turns, round after
round, only one works at a time, and what is printed is the median of the rounds and of their ratios. The first turn of
each (tracing, compiling) does not count.

albumentations needs a virtual environment of its own: make bench-venv. With a GPU (--device gpu, or auto where
nvidia-smi lists one) this project alone is measured, in bfloat16 under KERAS_BACKEND=jax (default there) or torch; no
TensorFlow is needed. training.md, .csv, .json and .png are written into the output folder after every net. The exit
code is 1 if a goal is missed or a competitor failed.
"""

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pandas as pd

from benchmarks.competitors import (
    ROOT,
    Competitor,
    CompetitorFailed,
    describe_machine,
    machine_line,
    require_at_least,
    take_turns,
)
from benchmarks.training_nets import GPU_NETS, NETS, net_of_checkpoint
from benchmarks.training_report import check_goals, make_table, write_reports
from faces.errors import UserError
from faces.files import make_folder
from faces.ingest.packing import pack_faces
from faces.label_files.data_folder import list_images
from faces.sample import make_sample
from faces.startup import SHIPPED_CHECKPOINT, run_main

UTKFACE = ROOT / "data" / "UTKFace"
LEFT_OUT = "left out"
SMALL = 128  # pixels; larger nets are measured on fewer inputs
WARM_STEPS = 12  # more than the longest queue of finished batches (10, of a PyDataset), which a turn must use up first
INPUTS = {
    "ours": ("tensors", "memory", "packed", "files"),
    "keras": ("tensors", "files"),
    "keras_xla": ("tensors",),
    "torch": ("tensors contiguous", "tensors channels_last", "files contiguous", "files channels_last"),
    "albumentations": ("files",),
}
LARGE_INPUTS = {**INPUTS, "ours": ("tensors", "memory", "packed"), "keras": ("tensors",), "keras_xla": ()}
GPU_INPUTS = {"ours": ("tensors", "memory", "packed", "packed, augmented on the device")}


def main():
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the competitors end too
    gpu = arguments.device == "gpu" or (arguments.device == "auto" and bool(list_gpus()))
    nets = choose_nets(arguments, gpu)
    machine = {**describe_machine(), "gpus": list_gpus()}
    folder, results = make_folder(arguments.out), []
    not_measured = [] if gpu or arguments.quick else list(GPU_NETS.values())
    print(machine_line(machine), flush=True)
    with tempfile.TemporaryDirectory() as scratch, open(folder / "training.log", "w") as log:
        root, db, names = face_files(Path(scratch), arguments.faces)
        for net in nets:
            bench = Bench(arguments, net, gpu, log)
            packed = pack(Path(scratch), root, db, names, net.size)
            results.append(bench.measure([str(root / name) for name in names], packed))
            rows = write_reports(folder, machine, results, not_measured)
    print("\n".join(["", *make_table(rows, not_measured), ""]))
    print(f"Written: {folder / 'training.md'}, training.csv, training.json, training.png")
    return judge(results, rows, speak=not arguments.quick)


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--nets", nargs="+", metavar="NET", help=f"any of {', '.join(NETS)} (default: all, and shipped)"
    )
    parser.add_argument("--batch", type=int, help="faces a batch (default: 64, fewer for large nets, 256 on a GPU)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turn_seconds", type=float, default=3.0, help="length of a turn, at least one step")
    parser.add_argument("--faces", type=int, default=2000, help="number of face files")
    parser.add_argument("--limit", type=float, default=300, help="seconds after which a competitor is given up")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument("--bench_python", type=Path, default=ROOT / ".venv-bench" / "bin" / "python")
    parser.add_argument("--out", type=Path, default=Path("runs") / "benchmark_training")
    parser.add_argument("--quick", action="store_true", help="one net, small batch, two short rounds: does it work?")
    parsed = parser.parse_args(arguments)
    if parsed.quick:
        parsed.nets, parsed.batch = parsed.nets or ["MobileNetV3Small-96"], parsed.batch or 8
        parsed.rounds, parsed.turn_seconds, parsed.faces = 2, 0.3, 64
    require_at_least(parsed, batch=1, rounds=1, turn_seconds=0, limit=1, faces=1)
    return parsed


def choose_nets(arguments, gpu):
    """The Nets to measure; UserError for an unknown name, or fewer faces than a batch has."""
    known = dict(GPU_NETS if gpu else NETS)
    if not gpu and SHIPPED_CHECKPOINT.is_file():
        shipped = net_of_checkpoint(SHIPPED_CHECKPOINT)
        known.setdefault(shipped.name, shipped)
    names = arguments.nets or list(known)
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"Unknown net {unknown[0]}. Expected one of: {', '.join(known)}")
    nets = [replace(known[name], batch=arguments.batch or known[name].batch) for name in names]
    for net in nets:
        if net.batch > arguments.faces:
            least = f"the batch of {net.name}, {net.batch}"
            raise UserError(f"--faces must be at least {least}. Received: {arguments.faces}")
    return nets


def list_gpus():
    """Names of the GPUs that nvidia-smi lists."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    listed = subprocess.run(command, capture_output=True, text=True)
    return listed.stdout.split("\n")[:-1] if listed.returncode == 0 else []


# === Faces ===


def face_files(folder, count):
    """(root, name of the data set, paths of `count` JPEG files of 200 px below the root): UTKFace, or drawn faces."""
    if UTKFACE.is_dir() and len(names := list_images(UTKFACE)) >= count:
        return UTKFACE, "utkface", names[:count]
    make_sample(folder / "faces", count=count, seed=0, size=200)
    return folder / "faces", "sample", list_images(folder / "faces")


def pack(folder, root, db, names, size):
    """Path of the faces packed into one file at `size` pixels."""
    hashes = [hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names]
    path = folder / f"{size}.npy"
    if not path.exists():
        table = pd.DataFrame({"img_path": list(map(str, names)), "sha256": hashes})
        pack_faces(table, root, size, path, db=db, progress=False)
    return path


# === One net ===


class Bench:
    """The competitors of one net and their turns.

    Args:
        arguments: of the command. net: Net. gpu: whether this project is measured on one. log: open file.
    """

    def __init__(self, arguments, net, gpu, log):
        self.arguments, self.net, self.gpu, self.log = arguments, net, gpu, log
        self.inputs = GPU_INPUTS if gpu else INPUTS if net.size <= SMALL else LARGE_INPUTS
        self.facts, self.failed, self._processes = {}, {}, {}

    def measure(self, paths, packed):
        """A result as `summarise` wants it.

        Args:
            paths: face files. packed: the same faces in one file.
        """
        say(f"\n{self.net.name}, batch {self.net.batch}")
        with ExitStack() as stack:
            for process in dict.fromkeys(map(process_of, self._keys())):
                self._start(stack, process, paths, packed)
            alive = [key for key in self._keys() if process_of(key) in self._processes]
            first = {key: seconds for key in alive if (seconds := self._first_turn(key)) is not None}
            runners = {key: self._runner(key, seconds) for key, seconds in drop_slower_files(first).items()}
            seconds, failed = take_turns(runners, self.arguments.rounds, self._say_round)
        return {
            "net": asdict(self.net),
            "device": "GPU" if self.gpu else "CPU",
            "facts": self.facts,
            "seconds": seconds,
            "failed": {**self.failed, **failed},
        }

    def _keys(self):
        return [f"{name}/{source}" for name, sources in self.inputs.items() for source in sources]

    def _start(self, stack, process, paths, packed):
        name = process.split()[0]
        python = self.arguments.bench_python if name == "albumentations" else sys.executable
        if not Path(python).is_file():
            self.failed[f"{name}/files"] = f"{LEFT_OUT}, make bench-venv"
            return say(f"  {name}: left out, {python} does not exist; make it with: make bench-venv")
        settings = {"competitor": name, "net": asdict(self.net), "paths": paths, "packed": str(packed)}
        competitor = Competitor(
            process, "benchmarks.training_worker", settings, self.log, python=python, environment=environment(self.gpu)
        )
        stack.callback(competitor.close)
        try:
            self.facts[name] = competitor.receive(self.arguments.limit)
            say(f"  {process}: ready")
            self._processes[process] = competitor
        except CompetitorFailed as error:
            return self._give_up(f"{name}/all{process.removeprefix(name)}", error)
        if self.gpu and not self.facts[name]["accelerators"]:
            raise UserError(f"KERAS_BACKEND={self.facts[name]['backend']} sees no GPU. Install its build for one.")

    def _first_turn(self, key):
        """Seconds a step after tracing, or None where the competitor failed."""
        try:
            started = time.monotonic()
            self._ask(key, skip=1, steps=1)
            say(f"  {key}: traced in {time.monotonic() - started:.0f} s")
            return self._ask(key, skip=1, steps=2)
        except CompetitorFailed as error:
            return self._give_up(key, error)

    def _give_up(self, key, error):
        self.failed[key] = f"failed: {error}"
        say(f"  {key}: {error}; see {self.log.name}")

    def _ask(self, key, skip, steps):
        process = self._processes[process_of(key)]
        return process.ask(self.arguments.limit, input=key.partition("/")[2], skip=skip, steps=steps)

    def _runner(self, key, seconds):
        skip, steps = turn_length(seconds, self.arguments.turn_seconds, waits="tensors" not in key)
        say(f"  {key}: about {seconds:.3f} s a step, {steps} steps a turn")
        return partial(self._ask, key, skip, steps)

    def _say_round(self, number, rounds):
        say(f"  round {number} of {rounds}")


def process_of(key):
    """Name of the process that runs "competitor/input": the competitor's, with PyTorch's memory layout.

    A training has one layout. What the other one leaves on the heap of a shared process makes a step a fifth faster.
    """
    name, _, source = key.partition("/")
    return f"{name} {source.split()[-1]}" if name == "torch" else name


def say(text):
    print(text, flush=True)


def environment(gpu):
    """Environment of a competitor's process."""
    if gpu:
        return {"KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "jax")}
    return {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}


def turn_length(seconds, turn_seconds, waits):
    """(steps that do not count, steps that do) of a turn.

    Args:
        seconds: a step, roughly. waits: whether there is a queue of finished batches to use up first.
    """
    steps = max(1, round(turn_seconds / max(seconds, 1e-6)))
    return (min(WARM_STEPS, steps) if waits else 1), steps


def drop_slower_files(first):
    """{key: seconds a step} without the slower one of PyTorch's memory layouts from files."""
    layouts = {key: seconds for key, seconds in first.items() if key.startswith("torch/files")}
    slower = set(sorted(layouts, key=layouts.get)[1:])
    return {key: seconds for key, seconds in first.items() if key not in slower}


def judge(results, rows, speak):
    """Print goals and failures; the exit code."""
    reasons = [reason for result in results for reason in result["failed"].values()]
    verdicts = check_goals(rows) if speak else []
    for sentence, met in verdicts:
        print(f"{'met   ' if met else 'MISSED'} {sentence}")
    failed = any(not reason.startswith(LEFT_OUT) for reason in reasons)
    return 1 if failed or not all(met for _, met in verdicts) else 0


if __name__ == "__main__":
    sys.exit(run_main(main))
