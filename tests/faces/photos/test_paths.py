"""Files, folders, patterns, lists and standard input become one stream of pictures."""

import io
import os
import random
import re
from collections import Counter

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faces.errors import UserError
from faces.photos.estimates import error_row
from faces.photos.paths import Picture, check_paths, list_pictures, readable_name, without_done
from faces.photos.rows import open_rows
from faces.picture_names import SUFFIXES


def touch(folder, *names):
    for name in names:
        path = os.path.join(os.fsencode(folder), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        open(path, "wb").close()
    return folder


def names(*paths, **options):
    return [picture.name for picture in list_pictures(paths, **options)]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return touch(
        tmp_path, "b/2.jpg", "b/10.PNG", "b/c/x.webp", "a.tif", "z.gif", "notes.txt", "b/.hidden.jpg", ".h/1.jpg"
    )


# === Folders and patterns ===


def test_folder_is_searched_in_sorted_order(tree):
    touch(tree, "b.jpg", "b-1/y.jpg")
    assert names(".") == ["./a.tif", "./b/10.PNG", "./b/2.jpg", "./b/c/x.webp", "./b-1/y.jpg", "./b.jpg", "./z.gif"]
    assert names("b/") == names("b") == ["b/10.PNG", "b/2.jpg", "b/c/x.webp"]


def test_folder_named_like_a_picture_is_a_folder(tree):
    touch(tree, "b/album.jpg/1.jpg")
    assert names("b/album.jpg") == ["b/album.jpg/1.jpg"] == [name for name in names("b") if "album" in name]


def test_links_to_files_are_followed_and_links_to_folders_are_not(tree):
    (tree / "b" / "link.jpg").symlink_to(tree / "a.tif")
    (tree / "b" / "round").symlink_to(tree / "b")
    (tree / "b" / "round.jpg").symlink_to(tree / "b")
    assert names("b") == ["b/10.PNG", "b/2.jpg", "b/c/x.webp", "b/link.jpg", "b/round.jpg"]


def test_deep_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(1200):  # more than Python nests calls
        os.mkdir("d")
        os.chdir("d")
    touch(".", "x.jpg")
    monkeypatch.chdir(tmp_path)
    found = names("d")
    os.remove("d/" * 1200 + "x.jpg")
    for depth in range(1200, 0, -1):  # so deep that shutil.rmtree fails
        os.rmdir("d/" * depth)
    assert found == ["d/" * 1200 + "x.jpg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")
def test_folder_that_cannot_be_listed_is_a_picture_with_an_error(tree):
    (tree / "b" / "c").chmod(0)
    try:
        (locked,) = [picture for picture in list_pictures(["b"]) if picture.error]
    finally:
        (tree / "b" / "c").chmod(0o700)
    assert locked == Picture("b/c/", "b/c/", "folder cannot be listed: permission denied")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*", ["a.tif", "z.gif"]),
        ("b/?.jpg", ["b/2.jpg"]),
        ("**/*", ["a.tif", "b/10.PNG", "b/2.jpg", "b/c/x.webp", "z.gif"]),
        ("**/**/*.webp", ["b/c/x.webp"]),
        ("b/[0-9]*", ["b/10.PNG", "b/2.jpg"]),
    ],
)
def test_pattern(tree, pattern, found):
    assert names(pattern) == found


def test_file_whose_name_is_a_pattern_is_that_file(tree):
    touch(tree, "[a].jpg", "a.jpg")
    assert names("[a].jpg") == ["[a].jpg"]


def test_named_file_may_have_any_suffix_and_order_is_kept(tree):
    touch(tree, "scan")
    assert names("z.gif", "scan", "b/c", "a.tif") == ["z.gif", "scan", "b/c/x.webp", "a.tif"]


# === Lists ===


def test_csv_list(tree):
    quoted = 'b/a "b",\nc.jpg'
    pd.DataFrame({"age": [1, 2, 3], "img_path": ["2.jpg", quoted, "/abs.jpg"]}).to_csv("b/list.csv", index=False)
    assert list(list_pictures(["b/list.csv"])) == [
        Picture("2.jpg", "b/2.jpg"),
        Picture(quoted, f"b/{quoted}"),
        Picture("/abs.jpg", "/abs.jpg"),
    ]
    assert next(list_pictures(["b/list.csv"], root="r")).path == "r/2.jpg"


def test_csv_list_keeps_rows_without_a_name_and_drops_blank_lines(tree):
    (tree / "list.csv").write_bytes(b"\xef\xbb\xbfage,img_path\r\n1,a.tif\r\n\r\n2,\r\n3\r\n")
    assert list(list_pictures(["list.csv"])) == [Picture("a.tif", "a.tif"), Picture("", ""), Picture("", "")]


@pytest.mark.parametrize("name", ["list.txt", "-"])
def test_one_path_a_line(tree, name):
    lines = b"a.tif\r\n\n  two words .jpg\ncaf\xe9.jpg\n\n-.jpg"
    (tree / "list.txt").write_bytes(lines)
    found = list(list_pictures([name], stdin=io.BytesIO(lines)))
    assert [picture.name for picture in found] == ["a.tif", "  two words .jpg", r"caf\xe9.jpg", "-.jpg"]
    assert os.fsencode(found[2].path) == b"caf\xe9.jpg"


def test_list_of_bytes_that_are_not_utf_8_finds_the_file(tree):
    touch(tree, b"caf\xe9.jpg")
    (tree / "list.csv").write_bytes(b"img_path\ncaf\xe9.jpg\n")
    (picture,) = list_pictures(["list.csv"])
    assert os.path.exists(picture.path) and picture.name == r"caf\xe9.jpg"
    assert picture.name in names("*.jpg")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_list_of_any_encoding_and_line_end(tree, encoding, end):
    touch(tree, "b/é ж.jpg")
    for name, lines in (("x.csv", ["age; img_path ;;", "4;b/é ж.jpg;;", "5;a.tif"]), ("x.txt", ["b/é ж.jpg", "a.tif"])):
        (tree / name).write_bytes(end.join([*lines, ""]).encode(encoding))
        assert [picture.path for picture in list_pictures([name])] == ["b/é ж.jpg", "a.tif"]


def test_paths_that_windows_wrote_are_found_and_a_backslash_in_a_name_stays(tree):
    touch(tree, "odd\\name.jpg")
    (tree / "list.csv").write_text("img_path\nb\\2.jpg\nodd\\name.jpg\ngone\\1.jpg\n")
    found = [(picture.name, picture.path) for picture in list_pictures(["list.csv"])]
    assert found == [
        ("b\\2.jpg", "b/2.jpg"),
        ("odd\\name.jpg", "odd\\name.jpg"),
        ("gone\\1.jpg", "gone\\1.jpg"),
    ]


def test_table_of_a_prediction_is_a_list_whatever_the_names_are(tree):
    odd = ["=1+1.jpg", "-a.jpg", "@b.jpg", " c.jpg", "'=d.jpg", "e;=f.jpg", "g\rh.jpg"]
    with open_rows(tree / "rows.csv", "csv") as table:
        for name in odd:
            table.write([error_row(name, "-")])
    assert names("rows.csv") == odd
    assert not re.search(r"(^|[,;\r\n])[=+@-]", (tree / "rows.csv").read_text().replace('"', ""), re.MULTILINE)


def test_parquet_list(tree):
    table = pd.DataFrame({"age": [1.0, 2, 3], "img_path": ["2.jpg", None, "ü.jpg"]})
    table.to_parquet("b/list.PARQUET")
    assert [picture.path for picture in list_pictures(["b/list.PARQUET"])] == ["b/2.jpg", "", "b/ü.jpg"]


def test_long_lists_are_read_in_pieces(tree):
    table = pd.DataFrame({"img_path": [f"{number}.jpg" for number in range(25_000)]})
    table.to_parquet("list.parquet")
    table.to_csv("list.csv", index=False)
    for name in ("list.parquet", "list.csv"):
        assert names(name) == table["img_path"].tolist()


def test_lists_are_read_while_pictures_are_asked_for(tree):
    lines = (f"{number}.jpg\n".encode() for number in range(10**12))
    pictures = list_pictures(["-"], stdin=lines)
    assert [next(pictures).name for _ in range(3)] == ["0.jpg", "1.jpg", "2.jpg"]


# === What is refused ===


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gone.jpg", "There is no file or folder gone.jpg"),
        ("gone*.jpg", r"No picture in gone\*.jpg. Expected files ending in .jpg"),
        ("empty", "No picture in empty"),
        ("columns.csv", "columns.csv needs a column img_path. Received: path, age"),
        ("blank.csv", "blank.csv needs a column img_path. Received: none"),
        ("quotes.csv", r"quotes.csv line 2: expected a CSV file"),
        ("nul.csv", "nul.csv line 2: a NUL byte"),
        ("nul.txt", "nul.txt line 1: a NUL byte"),
        ("wide.csv", "wide.csv line 2: expected 1 cells, got 2"),
        ("columns.parquet", "columns.parquet needs a column img_path. Received: path"),
        ("text.parquet", "text.parquet: expected a Parquet file"),
        ("bytes.parquet", "bytes.parquet: expected a Parquet file"),
        ("numbers.parquet", "numbers.parquet: expected paths in the column img_path. Received: 1"),
    ],
)
def test_unusable_path_is_refused(tree, path, message):
    (tree / "empty").mkdir()
    (tree / "columns.csv").write_text("path,age\na.tif,1\n")
    (tree / "blank.csv").touch()
    (tree / "quotes.csv").write_text('img_path\n"a.tif\n')
    (tree / "nul.csv").write_text("img_path\na\0.tif\n")
    (tree / "nul.txt").write_bytes("a.tif\n".encode("utf-16-le"))
    (tree / "wide.csv").write_text("img_path\na,b.tif\n")
    (tree / "text.parquet").write_text("img_path\n")
    pd.DataFrame({"path": ["a"]}).to_parquet("columns.parquet")
    pd.DataFrame({"img_path": [1]}).to_parquet("numbers.parquet")
    # Text that says it is UTF-8, and is not.
    cells = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xffa")])
    pq.write_table(pa.table({"img_path": cells}), "bytes.parquet")
    with pytest.raises(UserError, match=message) as refused:
        check_paths(["a.tif", path])
    assert "\n" not in str(refused.value)


def test_link_that_leads_nowhere_is_a_picture_that_cannot_be_read(tree):
    (tree / "dangling.jpg").symlink_to("nowhere")
    check_paths(["dangling.jpg"])
    assert [picture.path for picture in list_pictures(["dangling.jpg"])] == ["dangling.jpg"]


def test_root_is_checked(tree):
    with pytest.raises(UserError, match=r"--root must be a folder\. Received: gone"):
        check_paths(["-"], root="gone")
    with pytest.raises(UserError, match="--root is the folder of the pictures in a list"):
        check_paths(["a.tif", "b"], root="b")
    check_paths(["-"], root="b")


def test_no_paths_are_refused():
    with pytest.raises(UserError, match="Expected pictures: files, folders"):
        check_paths([])


@pytest.mark.parametrize("name", ["empty.csv", "empty.txt", "empty.parquet"])
def test_empty_list_is_a_list(tree, name):
    (tree / "empty.csv").write_text("img_path\n")
    (tree / "empty.txt").touch()
    pd.DataFrame({"img_path": pd.Series([], dtype=str)}).to_parquet("empty.parquet")
    check_paths([name])
    assert names(name) == []


def test_line_of_a_broken_list_is_named(tree):
    (tree / "list.csv").write_text('img_path\na.tif\nb.tif\n"c"d.tif\n')
    check_paths(["list.csv"])
    pictures = list_pictures(["list.csv"])
    assert [next(pictures).name, next(pictures).name] == ["a.tif", "b.tif"]
    with pytest.raises(UserError, match=r"list\.csv line 4"):
        next(pictures)


def test_readable_name_is_text_for_any_bytes():
    for name in (b"plain.jpg", "ü漢.jpg".encode(), bytes(range(1, 256))):
        readable_name(os.fsdecode(name)).encode("utf-8")
    assert readable_name(os.fsdecode(b"\xff/ok\xc3\xbc")) == r"\xff/okü"


# === Going on ===


def left(pictures, done):
    return [picture.name for picture in without_done([Picture(name, name) for name in pictures], done)]


def test_pictures_done_in_step_are_left_out():
    assert left("abcd", "ab") == ["c", "d"]
    assert left("aab", "a") == ["a", "b"]
    assert left("ab", "ab") == left("", "ab") == []
    assert left("ab", "") == ["a", "b"]


def test_pictures_that_came_or_went_since():
    assert left("a1b2c", "abc") == ["1", "2"]
    assert left("bd", "abc") == ["d"]
    assert left("aabb", "ba") == ["a", "b"]


def test_whatever_is_done_the_rest_is_left():
    rng = random.Random(0)
    for _ in range(300):
        pictures = rng.choices("abcde", k=rng.randrange(12))
        done = rng.sample(pictures, rng.randrange(len(pictures) + 1))
        assert sorted(left(pictures, done) + done) == sorted(pictures)


def test_nothing_is_kept_in_memory_while_in_step():
    def count():
        for number in range(1000):
            asked.append(number)
            yield str(number)

    asked = []
    stream = without_done((Picture(str(number), "") for number in range(10**12)), count())
    assert next(stream).name == "1000" and len(asked) == 1000


def test_every_name_that_is_read_is_found_and_the_others_are_counted(tmp_path):
    (tmp_path / "deep").mkdir()
    names = sorted([f"a{suffix}" for suffix in SUFFIXES] + [f"B{suffix.upper()}" for suffix in SUFFIXES])
    for name in [*names, "1.txt", "deep/2.TXT", "deep/film.mov", ".hidden.txt"]:
        (tmp_path / name).touch()
    skipped = Counter()
    found = [os.path.basename(picture.path) for picture in list_pictures([tmp_path], skipped=skipped)]
    assert found == names and skipped == {".txt": 2, ".mov": 1}
    matched = list(list_pictures([str(tmp_path / "*.t*")], skipped=skipped))
    assert [os.path.basename(picture.path) for picture in matched] == ["a.tif", "a.tiff"]
    assert skipped == {".txt": 3, ".mov": 1}
