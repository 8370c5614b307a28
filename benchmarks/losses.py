"""What each loss costs beside cross-entropy: python benchmarks/losses.py [--samples 4096] [--rounds 15]

Loss and gradient with respect to the head's output, float32, TensorFlow on the CPU, compiled as a graph without XLA.
The output comes from the method's own head on random features. In every round each variant takes its turn right after
one of cross-entropy; its ratio is the median of the rounds' ratios, so a machine whose speed drifts does no harm.
The exit code is 1 if a ratio is above the limit. Losses that grow with the square of the batch (BMC), sort the classes
(fixed-K residue) or have a structure of their own (forests, stages) are reported without one.
"""

import argparse
import os
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from faces.startup import run_main

# isort: split

import keras
import numpy as np

from faces.errors import UserError
from faces.labels import MAX_AGE, MIN_AGE
from keras_impl.heads import HEADS
from keras_impl.methods import METHODS, fitted_settings, split_settings

BASE = "cross_entropy"
LIMIT = 3.0
FEATURES = 64  # any number: only the head's output takes part in the measurement
CALLS = 3  # a turn


@dataclass(frozen=True)
class Case:
    """One line of the table: a method with the settings that differ from its defaults."""

    method: str
    settings: dict = field(default_factory=dict)

    @property
    def name(self):
        return " ".join([self.method, *(f"{key}={value}" for key, value in self.settings.items())])

    @property
    def limited(self):
        variant = self.settings.get("variant", METHODS[self.method].params.get("variant"))
        return self.method not in ("deep_regression_forest", "soft_stagewise", "mean_residue") and variant != "bmc"


def all_cases():
    """Every method with its defaults, then with each other word of the loss's switches."""
    cases = []
    for name, method in METHODS.items():
        words = ((key, word) for key in method.params for word in method.switches.get(key, ())[1:])
        cases += [Case(name), *(Case(name, {key: word}) for key, word in words)]
    return cases


def parse_arguments():
    parser = argparse.ArgumentParser(description="Cost of every age loss and its gradient beside cross-entropy.")
    parser.add_argument("--samples", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=15)
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    if keras.backend.backend() != "tensorflow":
        raise UserError(f"Expected KERAS_BACKEND=tensorflow. Received: {keras.backend.backend()}")
    cases = all_cases()
    calls = {case.name: compiled_call(case, arguments.samples) for case in cases}
    seconds = measure(calls, arguments.rounds)
    print(f"{arguments.samples} samples x {MAX_AGE - MIN_AGE + 1} ages, float32, {os.cpu_count()} cores")
    lines, over = make_table(cases, seconds)
    print("\n".join(lines))
    if over:
        print(f"above the limit of {LIMIT:g}: {', '.join(over)}", file=sys.stderr)
        sys.exit(1)


def compiled_call(case, samples):
    """fn() that computes (sum of the values, gradient with respect to the output), already traced."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    ages = rng.uniform(MIN_AGE, MAX_AGE, samples).astype(np.float32)
    params, head_arguments = settings_of(case, ages)
    head = HEADS[METHODS[case.method].head](min_age=MIN_AGE, max_age=MAX_AGE, **head_arguments)
    output = tf.constant(head(rng.standard_normal((samples, FEATURES), dtype=np.float32)))
    inputs = {name: tf.constant(value) for name, value in extra_inputs(case.method, ages, rng).items()}
    loss = METHODS[case.method].loss

    # Labels are arguments: of constants the graph would compute the targets once and for all.
    @tf.function(jit_compile=False, autograph=False)
    def value_and_gradient(age, output, inputs):
        with tf.GradientTape() as tape:
            tape.watch(output)
            total = tf.reduce_sum(loss(age, output, min_age=MIN_AGE, **params, **inputs))
        return total, tape.gradient(total, output)

    age = tf.constant(ages)
    total, gradient = (tensor.numpy() for tensor in value_and_gradient(age, output, inputs))
    if not (np.isfinite(total) and np.isfinite(gradient).all() and gradient.shape == output.shape):
        raise RuntimeError(f"{case.name}: value {total}, gradient of shape {gradient.shape} for {output.shape}")
    return lambda: value_and_gradient(age, output, inputs)  # on a CPU it returns when the result is there


def settings_of(case, ages):
    """(parameters of the loss, arguments of the head), fitted to the ages as a training does it."""
    method = METHODS[case.method]
    loss, head = split_settings(case.method, case.settings)
    fitted_loss, fitted_head = fitted_settings(case.method, case.settings, ages, MIN_AGE, MAX_AGE)
    return {**method.params, **loss, **fitted_loss}, {**method.head_params, **head, **fitted_head}


def extra_inputs(method, ages, rng):
    """What the loss needs beside age and output; half of the spreads and no age are unknown."""
    spread = rng.uniform(1, 5, len(ages)).astype(np.float32)
    values = {
        "age_std": np.where(rng.random(len(ages)) < 0.5, spread, np.float32("nan")),
        "age_low": ages - spread,
        "age_high": ages + spread,
        "progress": np.float32(0.5),
    }
    return {name: values[name] for name in METHODS[method].needs}


def measure(calls, rounds):
    """{name: (seconds a call, seconds of the turn of BASE before it), each a list over the rounds}."""
    for call in calls.values():  # memory pools and thread pools fill
        call()
    seconds = {name: ([], []) for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            before = turn(calls[BASE])
            seconds[name][0].append(turn(call))
            seconds[name][1].append(before)
    return seconds


def turn(call):
    started = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - started) / CALLS


def make_table(cases, seconds):
    """(lines of a Markdown table, names of the cases above the limit).

    Args:
        cases: list of Case. seconds: of `measure`.
    """
    width = max(len(case.name) for case in cases)
    lines = [f"| {'loss':{width}} | head             | ms      | ratio  | limit      |"]
    lines.append(f"| {'-' * width} | ---------------- | ------: | -----: | ---------- |")
    over = []
    for case in cases:
        own, base = seconds[case.name]
        ratio = statistics.median(np.divide(own, base))
        verdict = "none" if not case.limited else f"{LIMIT:g}"
        if case.limited and ratio > LIMIT:
            over.append(case.name)
            verdict += ", OVER"
        head = METHODS[case.method].head
        ms = 1000 * statistics.median(own)
        lines.append(f"| {case.name:{width}} | {head:16} | {ms:7.2f} | {ratio:6.2f} | {verdict:10} |")
    return lines, over


if __name__ == "__main__":
    run_main(main)
