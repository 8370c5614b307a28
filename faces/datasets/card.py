"""What the toolkit knows about one data set: its reader, the geometry of its crops, and its data card."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, eq=False, kw_only=True)
class DataSet:
    """One data set. Each reader module ends with its own, `faces.datasets.DATASETS` collects them.

    Attributes:
        name: the word of `data.db` and `create_db.py --db`.
        title: its full name.
        read: `read(root, **options) -> (table, rejected)`, see `faces.datasets`.
        root: the folder where its images are expected.
        margin: of the crops, the published ones or those cut at ingest, see `faces.alignment.CropGeometry`.
        aligned: whether these crops are aligned.
        size: how many images (and persons, where known) were published.
        labels: which labels there are and how they were made.
        known_errors: what is wrong with it, so that nobody has to find out again.
        paper: authors, title, venue and year.
        source: address of its publisher.
        licence: what its publisher allows.
        how_to_get: one command or sentence that tells the user how to fill `root`.
        age_edges: first ages of its age groups, for a data set that labels groups; None where ages are years.
        boxes: whether the images are whole pictures and the reader gives the face boxes `x1, y1, x2, y2`.
        same_pictures: other data sets that show pictures of this one, which must not meet it in training and test.
        detect: whether the images are whole pictures without boxes, in which ingest has to find the face.
        read_whole: a reader like `read`, of the whole pictures, for a data set whose images are crops; None where they
            are not published, or where `read` reads them.
        whole_root: the folder where `read_whole` expects them.
        options: reader options that `create_db.py` offers: name -> line of help. Type and default are those of the
            keyword argument of `read`.
    """

    name: str
    title: str
    read: Callable
    root: str
    margin: float
    aligned: bool
    size: str
    labels: str
    known_errors: str
    paper: str
    source: str
    licence: str
    how_to_get: str
    age_edges: tuple[int, ...] | None = None
    boxes: bool = False
    same_pictures: tuple[str, ...] = ()
    detect: bool = False
    read_whole: Callable | None = None
    whole_root: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_cut(self) -> bool:
        """Whether ingest cuts the crops out of whole pictures."""
        return self.boxes or self.detect

    @property
    def has_whole(self) -> bool:
        """Whether there are whole pictures to cut aligned crops out of."""
        return self.is_cut or self.read_whole is not None

    @property
    def whole_reader(self) -> Callable:
        """The reader of the whole pictures."""
        return self.read_whole or self.read
