"""Own data: a CSV file with `img_path` and any of the label columns of `faces.labels.TABLE_COLUMNS`.

The rules are those of the tables in `meta/`, see `faces.label_files.label_table`.
"""

from pathlib import Path

from faces.datasets.card import DataSet
from faces.errors import UserError
from faces.label_files.data_folder import find_images
from faces.label_files.label_table import read_table
from faces.label_files.reader_tables import Tables
from faces.labels import LABEL_COLUMNS, TABLE_COLUMNS


def read(root: str | Path, *, csv: str | Path | None = None) -> Tables:
    """Read a CSV file of own labels; the images it names are expected under the folder `root`.

    Returns:
        (table, rejected): the known columns, and `img_path, reason` of the rows without any label.

    Raises:
        UserError: see `faces.label_files.label_table.read_table`.
    """
    if csv is None:
        raise UserError("The data set `csv` needs the file of labels. Expected --csv labels.csv. Received: none")
    if not Path(root).is_dir():
        raise UserError(f"Expected the images in the folder {root}, which does not exist.")
    table = read_table(csv)
    table = table.assign(img_path=find_images(table["img_path"], root))
    labels = table[[name for name in LABEL_COLUMNS if name in table]]
    unlabelled = labels.isna().all(axis=1)
    rejected = table.loc[unlabelled, ["img_path"]].assign(reason="no label")
    return table[~unlabelled].reset_index(drop=True), rejected.reset_index(drop=True)


DATA_SET = DataSet(
    name="csv",
    title="your own images",
    read=read,
    root=".",
    read_whole=read,
    whole_root=".",
    margin=0.0,
    aligned=False,
    size="as many as you have",
    labels=f"a CSV file with img_path and any of: {', '.join(TABLE_COLUMNS[1:])}",
    known_errors="yours to find; rows without any label are rejected, a cell that breaks the rules stops the reading",
    paper="none",
    source="your own images and a CSV file of labels",
    licence="yours",
    how_to_get="python create_db.py --db csv --csv labels.csv --root folder_of_images",
    options={"csv": "file of labels"},
)
