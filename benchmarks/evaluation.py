"""Time and memory of a full evaluation on one core: python benchmarks/evaluation.py [--n 20000 --resamples 2000]

Measures `faces.report.evaluation.evaluate_columns`: metrics, groups, gaps with their null, calibration, age checks.
Its input is made here, not measured by a model: photos of persons with an own bias, a distribution over age for each.
"""

import argparse
import os
import re
import resource
import sys
import time
from pathlib import Path

# The libraries read these when they are imported.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pandas as pd
from scipy import stats

from faces.errors import UserError
from faces.labels import GENDERS
from faces.report.evaluation import evaluate_columns
from faces.startup import run_main

SECONDS, GIBIBYTES = 10, 1


def make_columns(count, classes, *, photos=4, seed=0):
    """Per-sample columns of `count` images of persons with 1 to 2 * photos - 1 photos each.

    Args:
        classes: number of ethnicities. photos: mean number of photos a person; 1 = one of each.
    """
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(count), rng.integers(1, 2 * photos, size=count))[:count]
    first_age = rng.integers(1, 80, size=count)[person]
    age = first_age + rng.integers(0, 20, size=count).astype(float)
    spread = rng.uniform(2, 10, size=count)
    predicted = np.clip(age + rng.normal(0, 3, size=count)[person] + rng.normal(0, spread), 0, 100)
    gender, female = rng.integers(0, 2, size=count)[person], rng.beta(8, 1, size=count)
    female = np.where(gender == 0, female, 1 - female)
    return pd.DataFrame(
        {
            "img_path": [f"{row:06d}.jpg" for row in range(count)],
            "identity": [f"p{number}" for number in person],
            "ethnicity": np.array([f"e{number}" for number in range(classes)])[
                rng.integers(classes, size=count)[person]
            ],
            "gender": np.take(GENDERS, gender),
            **age_columns(age, predicted, spread, rng),
            "female_probability": female,
            "male_probability": 1 - female,
            "predicted_gender": np.take(GENDERS, (female < 0.5).astype(int)),
            "gender_correct": ((female < 0.5) == gender).astype(float),
            "label_loss": rng.gamma(4, size=count),
        }
    )


def age_columns(age, predicted, spread, rng):
    """What a normal distribution of each image, rounded to whole ages, says of its true age."""
    error = np.abs(predicted - age)
    distribution = stats.norm(predicted, spread)
    confidence = distribution.cdf(np.floor(predicted + 0.5) + 0.5) - distribution.cdf(np.floor(predicted + 0.5) - 0.5)
    low, high = distribution.ppf(0.05), distribution.ppf(0.95)
    return {
        "age": age,
        "predicted_age": predicted,
        "absolute_error": error,
        "signed_error": predicted - age,
        "within_5": (error <= 5).astype(float),
        "epsilon_error": 1 - np.exp(-(error**2) / (2 * 4.25**2)),
        "group_correct": (error < 6).astype(float),
        "one_off_group_correct": (error < 14).astype(float),
        "nll": -distribution.logpdf(age),
        "crps": rng.gamma(2, size=len(age)),
        "in_interval_90": ((low <= age) & (age <= high)).astype(float),
        "interval_width_90": high - low,
        "age_confidence": confidence,
        "age_correct": (np.floor(predicted + 0.5) == age).astype(float),
        "pit_low": distribution.cdf(age - 0.5),
        "pit_high": distribution.cdf(age + 0.5),
    }


def peak_memory():
    """Largest resident size of this process so far, in bytes.

    Linux hands `ru_maxrss` of the process that started this one down to it; the status file counts from the start.
    """
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage if sys.platform == "darwin" else usage * 1024


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=20_000, help="number of images")
    parser.add_argument("--resamples", type=int, default=2000, help="resampled sets, and shuffles of each null")
    parser.add_argument("--classes", type=int, default=5, help="number of ethnicities")
    parser.add_argument("--photos", type=int, default=4, help="mean number of photos a person")
    parsed = parser.parse_args(arguments)
    for name, value in vars(parsed).items():
        if value < 1:
            raise UserError(f"--{name} must be at least 1. Received: {value}")
    return parsed


def main():
    arguments = parse_arguments()
    columns = make_columns(arguments.n, arguments.classes, photos=arguments.photos)
    before = peak_memory()
    start, cpu = time.perf_counter(), time.process_time()
    evaluation = evaluate_columns(columns, resamples=arguments.resamples, trivial_age=40, trivial_gender="male")
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = peak_memory()
    persons = columns["identity"].nunique()
    print(f"{arguments.n} images of {persons} persons, {arguments.resamples} resamples, one core")
    print(
        f"{len(evaluation['groups'])} groups, {len(evaluation['gaps'])} gaps, {len(evaluation['age_check'])} age checks"
    )
    # One thread: what the machine's other work takes away shows in the wall clock only.
    print(f"seconds   {cpu:8.2f}   target below {SECONDS}; {seconds:.2f} on the wall clock")
    print(
        f"peak MiB  {peak / 2**20:8.0f}   target below {GIBIBYTES * 1024}; {before / 2**20:.0f} before the evaluation"
    )
    return 0 if cpu < SECONDS and peak < GIBIBYTES * 2**30 else 1


if __name__ == "__main__":
    sys.exit(run_main(main))
