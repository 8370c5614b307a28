"""Processes that take turns in the benchmarks."""

import re
from contextlib import ExitStack

import pytest

from benchmarks.competitors import Competitor, CompetitorFailed, take_turns

WORKER = """
import json, os, sys, time
from benchmarks.competitors import serve

def prepare(word):
    if word == "refuse":
        raise ValueError("no such net\\nmore")
    print("chatter")

    def answer(number):
        print("more chatter")
        if number == 0:
            raise ZeroDivisionError("nothing to share")
        if number < 0:
            os._exit(7)
        time.sleep(number - 1)
        return 2 * number

    return word.upper(), answer

serve(lambda: prepare(**json.loads(sys.argv[1])))
"""


@pytest.fixture
def start_worker(tmp_path):
    """fn(word) -> a Competitor that doubles numbers and prints into tmp_path/log."""
    (tmp_path / "doubling_worker.py").write_text(WORKER)
    environment = {"PYTHONPATH": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with ExitStack() as stack:
        log = stack.enter_context(open(tmp_path / "log", "w"))

        def start(word):
            competitor = Competitor("own", "doubling_worker", {"word": word}, log, environment=environment)
            stack.callback(competitor.close)
            return competitor

        yield start


def test_competitor_answers_and_survives_an_error(start_worker, tmp_path):
    competitor = start_worker("ready")
    assert competitor.receive(60) == "READY"
    assert competitor.ask(60, number=1) == 2
    with pytest.raises(CompetitorFailed, match=r"^ZeroDivisionError: nothing to share$"):
        competitor.ask(60, number=0)
    assert competitor.ask(60, number=1.1) == 2.2
    # What it printed, the traceback included, is in the log and not among the answers.
    assert re.search(r"chatter\nmore chatter\n.*Traceback.*more chatter", (tmp_path / "log").read_text(), re.DOTALL)


def test_competitor_that_cannot_start_says_why(start_worker):
    with pytest.raises(CompetitorFailed, match=r"^ValueError: no such net$"):
        start_worker("refuse").receive(60)


def test_competitor_that_ends_fails_now_and_later(start_worker):
    competitor = start_worker("ready")
    competitor.receive(60)
    for _ in range(2):
        with pytest.raises(CompetitorFailed, match=r"^it ended with exit code 7$"):
            competitor.ask(60, number=-1)


def test_competitor_that_takes_too_long_is_ended(start_worker):
    competitor = start_worker("ready")
    competitor.receive(60)
    for _ in range(2):
        with pytest.raises(CompetitorFailed, match=r"^no answer within 0\.2 s$"):
            competitor.ask(0.2, number=60)
    assert competitor._process.returncode == -9


def test_turns_alternate_and_go_on_without_one_that_fails():
    order = []

    def runner(name, fails_at=None):
        def run():
            order.append(name)
            if order.count(name) == fails_at:
                raise CompetitorFailed("out of memory")
            return len(order)

        return run

    values, failed = take_turns({"a": runner("a"), "b": runner("b", fails_at=2), "c": runner("c")}, 3)
    assert order == ["a", "b", "c", "a", "b", "c", "a", "c"]
    assert values == {"a": [1, 4, 7], "c": [3, 6, 8]} and failed == {"b": "out of memory"}
