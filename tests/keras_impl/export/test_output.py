"""Where an export goes: what is replaced, and that it is replaced whole."""

import os

import pytest

from faces.errors import UserError
from keras_impl.export.output import size_of, staged


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_a_pair_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch, failing):
    """Of four moves (old .xml, old .bin, new .bin, new .xml) each fails once."""
    moves = []

    def rename(source, target):
        moves.append(source)
        if len(moves) == failing:
            raise OSError(28, "No space left on device")
        move(source, target)

    path, move = tmp_path / "m.xml", os.rename
    for name in ("m.xml", "m.bin"):
        (tmp_path / name).write_text("old")
    monkeypatch.setattr("os.rename", rename)
    with pytest.raises(UserError, match=r"m\.xml cannot be written: No space"), staged(path) as (new, _):
        new.write_text("new")
        new.with_suffix(".bin").write_text("new")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"m.bin": "old", "m.xml": "old"}


def test_size_counts_every_part(tmp_path):
    for name, size in (("m.xml", 3), ("m.bin", 40), ("folder/saved_model.pb", 500), ("folder/variables/a", 6000)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)
    assert size_of(tmp_path / "m.xml", "openvino") == 43 and size_of(tmp_path / "folder", "saved_model") == 6500
    assert size_of(tmp_path / "m.xml", "onnx") == 3
