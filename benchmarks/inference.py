"""Speed of the shipped model in each format on a CPU: python benchmarks/inference.py [--checkpoint F] [--rounds 9]

Keras (`Predictor`), ONNX Runtime, LiteRT, int8 LiteRT and OpenVINO; the files are made by `export.py`, which checks
that they agree with Keras. For one face at a time: the median and the range of 5 to 95 % of the calls. For batches:
faces a second. Both also as ratio to Keras in the same round. Each format lives in a process of its own, they take
turns, and only one works at a time. Besides: size of the file, seconds from importing the runtime to the first
prediction, and peak memory of the process. inference.md, .csv and .json are written into the output folder. The exit
code is 1 if a format could not be measured.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
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
from benchmarks.training_nets import net_of_checkpoint
from faces.files import make_folder, write_csv, write_json, write_text
from faces.startup import SHIPPED_CHECKPOINT, run_main

# Name -> (format of export.py, ending of the file, further words of the command).
EXPORTS = {
    "onnx": ("onnx", ".onnx", []),
    "litert": ("litert", ".tflite", []),
    "litert int8": ("litert", ".tflite", ["--int8"]),
    "openvino": ("openvino", ".xml", []),
}
NAMES = {
    "keras": "Keras",
    "onnx": "ONNX Runtime",
    "litert": "LiteRT",
    "litert int8": "LiteRT, int8",
    "openvino": "OpenVINO",
}
LIMIT = 300  # seconds without an answer after which a format is given up


def main():
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the other processes end too
    size = net_of_checkpoint(arguments.checkpoint).size
    machine, folder = describe_machine(), make_folder(arguments.out)
    print(machine_line(machine), flush=True)
    with tempfile.TemporaryDirectory() as scratch, open(folder / "inference.log", "w") as log:
        files, failed = export_all(arguments, Path(scratch), log)
        measured, facts, broken = measure(arguments, files, size, log)
    rows = make_rows(arguments, measured, facts)
    failed |= broken
    text = "\n".join(make_table(rows, failed, arguments.batch))
    write_text(folder / "inference.md", f"{machine_line(machine)}\n\n{text}\n")
    write_csv(folder / "inference.csv", pd.DataFrame(rows))
    machine["versions"] = {name: fact["versions"] for name, fact in facts.items()}
    write_json(folder / "inference.json", {"machine": machine, "rows": rows, "turns": measured, "failed": failed})
    print(f"\n{text}\n\nWritten: {folder / 'inference.md'}, inference.csv, inference.json")
    return 1 if failed else 0


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED_CHECKPOINT)
    parser.add_argument("--formats", nargs="+", choices=EXPORTS, default=list(EXPORTS), metavar="FORMAT")
    parser.add_argument("--db", help="data set that export.py compares on (default: its own choice)")
    parser.add_argument("--batch", type=int, default=64, help="faces a batch, for the throughput")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=50, help="single faces a turn")
    parser.add_argument("--batches", type=int, default=5, help="batches a turn")
    parser.add_argument("--out", type=Path, default=Path("runs") / "benchmark_inference")
    parsed = parser.parse_args(arguments)
    require_at_least(parsed, batch=1, rounds=1, calls=1, batches=1)
    return parsed


def export_all(arguments, folder, log):
    """({name: file}, {name: why there is none}) of Keras' checkpoint and every format asked for."""
    files, failed = {"keras": arguments.checkpoint}, {}
    for name in arguments.formats:
        word, ending, more = EXPORTS[name]
        output = folder / f"{name.replace(' ', '_')}{ending}"
        print(f"exporting: {name}", flush=True)
        command = [sys.executable, ROOT / "export.py", "--checkpoint", arguments.checkpoint.resolve()]
        command += ["--format", word, "--output", output, *more, *(["--db", arguments.db] if arguments.db else [])]
        done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
        log.write(done.stdout + done.stderr)
        if done.returncode == 0:
            files[name] = output
        else:
            lines = (done.stderr.strip() or f"export.py ended with exit code {done.returncode}").splitlines()
            failed[name] = lines[-1].removeprefix("error: ")
    return files, failed


# === Measuring ===


def measure(arguments, files, size, log):
    """({name: {"single": seconds a call of each turn, "batch": the same}}, {name: facts of the start}, {name: why it
    failed})."""
    competitors, facts, failed = {}, {}, {}
    with ExitStack() as stack:
        for name, file in files.items():
            settings = {"kind": name, "file": str(file), "size": size, "batch": arguments.batch}
            competitor = Competitor(name, "benchmarks.inference_worker", settings, log, environment=ENVIRONMENT)
            stack.callback(competitor.close)
            try:
                facts[name] = competitor.receive(LIMIT)
                competitors[name] = competitor
                print(f"{name}: first prediction after {facts[name]['start_seconds']:.2f} s", flush=True)
            except CompetitorFailed as error:
                failed[name] = str(error)
        runners = {name: partial(turn, competitor, arguments) for name, competitor in competitors.items()}
        turns, broken = take_turns(runners, arguments.rounds)
        for name in turns:
            facts[name]["peak_mib"] = competitors[name].ask(LIMIT, count=0, calls=0)["peak_mib"]
    measured = {name: {part: [one[part] for one in own] for part in ("single", "batch")} for name, own in turns.items()}
    return measured, facts, failed | broken


ENVIRONMENT = {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}


def turn(competitor, arguments):
    """{"single", "batch"}: seconds of each call of one turn."""
    single = competitor.ask(LIMIT, count=1, calls=arguments.calls)["seconds"]
    return {"single": single, "batch": competitor.ask(LIMIT, count=arguments.batch, calls=arguments.batches)["seconds"]}


def make_rows(arguments, measured, facts):
    """One dict a format; the ratios are Keras' time by this one's, medians over the rounds."""
    rows = []
    for name, own in measured.items():
        single = 1000 * np.concatenate(own["single"])
        row = {"format": name, "latency_ms": np.median(single)}
        row |= {"latency_5_ms": np.percentile(single, 5), "latency_95_ms": np.percentile(single, 95)}
        row["faces_per_second"] = arguments.batch / np.median(np.concatenate(own["batch"]))
        for part in ("single", "batch"):
            row |= speed_ratio(measured.get("keras"), own, part)
        row |= {key: facts[name][key] for key in ("file_mib", "start_seconds", "peak_mib")}
        rows.append({key: value if isinstance(value, str) else float(value) for key, value in row.items()})
    return rows


def speed_ratio(keras, own, part):
    """{"..._ratio", "..._ratio_low", "..._ratio_high"} of the rounds' medians; NaN where Keras was not measured."""
    ratios = [np.nan]
    if keras is not None:
        rounds = zip(keras[part], own[part], strict=True)
        ratios = [np.median(theirs) / np.median(ours) for theirs, ours in rounds]
    return {
        f"{part}_ratio": np.median(ratios),
        f"{part}_ratio_low": np.min(ratios),
        f"{part}_ratio_high": np.max(ratios),
    }


def make_table(rows, failed, batch):
    """Lines of a Markdown table.

    Args:
        rows: of `make_rows`. failed: {name: one line}. batch: faces a batch.
    """
    ratio = "times Keras' speed (range)"
    lines = [
        f"| format | one face, ms (5 to 95 %) | {ratio} | faces/s, batch {batch} | {ratio} | file, MiB | start, s | "
        "peak memory, MiB |",
        "| --- | --- | --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for row in rows:
        cells = [
            NAMES[row["format"]],
            f"{row['latency_ms']:.2f} ({row['latency_5_ms']:.2f} to {row['latency_95_ms']:.2f})",
            _ratio(row, "single"),
            f"{row['faces_per_second']:.0f}",
            _ratio(row, "batch"),
            f"{row['file_mib']:.1f}",
            f"{row['start_seconds']:.2f}",
            f"{row['peak_mib']:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines + [f"| {NAMES[name]} | not measured: {reason} | | | | | | |" for name, reason in failed.items()]


def _ratio(row, part):
    if row["format"] == "keras":
        return "1"
    return f"{row[f'{part}_ratio']:.2f} ({row[f'{part}_ratio_low']:.2f} to {row[f'{part}_ratio_high']:.2f})"


if __name__ == "__main__":
    sys.exit(run_main(main))
