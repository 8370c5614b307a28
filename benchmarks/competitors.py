"""Competitors of a benchmark, each in a process of its own, so that they share neither threads nor memory.

A process answers requests, one line of JSON each, and works only while it is asked. So they can take turns, and each
meets the machine as the others do.
"""

import contextlib
import json
import multiprocessing
import os
import platform
import re
import select
import subprocess
import sys
import time
import traceback
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from faces.errors import UserError, first_line

ROOT = Path(__file__).resolve().parents[1]
IDLE_SHARE = 0.05  # of one core, below which the background threads of a process count as asleep
SETTLE_SECONDS = 5


class CompetitorFailed(Exception):
    """A competitor died, raised an error or passed its time limit. The message is one line."""


class Competitor:
    """A process that runs a module of this repository, whose main() ends in `serve`.

    Args:
        name: what messages call it.
        module: dotted name, run from the root of the repository.
        settings: JSON-like dict, the module's only argument.
        log: open file that takes everything the process prints.
        python: interpreter. environment: {name: value} on top of this process' own.
    """

    def __init__(self, name, module, settings, log, *, python=sys.executable, environment=None):
        self.name, self._end = name, None
        command = [str(python), "-m", module, json.dumps(settings)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            text=True,
        )

    def ask(self, limit, **request):
        """The answer to a request; CompetitorFailed where none comes within `limit` seconds."""
        self.send(**request)
        return self.receive(limit)

    def send(self, **request):
        """Send a request without waiting for its answer."""
        # Of a process that ended the next `receive` tells.
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def receive(self, limit):
        """The answer to the oldest request; the first one is that of the preparation."""
        if self._end is not None:
            raise CompetitorFailed(self._end)
        if not select.select([self._process.stdout], [], [], limit)[0]:
            self._fail(f"no answer within {limit:g} s")
        line = self._process.stdout.readline()
        if not line:
            self._fail(f"it ended with exit code {self._process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise CompetitorFailed(reply["error"])
        return reply["answer"]

    def _fail(self, reason):
        self.close()
        self._end = reason
        raise CompetitorFailed(reason)

    def close(self):
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()


def serve(prepare):
    """Answer the requests on standard input until it ends.

    Args:
        prepare: fn() -> (first answer, function of a request's values that gives the answer to it). What they print
            goes to standard error.
    """
    with os.fdopen(os.dup(1), "w") as channel:
        os.dup2(2, 1)
        try:
            first, answer = prepare()
        except Exception as error:
            return _reply(channel, error=_shown(error))
        _reply(channel, answer=first)
        for line in sys.stdin:
            try:
                reply = {"answer": answer(**json.loads(line))}
            except Exception as error:
                reply = {"error": _shown(error)}
            settle()
            _reply(channel, **reply)


def _reply(channel, **reply):
    print(json.dumps(reply), file=channel, flush=True)


def _shown(error):
    traceback.print_exc()
    return f"{type(error).__name__}: {first_line(error)}"[:300]


def settle():
    """Wait until the background threads and the worker processes of this process sleep, so that the next one's turn
    is its own."""
    deadline = time.monotonic() + SETTLE_SECONDS
    before = _processor_seconds()
    while time.monotonic() < deadline:
        time.sleep(0.1)
        now = _processor_seconds()
        if now - before < IDLE_SHARE * 0.1:
            return
        before = now


def _processor_seconds():
    seconds = time.process_time()
    ticks = os.sysconf("SC_CLK_TCK")
    for child in multiprocessing.active_children():
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
            seconds += (int(fields[11]) + int(fields[12])) / ticks
    return seconds


# === Turns ===


def take_turns(runners, rounds, report=None):
    """Let every runner work once a round, in the same order.

    Args:
        runners: {key: fn() -> value}. rounds: how many. report: fn(round, rounds) called before each.

    Returns:
        ({key: list of values}, {key: one line on why it failed}); one that fails has no further turns.
    """
    values, failed = {key: [] for key in runners}, {}
    for number in range(1, rounds + 1):
        if report:
            report(number, rounds)
        for key, run in runners.items():
            if key in failed:
                continue
            try:
                values[key].append(run())
            except CompetitorFailed as error:
                failed[key] = str(error)
    return {key: own for key, own in values.items() if key not in failed}, failed


# === Machine ===


def describe_machine(argv=None):
    """Where and how a benchmark ran, as a dict of strings and numbers."""
    return {
        "processor": _processor(),
        "cores": usable_cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "date": date.today().isoformat(),
        "command": " ".join(["python", *(argv or sys.argv)]),
    }


def machine_line(machine):
    """One sentence from `describe_machine`."""
    return (
        f"{machine['date']}, {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, load "
        f"{machine['load']} before; `{machine['command']}`"
    )


def usable_cores():
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _processor():
    with contextlib.suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def installed_versions(packages):
    """{package: version} of those that are installed, with Python's own."""
    versions = {"python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def require_at_least(arguments, **least):
    """UserError unless each named argument is at least its number, or None."""
    for name, low in least.items():
        value = getattr(arguments, name)
        if value is not None and value < low:
            raise UserError(f"--{name} must be at least {low}. Received: {value:g}")
