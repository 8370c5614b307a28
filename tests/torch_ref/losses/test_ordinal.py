"""CORAL, CORN and OR-CNN against golden.json, coral_pytorch and the published two-way form."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from coral_pytorch.dataset import levels_from_labelbatch
from coral_pytorch.losses import coral_loss, corn_loss

from tests.torch_ref.losses.tensors import assert_values
from torch_ref import losses


@pytest.fixture
def rank_logits():
    return 4 * torch.randn(6, 100, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def age():
    return torch.tensor([0.0, 100.0, 37.0, 5.0, 64.0, 18.0], dtype=torch.float64)


def test_coral_golden(golden, inputs):
    each = losses.coral(inputs.age, inputs.rank_logits)
    assert_values(each, golden["coral_each"])
    assert_values(each.mean(), golden["coral_mean"])


def test_coral_docstring_example_of_the_authors():
    # The coral_loss docstring prints 0.6920 for the mean.
    logits = torch.tensor([[2.1, 1.8, -2.1, -1.8], [1.9, -1.0, -1.5, -1.3], [1.9, 1.8, 1.7, 1.6]], dtype=torch.float64)
    each = losses.coral(torch.tensor([2.0, 1.0, 4.0]), logits)
    np.testing.assert_allclose(each, [0.5370, 0.8951, 0.6441], atol=5e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_coral_equals_coral_pytorch(random_logits, weighted):
    labels = [0, 100, 37, 5, 64, 18]
    rank_logits = 5 * random_logits[:, :100]
    weights = torch.linspace(0.1, 2, 100, dtype=torch.float64) if weighted else None
    levels = levels_from_labelbatch(labels, num_classes=101, dtype=torch.float64)
    expected = coral_loss(rank_logits, levels, importance_weights=weights, reduction=None)
    actual = losses.coral(torch.tensor(labels), rank_logits, importance_weights=weights)
    assert_values(actual, expected.numpy())


def test_importance_weights_of_another_length_are_refused(inputs):
    with pytest.raises(ValueError, match=r"\(10,\).*\(11,\)"):
        losses.coral(inputs.age, inputs.rank_logits, importance_weights=np.ones(11))


def test_corn_golden(golden, inputs):
    assert losses.corn(inputs.age, inputs.rank_logits).mean().item() == pytest.approx(golden["corn"], rel=1e-12)


@pytest.mark.parametrize("unknown", [[], [0], [1, 4], [0, 2, 3, 4, 5]])
def test_masked_mean_of_corn_is_coral_pytorch_s_loss_of_the_known(age, rank_logits, unknown):
    known = torch.ones(6, dtype=torch.bool)
    known[unknown] = False
    expected = corn_loss(rank_logits[known], age[known].long(), num_classes=101)
    values = losses.corn(torch.where(known, age, math.nan), rank_logits)
    assert values[known].mean().item() == pytest.approx(expected.item(), rel=1e-12)


def test_corn_divided_by_classes_is_the_sum_over_the_ranks(age, rank_logits):
    """By hand for one sample: the ranks below its class answer yes, the rank of its class no, the others do not ask."""
    logits = rank_logits[3].numpy()
    each = np.log1p(np.exp(-logits[:5])).sum() + np.log1p(np.exp(logits[5]))
    values = losses.corn(age, rank_logits, normaliser="classes")
    assert values[3].item() == pytest.approx(6 * each / 101, rel=1e-12)
    known = torch.tensor([1, 3, 4])
    masked = losses.corn(
        torch.full_like(age, math.nan).index_copy(0, known, age[known]), rank_logits, normaliser="classes"
    )
    assert masked[3].item() == pytest.approx(values[3].item() / 2, rel=1e-12)


def test_corn_of_task_means_shares_each_rank_among_those_it_is_asked_of(age, rank_logits):
    """Of ages 0, 100, 37, 5, 64, 18 all are asked rank 0, five the ranks up to 5, the last alone those above 64."""
    values = losses.corn(age, rank_logits, normaliser="task_means")
    asked = [(age >= rank).sum().item() for rank in range(100)]
    assert asked[0] == 6 and asked[5] == 5 and asked[65] == 1
    each = -F.logsigmoid(rank_logits[1]) / torch.tensor(asked)
    assert values[1].item() == pytest.approx(6 * each.sum().item() / 100, rel=1e-12)


def test_corn_of_the_last_class_asks_every_rank(age, rank_logits):
    values = losses.corn(age, rank_logits, normaliser="classes")
    assert values[1].item() == pytest.approx(6 * -F.logsigmoid(rank_logits[1]).sum().item() / 101, rel=1e-12)


def test_or_cnn_golden(golden, inputs):
    values = losses.or_cnn(inputs.age, inputs.rank_logits)
    assert values.mean().item() == pytest.approx(golden["orcnn_two_way(+-F/2)=coral"], rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_or_cnn_is_the_two_way_softmax_of_the_paper(age, rank_logits, weighted):
    weights = torch.linspace(0.1, 2, 100, dtype=torch.float64)
    shift = torch.randn(6, 100, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    pairs = torch.stack([shift, shift + rank_logits], dim=1)  # (N, 2, K - 1)
    levels = (age[:, None] > torch.arange(100)).long()
    terms = F.cross_entropy(pairs, levels, reduction="none")
    expected = (terms * weights if weighted else terms).sum(dim=1)
    values = losses.or_cnn(age, rank_logits, importance_weights=weights.tolist() if weighted else None)
    torch.testing.assert_close(values, expected, rtol=1e-12, atol=0)


def test_unknown_normaliser_lists_the_known(age, rank_logits):
    with pytest.raises(ValueError, match=r"Unknown normaliser 'batch'.*examples, classes, task_means"):
        losses.corn(age, rank_logits, normaliser="batch")


@pytest.mark.parametrize("loss", [losses.coral, losses.or_cnn])
def test_word_for_importance_weights_asks_for_the_fit(age, rank_logits, loss):
    with pytest.raises(ValueError, match=r"100 numbers.*fit.*'niu'"):
        loss(age, rank_logits, importance_weights="niu")
