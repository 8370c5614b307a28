"""Small folders in the published layouts, damage done to them, and what every reader must then still keep."""

import csv
import io
import re
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from faces.datasets import adience, appa_real, clap, fairface, morph
from faces.errors import UserError
from faces.labels import GENDERS, SPLITS, TABLE_COLUMNS
from faces.picture_names import without_suffix

REASONS = {
    "unclear label",
    "malformed name",
    "no label",
    "several label rows",
    "on the ignore list",
    "path leaves the data folder",
}


# === What a label row must say for a row of the table ===


def same_image(name, img_path):
    """The image may have been encoded anew."""
    return without_suffix(name) == without_suffix(img_path)


def says_fairface(row, label):
    age = "more than 70" if row["age_low"] == 70 else f"{row['age_low']:g}-{row['age_high']:g}"
    race = str(row["ethnicity"]).title().replace("Latino Hispanic", "Latino_Hispanic")
    return (
        same_image(label["file"], row["img_path"])
        and label["age"] == ("" if np.isnan(row["age_low"]) else age)
        and label["gender"] == (row["gender"] or "").title()
        and label["race"] == ("" if row["ethnicity"] is None else race)
    )


def says_adience(row, label):
    path = f"{label['user_id']}/coarse_tilt_aligned_face.{label['face_id']}.{label['original_image']}"
    gender = {"female": ["f"], "male": ["m"]}.get(row["gender"], ["u", ""])
    return (
        same_image(f"faces/{path}", row["img_path"])
        and label["user_id"] == row["identity"]
        and label["gender"] in gender
        and says_adience_age(label["age"], row["age_low"], row["age_high"])
    )


def says_adience_age(cell, low, high):
    ends = [int(number) for number in re.findall("[0-9]+", cell)]
    if not ends:
        return cell in ("", "None") and np.isnan(low)
    if len(ends) == 1:  # no other group is nearer
        distances = [max(first - ends[0], ends[0] - last, 0) for first, last in ADIENCE_GROUPS]
        return cell == str(ends[0]) and distances[ADIENCE_GROUPS.index((low, high))] == min(distances)
    return ends == [low, high] or (low <= ends[1] and ends[0] <= high and tuple(ends) in ODD_ADIENCE_INTERVALS)


ADIENCE_GROUPS = [(0, 2), (4, 6), (8, 12), (15, 20), (25, 32), (38, 43), (48, 53), (60, 100)]
ODD_ADIENCE_INTERVALS = [(8, 23), (27, 32), (38, 42), (38, 48)]


def says_appa_real(row, label):
    numbers = [float(label[name]) for name in ("apparent_age_avg", "apparent_age_std", "real_age")]
    return (
        same_image(
            row["img_path"].replace(".jpg_face", "_face"), f"train/{without_suffix(label['file_name'])}_face.jpg"
        )
        and numbers == [row["apparent_age"], row["apparent_age_std"], row["age"]]
        and row["split"] == "train"
    )


def says_clap(row, label):
    return same_image(row["img_path"], f"valid/{label['image']}") and [float(label["mean"]), float(label["stdv"])] == [
        row["apparent_age"],
        row["apparent_age_std"],
    ]


def says_morph(row, label):
    races = {"black": "B", "white": "W", "asian": "A", "hispanic": "H", "others": "O"}
    return (
        same_image(label["photo"].split("/")[-1].lower(), row["img_path"].split("/")[-1].lower())
        # Only the photo has to be in the file.
        and label.get("race", "") == races.get(row["ethnicity"], "")
        and label.get("set", "") == (row["fold"] or "")
        and label.get("gender", "") in ("", row["gender"][0].upper())
        and (not label.get("age") or float(label["age"]) == row["age"])
    )


FACES = "faces/30601258@N03/coarse_tilt_aligned_face"
LAYOUTS = {
    "fairface": (
        fairface.read,
        "fairface_label_train.csv",
        "file,age,gender,race,service_test\n"
        "train/1.jpg,50-59,Male,East Asian,False\n"
        "train/2.jpg,more than 70,Female,Latino_Hispanic,True\n"
        "train/11.jpg,3-9,Female,White,False\n",
        ["train/1.jpg", "train/2.jpg", "train/11.jpg"],
        says_fairface,
    ),
    "adience": (
        adience.read,
        "fold_2_data.txt",
        "user_id\toriginal_image\tface_id\tage\tgender\tx\n"
        "30601258@N03\t10399646885_67c7d20df9_o.jpg\t1\t(25, 32)\tf\t0\n"
        "30601258@N03\t10424815813_e94629b1ec_o.jpg\t2\t(60, 100)\tm\t0\n"
        "30601258@N03\t10437979845_5985be4b26_o.jpg\t1\t34\tu\t0\n"
        "30601258@N03\t10437979845_5985be4b26_o.jpg\t3\tNone\tm\t0\n",
        [
            f"{FACES}.1.10399646885_67c7d20df9_o.jpg",
            f"{FACES}.2.10424815813_e94629b1ec_o.jpg",
            f"{FACES}.1.10437979845_5985be4b26_o.jpg",
        ],
        says_adience,
    ),
    "appa_real": (
        appa_real.read,
        "gt_avg_train.csv",
        "file_name,num_ratings,apparent_age_avg,apparent_age_std,real_age\n"
        "000000.jpg,36,5.33333333333333,0.755928946018454,4\n"
        "000025.jpg,38,30.5,4.2,31\n"
        "000001.jpg,10,20,0,18\n",
        [f"train/{name}.jpg_face.jpg" for name in ("000000", "000025", "000001")],
        says_appa_real,
    ),
    "clap": (
        clap.DATA_SET_2016.read,
        "valid_gt.csv",
        "image,mean,stdv\nimage_1.jpg,27.5,3.25\nimage_2.jpg,60,0\n000003.jpg,1.0,0.5\n",
        [f"valid/{name}.jpg" for name in ("image_1", "image_2", "000003")],
        says_clap,
    ),
    "morph": (
        morph.read,
        morph.CSV_FILE,
        "id_num,race,gender,age,set,photo\n"
        "9055,B,M,54,S1,Album2/009055_1M54.JPG\n"
        "100002,W,F,19,S2,Album2/100002_0F19.JPG\n"
        "100003,,F,20,,Album2/100003_0F20.JPG\n",
        [f"Album2/{name}.JPG" for name in ("009055_1M54", "100002_0F19", "100003_0F20")],
        says_morph,
    ),
}


def build(root, images, files):
    for name in images:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for name, content in files.items():
        (root / name).write_bytes(content)


def text_rows(content):
    """The rows of a label file, stripped, by the standard library: any encoding with a mark, any known separator."""
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    wide = "utf-32" if content.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")) else "utf-16"
    text = content.decode(wide if marked else "utf-8-sig")
    first = text.strip().splitlines()[0] if text.strip() else ""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    return [[cell.strip() for cell in row] for row in rows if row]


def read_or_error(read, root):
    """What the reader answers, or None after an error of one line; any other exception fails the test."""
    try:
        return read(root)
    except UserError as error:
        assert str(error) and "\n" not in str(error)
        return None


def check_tables(table, rejected, images):
    """What holds for every reader: each image in one of the tables, known columns, possible values."""
    assert set(table) <= set(TABLE_COLUMNS) and rejected.columns.tolist() == ["img_path", "reason"]
    assert table["img_path"].is_unique and not set(table["img_path"]) & set(rejected["img_path"])
    assert set(images) <= {*table["img_path"], *rejected["img_path"]}
    assert {reason.split(":")[0] for reason in rejected["reason"]} <= REASONS
    for name in ("age", "age_low", "age_high", "apparent_age", "apparent_age_std"):
        values = table.get(name, pd.Series(dtype=float)).dropna()
        assert values.dtype == np.float64 and values.between(0, 130).all()
    if "age_low" in table:
        assert not (table["age_low"] > table["age_high"]).any()
    for name, words in (("gender", GENDERS), ("split", SPLITS)):
        assert set(table.get(name, pd.Series(dtype=object)).dropna()) <= set(words)
    for path in table["img_path"]:
        path.encode("utf-8")
        assert not PurePosixPath(path).is_absolute() and ".." not in PurePosixPath(path).parts and "\0" not in path


def damage(content, edits, kept):
    """Apply (kind, where in the file, bytes) one after the other, then cut the file off."""
    for kind, where, piece in edits:
        at = int(where * len(content))
        if kind == "swap":  # two lines, so that a header may come last
            lines = content.split(b"\n")
            other = int(where * (len(lines) - 1))
            lines[0], lines[other] = lines[other], lines[0]
            content = b"\n".join(lines)
        else:
            after = {"insert": at, "replace": at + len(piece), "cut": at + 5}[kind]
            content = content[:at] + (b"" if kind == "cut" else piece) + content[after:]
    return content[: int(kept * len(content))]
