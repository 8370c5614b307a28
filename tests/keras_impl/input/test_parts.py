"""The parts of a division: whose rows, labels and weights they hold, and which images they keep."""

import numpy as np
import pandas as pd
import pytest

from faces.errors import UserError
from keras_impl.input.face_data import load_data
from keras_impl.input.parts import divide_table, load_images

TABLE = pd.DataFrame({"img_path": list("abcde"), "age": [1.0, 2, 3, 4, 5], "apparent_age": [6.0, 7, 8, 9, 10]})
SPLIT = ["val", "train", None, "test", "train"]


def test_each_part_has_its_rows_labels_and_weights():
    parts = divide_table(TABLE, SPLIT, weights=np.float32([1, 2, 3, 4, 5]))
    assert list(parts) == ["train", "val", "test"]
    for name, rows in (("train", [1, 4]), ("val", [0]), ("test", [3])):
        part = parts[name]
        assert part.table["img_path"].tolist() == [TABLE["img_path"][row] for row in rows]
        assert part.table.index.tolist() == list(range(len(rows)))
        assert part.labels.age[:, 0].tolist() == [row + 1 for row in rows] == part.weights.tolist()
        assert part.images is None


def test_apparent_ages_and_equal_weights():
    parts = divide_table(TABLE, SPLIT, age_label="apparent")
    assert parts["train"].labels.age[:, 0].tolist() == [7, 10] and parts["train"].weights.tolist() == [1, 1]


def test_nothing_to_train_on_is_refused():
    with pytest.raises(UserError, match=r"The training part is empty\. Expected at least one row with split=train"):
        divide_table(TABLE, ["val", "test", None, None, "test"])


@pytest.mark.parametrize(("cache", "files_kept"), [("memory", 0), ("disk", 3), ("none", 0)])
def test_images_of_every_part(in_face_folder, cache, files_kept):
    """The test part is read once, at the end, so it takes no memory before."""
    data = load_data("sample")
    split = np.resize(np.array(["train", "val", "test", None], object), len(data.table))
    parts = divide_table(data.table, split)
    load_images(parts, data, 12, cache=cache, cache_folder=in_face_folder / "cache", progress=False)
    assert len(list(in_face_folder.glob("cache/*.npy"))) == files_kept
    seen = {name: part.images[np.arange(2)] for name, part in parts.items()}
    for name, part in parts.items():
        assert part.images.paths == [str(data.root / path) for path in part.table["img_path"]]
        assert seen[name].shape == (2, 12, 12, 3)
        for path in part.images.paths[:2]:
            (in_face_folder / path).unlink()
    held = ("train", "val", "test")[: {"memory": 2, "disk": 3, "none": 0}[cache]]
    for name, part in parts.items():
        if name in held:
            np.testing.assert_array_equal(part.images[np.arange(2)], seen[name])
        else:
            with pytest.raises(UserError, match="file not found"):
                part.images[np.arange(2)]
