"""The correction of predicted ages: isotonic, fitted on what is known, honest about what it gives."""

import numpy as np
import pytest

from faces.errors import UserError
from faces.report.correction import correct, effect, effect_text, fit_table, held_out


def squeezed(count=3000, noise=4.0, seed=0):
    """(predicted, age): a model that pulls everybody towards 35, as one that is unsure of the old does."""
    random = np.random.default_rng(seed)
    age = random.uniform(0, 90, count)
    return 35 + 0.7 * (age - 35) + random.normal(0, noise, count), age


def test_table_is_scikit_learns():
    sklearn = pytest.importorskip("sklearn.isotonic", reason="scikit-learn is in requirements-dev.txt")
    predicted, age = squeezed(noise=12)
    said, meant = fit_table(predicted, age)
    groups = np.array_split(np.argsort(predicted, kind="stable"), 100)
    x, y = (np.array([values[rows].mean() for rows in groups]) for values in (predicted, age))
    expected = sklearn.IsotonicRegression().fit(x, y, sample_weight=[len(rows) for rows in groups])
    np.testing.assert_allclose(meant, expected.predict(said), atol=1e-9)
    assert 20 < len(said) < 100 and (np.diff(said) > 0).all() and (np.diff(meant) >= 0).all()


def test_bias_of_new_faces_goes():
    predicted, age = squeezed()
    new, truth = squeezed(seed=1)
    corrected = correct(new, *fit_table(predicted, age))
    assert np.abs(corrected - truth).mean() < 0.75 * np.abs(new - truth).mean()
    found = effect(new, corrected, truth)
    assert found["n"] == 3000 and found["mae"] == [np.abs(values - truth).mean() for values in (new, corrected)]
    assert set(found["bias"]) == {f"{low}-{low + 9}" for low in range(0, 90, 10)}
    count, before, after = found["bias"]["80-89"]
    inside = truth >= 80
    assert (count, before) == (inside.sum(), pytest.approx((new - truth)[inside].mean()))
    assert before < -12 and abs(after) < 3.5
    assert "80-89 -1" in effect_text(found) and "not help" not in effect_text(found)


def test_order_and_ends():
    said, meant = [20.0, 30.0, 40.0], [22.0, 22.0, 50.0]
    np.testing.assert_allclose(correct([10, 20, 25, 35, 40, 45, -30], said, meant), [12, 22, 22, 36, 50, 55, 0])


def test_right_model_is_not_helped_and_is_told_so():
    random = np.random.default_rng(2)
    predicted = random.uniform(0, 80, 400)
    age = predicted + random.laplace(0, 5, 400)
    found = effect(predicted, held_out(predicted, age), age)
    assert found["mae"][1] >= found["mae"][0]
    assert effect_text(found).endswith("It does not help the MAE here.")


def test_unknown_ages_and_too_few():
    predicted, age = squeezed(200)
    age[50:100] = np.nan
    known = ~np.isnan(age)
    assert fit_table(predicted, age) == fit_table(predicted[known], age[known])
    with pytest.raises(UserError, match=r"at least 60 faces of known age .* Received: 59"):
        fit_table(predicted[:109], age[:109])
    with pytest.raises(UserError, match="do not rise"):
        fit_table(-predicted, age)
