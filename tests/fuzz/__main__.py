"""Draw damaged inputs for a while: python -m tests.fuzz [--minutes 10] [--seed 0] [--target pictures]

What ends in a traceback, in more than one line or not in time is written to tests/fuzz/kept/. Commit it with what mends
it: it is tried in every run of the tests from then on.
"""

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

KEPT = Path(__file__).with_name("kept")
TEST = "tests/fuzz/test_fuzz.py::test_damage_ends_in_a_result_or_in_one_line"
GIB = 1 << 30
NO_TEST = 5  # pytest's exit code


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="how long rounds are begun")
    parser.add_argument("--seed", type=int, default=0, help="of the first round; each round adds 1")
    parser.add_argument("--examples", type=int, default=200, help="inputs for each target in a round")
    parser.add_argument("--target", default="", help="one target only")
    parser.add_argument("--memory", type=int, default=12, help="GiB of address space; more is a finding too")
    options = parser.parse_args()
    end, seed = time.monotonic() + 60 * options.minutes, options.seed
    while time.monotonic() < end:
        code = _round(options, seed)
        for file in KEPT.glob("*-new"):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
            print(f"Kept: {file.rename(file.with_name(file.name.replace('new', digest)))}", flush=True)
        if code:
            sys.exit(f"Round {seed} found something: --seed {seed} repeats it.")
        print(f"Round {seed}: nothing found.", flush=True)
        seed += 1


def _round(options, seed):
    limit = options.memory * GIB
    drawing = (TEST, "-k", options.target, f"--hypothesis-seed={seed}", "--hypothesis-profile=fuzz")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout=0", *drawing],
        env={**os.environ, "FUZZ_EXAMPLES": str(options.examples)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    if done.returncode == NO_TEST:
        sys.exit(f"There is no target {options.target!r}.")
    return done.returncode


if __name__ == "__main__":
    main()
