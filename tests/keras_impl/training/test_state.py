"""The states a training goes on from: a damaged one is never used, and the one before is at hand."""

import numpy as np
import pytest

from faces.errors import UserError
from keras_impl.training.state import OLDER_STATE_NAME, STATE_NAME, load_state, remove_state, save_state


def save(folder, epoch):
    save_state(folder, {"history": f"epoch {epoch}", "model0": np.full((4, 3), epoch, np.float32), "model_count": 1})


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]


def damages(content):
    """Kinds of damage to a file: cut, emptied, another file, zeroed in its middle, flipped bits all over."""
    middle = len(content) // 2
    yield from (
        content[:middle],
        content[:-1],
        b"",
        b"no state",
        content[: middle - 40] + bytes(80) + content[middle + 40 :],
    )
    yield from (flipped(content, place) for place in range(0, len(content), 7))


def test_state_of_every_type_comes_back(tmp_path):
    save(tmp_path, 1)
    state = load_state(tmp_path)
    assert set(state) == {"history", "model0", "model_count"} and str(state["history"]) == "epoch 1"
    assert state["model0"].dtype == np.float32 and (state["model0"] == 1).all()


def test_two_generations_are_kept(tmp_path):
    for epoch in (1, 2, 3):
        save(tmp_path, epoch)
    assert sorted(path.name for path in tmp_path.iterdir()) == [STATE_NAME, OLDER_STATE_NAME]
    assert str(load_state(tmp_path)["history"]) == "epoch 3"
    (tmp_path / STATE_NAME).unlink()  # killed between the two renames
    assert str(load_state(tmp_path)["history"]) == "epoch 2"


def test_damaged_state_is_never_used(tmp_path, caplog):
    for epoch in (1, 2):
        save(tmp_path, epoch)
    newest = tmp_path / STATE_NAME
    sound, used, told = newest.read_bytes(), set(), 0
    for content in damages(sound):
        newest.write_bytes(content)
        caplog.clear()
        state = load_state(tmp_path)
        epoch = float(state["model0"][0, 0])
        assert str(state["history"]) == f"epoch {epoch:.0f}" and (state["model0"] == epoch).all()
        used.add(epoch)
        told += f"{STATE_NAME}" in caplog.text and "is damaged; the training goes on from" in caplog.text
        assert ("is damaged" in caplog.text) == (epoch == 1)
    # A flipped bit that no reader looks at, as in the time of a member, spoils nothing.
    assert 1.0 in used and told > len(list(damages(sound))) / 2


def test_both_damaged_end_in_one_line(tmp_path):
    for epoch in (1, 2):
        save(tmp_path, epoch)
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match=r"cannot be resumed, its state is damaged: .*Start a new run\.$") as stopped:
        load_state(tmp_path)
    assert "\n" not in str(stopped.value) and OLDER_STATE_NAME in str(stopped.value)


def test_state_without_a_checksum_is_not_trusted(tmp_path):
    np.savez(tmp_path / STATE_NAME, history="epoch 1")
    with pytest.raises(UserError, match="its checksum is missing"):
        load_state(tmp_path)


def test_error_while_writing_leaves_both_states(tmp_path, monkeypatch):
    for epoch in (1, 2):
        save(tmp_path, epoch)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*arguments, **values):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(UserError, match=r"The resume state .* cannot be written: No space left"):
        save(tmp_path, 3)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_nothing_left_is_no_state(tmp_path):
    assert load_state(tmp_path) is None
    save(tmp_path, 1)
    save(tmp_path, 2)
    remove_state(tmp_path)
    assert list(tmp_path.iterdir()) == [] and load_state(tmp_path) is None
