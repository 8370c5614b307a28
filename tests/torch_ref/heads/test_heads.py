"""What all heads share: dtype, shapes and refusals."""

import pytest
import torch

from faces.errors import UserError
from torch_ref.heads import (
    HEADS,
    ConditionalRankHead,
    DistributionHead,
    ForestHead,
    IndependentRankHead,
    NoisyRegressionHead,
    RankHead,
    RegressionHead,
    StagewiseHead,
)

HAVE_PROBABILITIES = ("distribution", "rank", "independent_rank", "conditional_rank")


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_shapes(name, dtype):
    head = HEADS[name](7, min_age=5, max_age=25).to(dtype)
    output = head(torch.randn(1, 7, dtype=dtype))
    shapes = {
        "distribution": (1, 21),
        "rank": (1, 20),
        "independent_rank": (1, 20),
        "conditional_rank": (1, 20),
        "regression": (1,),
        "noisy_regression": (1, 2),
        "forest": (1, 3, 5, 32),
        "stagewise": (1,),
    }
    assert output.shape == shapes[name]
    assert output.dtype == head.decode(output).dtype == dtype
    assert head.decode(output).shape == (1,)
    assert hasattr(head, "probabilities") == (name in HAVE_PROBABILITIES)
    if name in HAVE_PROBABILITIES:
        assert head.probabilities(output).shape == (1, 21)


@pytest.mark.parametrize(
    ("head", "decode"),
    [(DistributionHead, "rank"), (RankHead, "argmax"), (IndependentRankHead, "median"), (ConditionalRankHead, "mode")],
)
def test_unknown_decode_lists_the_known(head, decode):
    with pytest.raises(UserError, match=f"{decode!r}.*{', '.join(head.DECODES)}"):
        head(3, decode=decode)


@pytest.mark.parametrize("head", [RegressionHead, NoisyRegressionHead, StagewiseHead, ForestHead])
def test_head_of_years_has_no_decode_to_choose(head):
    assert not hasattr(head, "DECODES")


@pytest.mark.parametrize(
    ("head", "arguments", "message"),
    [
        (RegressionHead, {"scale": "months"}, r"scale 'months'.*years, normalised"),
        (NoisyRegressionHead, {"scale": "months"}, r"scale 'months'.*years, normalised"),
        (RankHead, {"bias": "sorted"}, r"bias 'sorted'.*free, ordered"),
        (StagewiseHead, {"stage_activation": "elu"}, r"stage_activation 'elu'.*softmax, relu"),
    ],
)
def test_unknown_word_lists_the_known(head, arguments, message):
    with pytest.raises(UserError, match=message):
        head(3, **arguments)
