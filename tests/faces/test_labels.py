"""The vocabulary of labels: age grid, genders and columns."""

import numpy as np
import pytest

from faces.labels import (
    ADIENCE_EDGES,
    BOX_COLUMNS,
    FAIRFACE_EDGES,
    LABEL_COLUMNS,
    NUMBER_COLUMNS,
    TABLE_COLUMNS,
    age_grid,
    gender_index,
)


def test_age_grid_has_both_ends():
    grid = age_grid(16, 70)
    assert (grid[0], grid[-1], len(grid), grid.dtype) == (16, 70, 55, np.float32)
    np.testing.assert_array_equal(age_grid(), np.arange(101))


@pytest.mark.parametrize("ends", [(-1, 100), (5, 5), (6, 5), (0.5, 10), (0, 10.5)])
def test_impossible_age_grid(ends):
    with pytest.raises(ValueError, match="whole numbers"):
        age_grid(*ends)


def test_gender_words_become_indices():
    found = gender_index(["female", "male", " Male ", None, np.nan, ""])
    assert found.tolist() == [0, 1, 1, -1, -1, -1] and found.dtype == np.int32


def test_unknown_gender_word_is_named():
    with pytest.raises(ValueError, match="'m'"):
        gender_index(["female", "m"])


def test_columns_are_those_of_the_table():
    assert set(LABEL_COLUMNS) <= set(TABLE_COLUMNS) >= set(NUMBER_COLUMNS) - set(BOX_COLUMNS)
    assert set(NUMBER_COLUMNS) == {name for name in TABLE_COLUMNS if "age" in name} | set(BOX_COLUMNS)


@pytest.mark.parametrize("edges", [ADIENCE_EDGES, FAIRFACE_EDGES])
def test_age_groups_begin_at_birth_and_grow(edges):
    assert edges[0] == 0 and list(edges) == sorted(set(edges))
