"""Golden values: fixed closed-form inputs and numbers computed from the papers' equations and the authors' modules."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from torch_ref.forest import log_routes

GOLDEN = Path(__file__).resolve().parents[2] / "parity_tests" / "golden.json"


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The tensors are small: on a busy machine a second thread's waiting makes these tests several times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def golden():
    return json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def inputs(golden):
    """The inputs that golden.json describes: logits (4, 11), rank logits (4, 10), labels, years predicted, spreads."""
    row = torch.arange(4, dtype=torch.float64)[:, None]
    column = torch.arange(11, dtype=torch.float64)
    logits = 3 * torch.sin(1.7 * row + 0.9 * column * column)
    arrays = {name: torch.tensor(golden["inputs"][name], dtype=torch.float64) for name in ("Y", "O", "SD", "MU")}
    return SimpleNamespace(
        logits=logits,
        rank_logits=logits[:, :10],
        age=arrays["Y"],
        years=arrays["O"],
        std=arrays["SD"],
        apparent_age=arrays["MU"],
    )


@pytest.fixture
def tree(inputs):
    """The golden tree of depth 4 as a forest of one: output (4, 3, 1, 8)."""
    log_route = log_routes(inputs.logits[:, None, :7])
    mean = 1.5 * torch.arange(8, dtype=torch.float64)
    leaves = (leaf.expand_as(log_route) for leaf in (mean, torch.full_like(mean, 4)))
    return torch.stack([log_route, *leaves], dim=1)
