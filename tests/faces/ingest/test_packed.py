"""Packs of decoded faces: what is read is what decoding gives, and a file that is not whole and right is refused."""

import hashlib
import multiprocessing
import operator
import pickle
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faces.alignment import CropGeometry
from faces.errors import UserError
from faces.images import face_batches
from faces.ingest.crops import cut_crops
from faces.ingest.packed import PackedFaces, PackedRows, open_pack, pack_path
from faces.ingest.packing import BLOCK, pack_faces
from faces.label_files.checksums import FOOTER
from tests.faces.ingest.pictures import COUNT, SIZE


@pytest.fixture(scope="module")
def packed(images, tmp_path_factory):
    """PackedFaces of `images`."""
    table, folder, _ = images
    path = tmp_path_factory.mktemp("packs") / "csv_12.npy"
    pack_faces(table, folder, SIZE, path, db="csv", progress=False)
    return PackedFaces(path)


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
