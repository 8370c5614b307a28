"""The greedy soup: the mean of the weights that help on the validation part, with batch statistics that fit it."""

import shutil

import keras
import numpy as np
import pytest

from faces.errors import UserError
from keras_impl.checkpoint import load_model, save_model
from keras_impl.training.soup import create_soup, greedy_soup, require_alike
from tests.keras_impl.small_models import noise_faces, normalised_model


def moved(step):
    """A normalised model whose convolution lies off the first by a step; the statistics stay what they were."""
    model = normalised_model()
    model.backbone.layers[2].kernel.assign_add(np.full(model.backbone.layers[2].kernel.shape, step, np.float32))
    return model


def kernel(model):
    return np.asarray(model.backbone.layers[2].kernel)


def distance(model):
    """What a validation would say, were the first model the truth: the distance of the convolution from its own."""
    return float(np.abs(kernel(model) - kernel(normalised_model())).mean())


def test_greedy_soup_keeps_what_helps():
    models = {"far": moved(0.9), "above": moved(0.2), "below": moved(-0.25), "other": moved(0.3)}
    soup, tasted = greedy_soup(models, distance, [noise_faces()])
    # 0.2 alone; with -0.25 the mean is -0.025; with 0.3 it is 0.083, worse; with 0.9 it is 0.28, worse.
    assert [(each.path, each.kept) for each in tasted] == [
        ("above", True),
        ("below", True),
        ("other", False),
        ("far", False),
    ]
    np.testing.assert_allclose([each.with_it for each in tasted], [0.2, 0.025, 0.25 / 3, 0.85 / 3], atol=1e-6)
    np.testing.assert_allclose(kernel(soup), kernel(normalised_model()) - 0.025, atol=1e-6)
    # The statistics are those of the faces under the mean of the kernels, not the mean of the statistics.
    convolution, norm = (soup.backbone.layers[index] for index in (2, 3))
    maps = np.asarray(convolution(noise_faces() / np.float32(255)))
    np.testing.assert_allclose(norm.moving_mean, maps.mean(axis=(0, 1, 2)), rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(kernel(models["above"]), kernel(moved(0.2)))  # not changed


def test_best_alone_stays_as_it_is():
    models = {"best": moved(0.1), "worse": moved(0.5)}
    soup, tasted = greedy_soup(models, distance, [noise_faces()])
    assert [each.kept for each in tasted] == [True, False]
    for one, two in zip(soup.get_weights(), models["best"].get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"method": "l1"}, "two.keras has another one than one.keras"),
        ({"outputs": ("age",)}, "averaged within one architecture"),
        ({"max_age": 99}, "averaged within one architecture"),
        ({"decode": "median"}, "averaged within one architecture"),
        ({"provenance": {"db": "sample", "split_seed": 1}}, "the same faces, but split_seed differ"),
        ({"provenance": {"db": "utkface", "split_seed": 0}}, "the same faces, but db differ"),
    ],
)
def test_other_kinds_are_refused(change, reason):
    trained = {"provenance": {"db": "sample", "split_seed": 0}}
    models = {"one.keras": normalised_model(**trained), "two.keras": normalised_model(**{**trained, **change})}
    with pytest.raises(UserError, match=reason):
        require_alike(models)
    require_alike({name: normalised_model(**trained) for name in models})
    with pytest.raises(UserError, match="do not say what they learnt from"):
        require_alike({name: normalised_model() for name in models})


def test_checkpoint_says_what_it_was_made_of(in_face_folder, tmp_path):
    keras.utils.set_random_seed(0)
    for name, step in (("a", 0.0), ("b", 1e-3)):
        model = moved(step)
        model.provenance = {"db": "sample", "age_label": "real"}
        model.calibration = {"level": 0.9, "quantile": 1.0, "n": 100}
        save_model(model, tmp_path / f"{name}.keras")
    text = create_soup([tmp_path / "a.keras", tmp_path / "b.keras"], tmp_path / "soup.keras")
    soup = load_model(tmp_path / "soup.keras")
    facts = soup.provenance["soup"]
    assert facts["tried"] == 2 and facts["score"] <= facts["best"] and soup.provenance["db"] == "sample"
    assert all(len(member["sha256"]) == 64 for member in facts["members"]) and not soup.calibration
    assert len(text.splitlines()) == 3 and f"wrote {tmp_path / 'soup.keras'}" in text
    shutil.copy(tmp_path / "a.keras", tmp_path / "c.keras")
    with pytest.raises(UserError, match="two different checkpoints or more"):
        create_soup([tmp_path / "a.keras"] * 2, tmp_path / "soup.keras")
