"""FaceModel: outputs, prediction and refusals."""

import math

import numpy as np
import pytest
import torch

from faces.errors import UserError
from torch_ref.backbones import BACKBONES
from torch_ref.methods import METHODS
from torch_ref.model import FaceModel

SMALL = "MobileNetV3Small"


@pytest.fixture
def images():
    return 255 * torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.backbone
@pytest.mark.parametrize("method", METHODS)
def test_prediction_of_each_method(method, images):
    model = FaceModel(SMALL, method, min_age=10, max_age=60).eval()
    outputs, prediction = model(images), model.predict_faces(images)
    assert set(outputs) == {"age", "gender"}
    torch.testing.assert_close(prediction["age"], model.age_head.decode(outputs["age"]))
    assert prediction["age"].shape == (3,)
    assert ((prediction["age"] >= 10) & (prediction["age"] <= 60)).all()
    np.testing.assert_allclose(prediction["gender"].sum(1), np.ones(3), rtol=1e-6)
    has_distribution = METHODS[method].head in ("distribution", "rank", "independent_rank", "conditional_rank")
    assert set(prediction) == {"age", "gender"} | ({"age_distribution"} if has_distribution else set())
    if has_distribution:
        assert prediction["age_distribution"].shape == (3, 51)
        np.testing.assert_allclose(prediction["age_distribution"].sum(1), np.ones(3), rtol=1e-5)


@pytest.mark.backbone
@pytest.mark.parametrize("output", ["age", "gender"])
def test_model_of_one_output_has_one_head(output, images):
    model = FaceModel(SMALL, outputs=(output,))
    assert set(model(images)) == {output}
    assert set(model.predict_faces(images)) == ({"age", "age_distribution"} if output == "age" else {"gender"})
    heads = {key.split(".")[0] for key in model.state_dict()} - {"backbone"}
    assert heads == {f"{output}_head"}


@pytest.mark.backbone
def test_prediction_uses_the_moving_statistics_and_keeps_the_modes(images):
    model = FaceModel(SMALL).train()
    model.backbone.conv_bn.eval()  # a frozen layer
    before = {key: value.clone() for key, value in model.state_dict().items()}
    prediction = model.predict_faces(images)
    alone = model.predict_faces(images[:1])
    torch.testing.assert_close(prediction["age"][:1], alone["age"])
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert model.training and model.backbone.conv_1_bn.training and not model.backbone.conv_bn.training
    assert not prediction["age"].requires_grad


@pytest.mark.backbone
def test_arguments_reach_the_head_and_the_backbone():
    model = FaceModel("EfficientNetB0", "l1", head_params={"initial_bias": 33.0, "scale": "normalised"})
    assert model.age_head(torch.zeros(1, 1280)).item() == pytest.approx(33)
    assert not model.backbone.imagenet_rescaling
    model = FaceModel(SMALL, "coral", max_age=10, head_params={"bias": "ordered"})
    assert model.age_head.bias_steps.shape == (9,)
    forest = FaceModel(SMALL, "deep_regression_forest", head_params={"trees": 2, "leaf_mean": np.ones((2, 32))})
    assert forest.age_head.leaf_mean.shape == (2, 32)
    model = FaceModel("EfficientNetB0", decode="median", backbone_params={"imagenet_rescaling": True})
    assert model.age_head.decoding == "median"
    assert model.backbone.imagenet_rescaling


@pytest.mark.backbone
def test_ten_steps_on_one_batch_lower_the_loss(images):
    torch.manual_seed(0)
    model = FaceModel(SMALL, "mean_variance")
    optimizer = torch.optim.SGD(model.parameters(), lr=2**-7, momentum=0.875)
    age, history = torch.tensor([20.0, 45.0, math.nan]), []
    for _ in range(10):
        values = model.method.loss(age, model(images)["age"])
        history.append(values[:2].mean())
        optimizer.zero_grad()
        history[-1].backward()
        optimizer.step()
    assert history[-1] < 0.8 * history[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "ResNet51"}, f"Unknown backbone 'ResNet51'.*{', '.join(BACKBONES)}"),
        ({"method": "dex"}, f"Unknown method 'dex'.*{', '.join(METHODS)}"),
        ({"outputs": ("age", "race")}, "Unknown output 'race'.*age, gender"),
        ({"outputs": ()}, "At least one output"),
        ({"method": "l1", "decode": "median"}, "single decode.*'median'"),
        ({"method": "deep_regression_forest", "decode": "median"}, "single decode.*'median'"),
        ({"method": "corn", "decode": "median"}, "Unknown decode 'median'.*rank, expectation"),
        ({"decode": "mode"}, "Unknown decode 'mode'.*expectation, argmax, median, rounded_expectation"),
    ],
)
def test_unknown_names_list_the_known(arguments, message):
    with pytest.raises(UserError, match=message):
        FaceModel(**{"backbone": SMALL, **arguments})


def test_bad_age_grid_is_refused():
    with pytest.raises(ValueError, match="min_age=60, max_age=10"):
        FaceModel(SMALL, min_age=60, max_age=10)
