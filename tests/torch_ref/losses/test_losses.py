"""What several families of losses share: gradients of golden.json, class indices, shapes and words."""

import numpy as np
import pytest
import torch

from tests.torch_ref.losses.tensors import assert_values, gradient_of_mean
from torch_ref import losses


@pytest.mark.parametrize(
    ("key", "loss"),
    [
        ("ce", losses.cross_entropy),
        ("mv_total", losses.mean_variance),
        ("dldl_sigma2", losses.dldl),
        ("dldlv2", losses.dldl_v2),
        ("sord_abs", losses.sord),
        ("coral", losses.coral),
        ("coral", losses.or_cnn),
        ("corn", losses.corn),
    ],
)
def test_gradient_golden(golden, inputs, key, loss):
    output = inputs.rank_logits if key in ("coral", "corn") else inputs.logits
    age, params = (inputs.apparent_age, {"age_std": inputs.std}) if key == "dldlv2" else (inputs.age, {})
    gradient = gradient_of_mean(loss, age, output, **params)
    # golden.json keeps nine decimals of central differences.
    np.testing.assert_allclose(gradient, golden["grad_wrt_logits"][key], rtol=0, atol=3e-9)


@pytest.mark.parametrize(("age", "index"), [(-7, 0), (20, 0), (22.49, 2), (22.5, 3), (23.5, 4), (30, 10), (250, 10)])
def test_class_index_counts_from_min_age_and_rounds_half_up(age, index):
    logits = torch.arange(11, dtype=torch.float64)[None]
    expected = torch.logsumexp(logits[0], 0) - logits[0, index]
    assert_values(losses.cross_entropy(torch.tensor([age]), logits, min_age=20), [expected])
    rank_logits = torch.arange(1, 11, dtype=torch.float64)[None]
    # Each rank above the index costs log(1 + e^f), each below log(1 + e^-f).
    signs = np.where(np.arange(10) < index, -1, 1)
    expected = np.log1p(np.exp(signs * rank_logits[0].numpy())).sum()
    assert_values(losses.coral(torch.tensor([age]), rank_logits, min_age=20), [expected])


@pytest.mark.parametrize(
    "loss",
    [
        losses.adaptive_mean_residue,
        losses.dldl,
        losses.dldl_v2,
        losses.mean_residue,
        losses.mean_variance,
        losses.sord,
        losses.unimodal,
    ],
)
def test_shifting_the_grid_and_the_age_changes_nothing(loss, inputs):
    assert_values(loss(inputs.age + 20, inputs.logits, min_age=20), loss(inputs.age, inputs.logits))


@pytest.mark.parametrize(
    "loss",
    [
        losses.adaptive_mean_residue,
        losses.coral,
        losses.corn,
        losses.cross_entropy,
        losses.dldl,
        losses.dldl_v2,
        losses.interval,
        losses.interval_dldl_v2,
        losses.mean_residue,
        losses.mean_variance,
        losses.or_cnn,
        losses.sord,
        losses.unimodal,
    ],
)
@pytest.mark.parametrize(("age", "output"), [((3, 1), (3, 101)), ((3,), (2, 101)), ((3,), (3,))])
def test_wrong_shapes_are_refused(loss, age, output):
    with pytest.raises(ValueError, match="shape"):
        loss(torch.zeros(age), torch.zeros(output))


@pytest.mark.parametrize(
    ("loss", "params", "known"),
    [
        (losses.mean_residue, {"entropy": "shannon"}, "paper, monotone"),
        (losses.adaptive_mean_residue, {"entropy": "shannon"}, "paper, monotone"),
        (losses.interval_dldl_v2, {"kl_reduction": "batch"}, "sample, element"),
        (losses.sord, {"metric": "cubic"}, "absolute, squared"),
    ],
)
def test_unknown_words_list_the_known(inputs, loss, params, known):
    with pytest.raises(ValueError, match=f"Unknown {next(iter(params))}.*{known}"):
        loss(inputs.age, inputs.logits, **params)
