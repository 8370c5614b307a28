"""Packs that somebody made to do harm: every wrong value of the index is one line, and nothing is allocated for it."""

import json
import tracemalloc

import pytest

from faces.errors import UserError
from faces.ingest.pack_index import KIND, VERSION, header
from faces.ingest.packed import PackedFaces
from faces.label_files.checksums import write_index

HEADER = 128  # bytes


@pytest.fixture
def crafted(small_pack, tmp_path):
    """fn(change, begin=None) -> path of the pack whose index `change(index)` changed, and signed again."""

    def craft(change, begin=None):
        pack = PackedFaces(small_pack, progress=False)
        index = {**pack._index, "geometry": {"margin": 0.0, "aligned": False}}
        faces = small_pack.read_bytes()[HEADER : HEADER + pack[:].nbytes]
        changed = change(index)
        text = changed if isinstance(changed, bytes) else json.dumps(index if changed is None else changed).encode()
        with open(tmp_path / "crafted.npy", "wb") as file:
            file.write((header((10, 4, 4, 3)) if begin is None else begin) + faces)
            write_index(file, text, KIND, VERSION)
        return tmp_path / "crafted.npy"

    return craft


def setting(key, value):
    return lambda index: index.__setitem__(key, value)


HASH = "0" * 64
CRAFTED = {
    "no object": lambda index: [index],
    "no JSON": lambda index: b"{" * 100_000,
    "deep": lambda index: b"[" * 50_000 + b"]" * 50_000,
    "huge number": lambda index: b'{"size": ' + b"9" * 10_000 + b"}",
    "empty": lambda index: {},
    "db is no text": setting("db", 3),
    "size is negative": setting("size", -4),
    "size is another": setting("size", 5),
    "size is huge": setting("size", 10**12),
    "size is a fraction": setting("size", 4.0),
    "size is true": setting("size", True),
    "size is text": setting("size", "4"),
    "size is missing": lambda index: index.pop("size") and None,
    "block is 0": setting("block", 0),
    "block is negative": setting("block", -1),
    "block is huge": setting("block", 10**18),
    "block is none": setting("block", None),
    "header of another dtype": setting("header", header((10, 4, 4, 3)).decode("latin-1").replace("u1", "f8")),
    "header of another shape": setting("header", header((11, 4, 4, 3)).decode("latin-1")),
    "header is no text": setting("header", [1]),
    "header beyond latin-1": setting("header", "€"),
    "fewer names": lambda index: index["img_path"].pop() and None,
    "more names": lambda index: index["img_path"].append("new.jpg"),
    "names are text": setting("img_path", "0123456789"),
    "names are numbers": setting("img_path", list(range(10))),
    "names are lists": setting("img_path", [[]] * 10),
    "a name is empty": setting("img_path", [""] * 10),
    "a name twice for two files": setting("img_path", ["0.png"] * 10),
    "hashes are short": setting("sha256", ["0"] * 10),
    "hashes are capitals": setting("sha256", ["A" * 64] * 10),
    "hashes are none": setting("sha256", [None] * 10),
    "fewer hashes": setting("sha256", [HASH] * 9),
    "no checksum": setting("checksums", []),
    "more checksums": setting("checksums", [HASH] * 2),
    "checksums are a dict": setting("checksums", {"0": HASH}),
    "geometry is a list": setting("geometry", [0.0, False]),
    "geometry of other keys": setting("geometry", {"margin": 0.0, "aligned": False, "__class__": "x"}),
    "margin is negative": setting("geometry", {"margin": -1.0, "aligned": False}),
    "margin is no number": setting("geometry", {"margin": float("nan"), "aligned": False}),
    "margin is huge": setting("geometry", {"margin": 10**400, "aligned": False}),
    "margin is text": setting("geometry", {"margin": "0", "aligned": False}),
    "aligned is a number": setting("geometry", {"margin": 0.0, "aligned": 1}),
}
BEGINNINGS = {
    "of faces that are not there": header((1000, 4, 4, 3)),
    "of more than memory": header((10**14, 4, 4, 3)),
    "whose product wraps around to what is there": header((2**59, 2, 2, 3)),
    "of larger faces": header((10, 10**8, 10**8, 3)),
    "of none": header((0, 4, 4, 3)),
    "of oblong faces": header((10, 2, 8, 3)),
    "of another type": header((10, 4, 4, 3)).replace(b"|u1", b"<f8"),
    "of negative numbers": header((10, 4, 4, 3)).replace(b"(10, ", b"(-9, "),
    "of a call": header((10, 4, 4, 3)).replace(b"(10, 4, 4, 3)", b"(exit(), 3) "),
    "of nothing": b"\0" * HEADER,
}


def refusal(path):
    """The one line about a pack, for which hardly any memory was needed."""
    tracemalloc.start()
    with pytest.raises(UserError) as raised:
        PackedFaces(path, progress=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(raised.value) and peak < 10_000_000
    return str(raised.value)


def test_the_crafted_pack_itself_is_sound(crafted):
    assert len(PackedFaces(crafted(lambda index: None), progress=False)) == 10


@pytest.mark.parametrize("case", CRAFTED)
def test_crafted_index(crafted, case):
    line = refusal(crafted(CRAFTED[case]))
    assert "has an index with a wrong" in line or "has a damaged index" in line
    assert line.endswith("To make it, run: python create_db.py --db DB --pack SIZE")


@pytest.mark.parametrize("case", BEGINNINGS)
def test_crafted_beginning(crafted, case):
    assert "To make it, run:" in refusal(crafted(lambda index: None, BEGINNINGS[case]))


def test_index_longer_than_its_faces_allow(crafted):
    assert "has a damaged index" in refusal(crafted(lambda index: b" " * 5_000_000))


def test_names_of_a_pack_are_never_opened(crafted, images, monkeypatch):
    pack = PackedFaces(crafted(setting("img_path", [f"../../{index}" for index in range(10)])), progress=False)
    monkeypatch.setattr("builtins.open", None)
    with pytest.raises(UserError, match="lacks 3 of 3 images"):
        pack.rows_of(images[0].head(3))
