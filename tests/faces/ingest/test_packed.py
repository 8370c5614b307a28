"""Packs of decoded faces: what is read is what decoding gives, and a file that is not whole and right is refused."""

import hashlib
import multiprocessing
import operator
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faces.alignment import CropGeometry
from faces.errors import UserError
from faces.images import face_batches, read_and_resize
from faces.ingest.crops import cut_crops
from faces.ingest.packed import FOOTER, PackedFaces, PackedRows, open_pack, pack_path
from faces.ingest.packing import BLOCK, pack_faces

ROOT = Path(__file__).resolve().parents[3]
SIZE = 12
COUNT = BLOCK + 20
# Packs the same image so often that it takes seconds; arguments: folder of the image, number of rows, limit in bytes.
PACK_MANY = """
import hashlib, resource, sys
from pathlib import Path
import pandas as pd
from faces.errors import run_main
from faces.ingest.packing import pack_faces
folder, rows, limit = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
digest = hashlib.sha256((folder / "one.jpg").read_bytes()).hexdigest()
table = pd.DataFrame({"img_path": ["one.jpg"] * rows, "sha256": digest})
run_main(lambda: pack_faces(table, folder, 64, folder / "pack.npy", db="csv"))
"""


def write_images(folder, count):
    """Table of `count` random pictures of several shapes and formats."""
    generator = np.random.default_rng(0)
    rows = []
    for index in range(count):
        height, width = generator.integers(5, 40, 2)
        data = cv2.imencode(f".{'jpg' if index % 3 else 'png'}", generator.integers(0, 256, (height, width, 3)))[1]
        name = f"{index}.{'jpg' if index % 3 else 'png'}"
        (folder / name).write_bytes(data.tobytes())
        rows.append({"img_path": name, "sha256": hashlib.sha256(data.tobytes()).hexdigest()})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """(table, its folder, the faces as decoded one by one)."""
    folder = tmp_path_factory.mktemp("images")
    table = write_images(folder, COUNT)
    return table, folder, np.stack([read_and_resize(folder / name, SIZE) for name in table["img_path"]])


@pytest.fixture(scope="module")
def packed(images, tmp_path_factory):
    """PackedFaces of `images`."""
    table, folder, _ = images
    path = tmp_path_factory.mktemp("packs") / "csv_12.npy"
    pack_faces(table, folder, SIZE, path, db="csv", progress=False)
    return PackedFaces(path)


@pytest.fixture(scope="module")
def small_pack(images, tmp_path_factory):
    """Path of a pack of ten faces of 4 pixels, which no test changes."""
    table, folder, _ = images
    path = tmp_path_factory.mktemp("packs") / "small.npy"
    pack_faces(table.head(10), folder, 4, path, db="csv", progress=False)
    return path


@pytest.fixture
def small(small_pack, tmp_path):
    """Path of a copy of it."""
    return Path(shutil.copy(small_pack, tmp_path))


@pytest.fixture
def start_packing(tmp_path):
    """fn(rows, limit) -> process that packs one picture again and again into tmp_path / "pack.npy"."""
    picture = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    (tmp_path / "one.jpg").write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())

    def start(rows, limit=2**40):
        command = [sys.executable, "-c", PACK_MANY, str(tmp_path), str(rows), str(limit)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def parts(folder):
    return sorted(folder.glob(".*.part"))


# === Reading ===


def test_faces_are_those_of_decoding(images, packed):
    table, _, decoded = images
    assert (len(packed), packed.size, packed.db) == (COUNT, SIZE, "csv")
    np.testing.assert_array_equal(packed[np.arange(COUNT)], decoded)
    np.testing.assert_array_equal(np.concatenate(list(face_batches(packed, 50))), decoded)
    assert [len(batch) for batch in face_batches(packed, 256)] == [256, 20]
    np.testing.assert_array_equal(np.load(packed.path, mmap_mode="r"), decoded)
    assert packed.rows_of(table.iloc[::-2]).tolist() == list(range(COUNT))[::-2]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-COUNT, COUNT - 1), max_size=40))
def test_any_rows_in_any_order(images, packed, rows):
    index = np.array(rows, np.intp)
    found = packed[index]
    np.testing.assert_array_equal(found, images[2][index])
    assert found.dtype == np.uint8 and found.shape == (len(rows), SIZE, SIZE, 3)
    assert found.flags.c_contiguous and found.flags.writeable
    chosen = PackedRows([packed, packed], [index % COUNT, np.arange(3)])
    np.testing.assert_array_equal(np.concatenate(list(face_batches(chosen, 7))), images[2][[*rows, 0, 1, 2]])
    np.testing.assert_array_equal(chosen.select(range(len(rows)))[:], found)


def test_single_rows_slices_and_rows_beyond(images, packed):
    both = PackedRows([packed, packed], [np.arange(5), np.arange(5, COUNT)])
    for faces in (packed, both):
        np.testing.assert_array_equal(faces[-1], images[2][-1])
        np.testing.assert_array_equal(faces[3:9], images[2][3:9])
        faces[3:9][:] = 0
        np.testing.assert_array_equal(faces[3:9], images[2][3:9])
        with pytest.raises(IndexError):
            faces[np.array([COUNT])]


def test_several_packs_keep_their_order(images, tmp_path):
    table, folder, decoded = images
    packs = []
    for number, rows in enumerate((table.iloc[:30], table.iloc[30:50])):
        pack_faces(rows, folder, SIZE, tmp_path / f"{number}.npy", db="csv", progress=False)
        packs.append(PackedFaces(tmp_path / f"{number}.npy"))
    faces = PackedRows(packs, [np.array([4, 2]), np.array([19, 0, 0])])
    expected = [4, 2, 49, 30, 30]
    np.testing.assert_array_equal(faces[np.arange(5)], decoded[expected])
    np.testing.assert_array_equal(faces.select([4, 0, 2])[np.array([2, 1, 0])], decoded[[49, 4, 30]])
    assert len(faces.select([])) == 0 and list(face_batches(faces.select([]), 8)) == []


def test_another_process_reads_the_same_faces(images, packed):
    faces = PackedRows([packed], [np.arange(COUNT)])
    assert len(pickle.dumps(packed)) < 1000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(faces))[:], images[2])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(operator.getitem, (faces, np.array([COUNT - 1, 0])))
    np.testing.assert_array_equal(found, images[2][[-1, 0]])


def test_file_replaced_while_a_process_uses_it(images, small):
    table, folder, _ = images
    faces = PackedFaces(small)
    before, state = faces[:], pickle.dumps(faces)
    pack_faces(table.tail(10), folder, 4, small, db="csv", progress=False)
    np.testing.assert_array_equal(faces[:], before)
    with pytest.raises(UserError, match=r"small.npy was replaced while it was in use"):
        pickle.loads(state)


def test_geometry_of_the_crops_is_kept(images, tmp_path):
    table, folder, _ = images
    shutil.copytree(folder, tmp_path / "whole")
    boxes = table.head(3).assign(x1=1.0, y1=1.0, x2=5.0, y2=5.0).drop(columns="sha256")
    cut, _ = cut_crops(boxes, tmp_path / "whole", geometry=CropGeometry(0.25), progress=False)
    digests = [hashlib.sha256((tmp_path / "whole" / name).read_bytes()).hexdigest() for name in cut["img_path"]]
    pack_faces(cut.assign(sha256=digests), tmp_path / "whole", 4, tmp_path / "cut.npy", db="utkface", progress=False)
    assert PackedFaces(tmp_path / "cut.npy").geometry == CropGeometry(0.25)
    pack_faces(table.head(3), folder, 4, tmp_path / "card.npy", db="utkface", progress=False)
    assert PackedFaces(tmp_path / "card.npy").geometry == CropGeometry(0.0, aligned=True)


# === Refused ===


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_change_of_the_file_is_noticed(small_pack, data):
    original = small_pack.read_bytes()
    place = data.draw(st.integers(0, len(original) - 1), label="place")
    flipped = bytes([original[place] ^ (1 << data.draw(st.integers(0, 7), label="bit"))])
    before, after = original[:place], original[place:]
    changed = [before + flipped + after[1:], before, before + b"\0" + after, original + after, b"\0" + original]
    file = small_pack.with_name("changed.npy")
    file.write_bytes(data.draw(st.sampled_from(changed)))
    assert re.fullmatch(r"The pack \S+changed.npy .*\. To make it, run: python create_db.py --db .*", refusal(file))


def refusal(file, **arguments):
    """What PackedFaces says about a file that it does not take."""
    with pytest.raises(UserError) as raised:
        PackedFaces(file, progress=False, **arguments)
    return str(raised.value)


def test_what_is_wrong_is_told(small, images, tmp_path):
    command = "python create_db.py --db csv --pack 4"
    assert refusal(tmp_path / "none.npy", command=command).endswith(
        f"none.npy does not exist. To make it, run: {command}"
    )
    assert "cannot be read (Is a directory)" in refusal(tmp_path)
    for foreign in (b"", b"text", (images[1] / "1.jpg").read_bytes()):
        (tmp_path / "foreign.npy").write_bytes(foreign)
        assert "is cut short, or no pack at all" in refusal(tmp_path / "foreign.npy")
    np.save(tmp_path / "foreign.npy", np.zeros((10, 4, 4, 3), np.uint8))
    assert "is cut short, or no pack at all" in refusal(tmp_path / "foreign.npy")
    data = bytearray(small.read_bytes())
    *footer, version, magic = FOOTER.unpack(data[-FOOTER.size :])
    small.write_bytes(data[: -FOOTER.size] + FOOTER.pack(*footer, version + 1, magic))
    assert f"has format {version + 1}, of another version of this program, which reads {version}" in refusal(small)


def test_damaged_block_is_named(packed, tmp_path):
    header = np.load(packed.path, mmap_mode="r").offset
    data = bytearray(packed.path.read_bytes())
    data[header + packed[:].nbytes - 1] ^= 1
    (tmp_path / "damaged.npy").write_bytes(data)
    assert f"is damaged in 1 of 2 blocks, first after face {BLOCK}" in refusal(tmp_path / "damaged.npy")


def test_damage_after_opening_is_found_by_verify(small):
    faces = PackedFaces(small)
    faces.verify()
    with open(small, "r+b") as file:
        file.seek(200)
        file.write(bytes([faces[0].flat[0] ^ 255] * 100))
    with pytest.raises(UserError, match="is damaged in 1 of 1 blocks"):
        faces.verify()


def test_pack_of_another_name_is_refused(images, tmp_path):
    table, folder, _ = images
    pack_faces(table.head(3), folder, 4, pack_path("csv", 8, tmp_path), db="csv", progress=False)
    shutil.copy(pack_path("csv", 8, tmp_path), pack_path("utkface", 4, tmp_path))
    with pytest.raises(UserError, match=r"holds csv at 4 px. Expected csv at 8 px. .*--csv labels.csv .*--pack 8 "):
        open_pack("csv", 8, tmp_path)
    with pytest.raises(UserError, match=rf"Expected utkface at 4 px. .*--db utkface --pack 4 --packed_dir {tmp_path}$"):
        open_pack("utkface", 4, tmp_path)
    with pytest.raises(UserError, match=r"run: python create_db.py --db utkface --pack 96 --meta_dir 'my tables'$"):
        open_pack("utkface", 96, meta_dir="my tables")


def test_table_that_changed_after_packing(images, packed):
    table = images[0]
    assert packed.rows_of(table.iloc[[5, 5, 0]]).tolist() == [5, 5, 0]
    more = pd.concat([table, pd.DataFrame({"img_path": ["new.jpg"], "sha256": ["0" * 64]})])
    with pytest.raises(UserError, match=rf"lacks 1 of {COUNT + 1} images of the table, e.g. new.jpg. To make it, run"):
        packed.rows_of(more)
    other = table.assign(sha256=table["sha256"].where(table.index != 7, "0" * 64))
    with pytest.raises(UserError, match=rf"made of other files for 1 of {COUNT} images of the table, e.g. 7.jpg\."):
        packed.rows_of(other)


# === Writing ===


def test_image_that_is_not_the_tables_or_cannot_be_read(images, tmp_path):
    table, folder, _ = images
    path = tmp_path / "pack.npy"
    with pytest.raises(UserError, match=r"The image .*3.png changed since the table was made"):
        pack_faces(table.head(5).assign(sha256=[*table["sha256"][:3], "0" * 64, ""]), folder, 4, path, db="csv")
    with pytest.raises(UserError, match=r"cannot read image .*gone.jpg: file not found"):
        pack_faces(pd.DataFrame({"img_path": ["gone.jpg"], "sha256": ["0" * 64]}), folder, 4, path, db="csv")
    (tmp_path / "text.jpg").write_text("no image")
    text = pd.DataFrame({"img_path": ["text.jpg"], "sha256": [hashlib.sha256(b"no image").hexdigest()]})
    with pytest.raises(UserError, match=r"cannot read image .*text.jpg: not an image"):
        pack_faces(text, tmp_path, 4, path, db="csv")
    assert [file.name for file in tmp_path.iterdir()] == ["text.jpg"]


def test_folder_that_cannot_be_written(images, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"The pack .*file/pack.npy cannot be written: (File exists|Not a directory)"):
        pack_faces(images[0], images[1], 4, tmp_path / "file" / "pack.npy", db="csv")


def test_no_space_is_noticed_before_decoding(images, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(UserError, match=r"pack.npy takes 0.00 GB. Its folder has 0.00 GB left"):
        pack_faces(images[0], images[1], SIZE, tmp_path / "pack.npy", db="csv")
    assert list(tmp_path.iterdir()) == []


def test_write_that_fails_half_way(start_packing, tmp_path):
    process = start_packing(600, limit=5_000_000)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (
        2,
        f"error: The pack {tmp_path}/pack.npy cannot be written: File too large\n",
    )
    assert [file.name for file in tmp_path.iterdir()] == ["one.jpg"]


def test_killed_run_leaves_the_older_pack(start_packing, small, tmp_path):
    pack = Path(shutil.copy(small, tmp_path / "pack.npy"))
    process = start_packing(50_000)
    deadline = time.monotonic() + 120
    while not any(part.stat().st_size > 5_000_000 for part in parts(tmp_path)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    np.testing.assert_array_equal(PackedFaces(pack)[:], PackedFaces(small)[:])
    (left,) = parts(tmp_path)
    assert "is cut short, or no pack at all" in refusal(left)
    # What another run may be writing stays; what nobody has written to for long goes.
    for modified, expected in ((time.time(), [left]), (0, [])):
        os.utime(left, (modified, modified))
        assert start_packing(10).communicate(timeout=120)[1] == ""
        assert parts(tmp_path) == expected
    assert PackedFaces(pack).size == 64


def test_two_runs_at_once(start_packing, tmp_path):
    processes = [start_packing(2000 + number) for number in range(2)]
    for process in processes:
        assert process.communicate(timeout=120)[1] == "" and process.returncode == 0
    assert len(PackedFaces(tmp_path / "pack.npy")) in (2000, 2001)
    assert parts(tmp_path) == []
