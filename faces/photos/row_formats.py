"""The rows of a prediction as CSV, JSON lines or Parquet, and what is read back of them."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from faces.cells import disarmed, restored
from faces.errors import UserError, first_line
from faces.files import replacing
from faces.photos.estimates import ROW_COLUMNS, Row

TEXT_COLUMNS = ("img_path", "gender", "error")
ROW_GROUP = 10_000  # rows of a Parquet file in memory at a time


# === Lines of text ===


@dataclass(frozen=True)
class LineFormat:
    """How rows become bytes and what is read back of them.

    Attributes:
        header: first line of a file, if any.
        start: how every file begins.
        encode: rows -> bytes.
        split: lines -> rows one by one, header included.
        decode: a row of `split` -> (img_path, face), face None of a picture without one.
    """

    header: bytes
    start: bytes
    encode: Callable[[Iterable[Row]], bytes]
    split: Callable[[Iterable[bytes]], Iterator[Any]]
    decode: Callable[[Any], tuple[str, int | None]]

    def read(self, file: BinaryIO) -> Iterator[tuple[int, str, int | None]]:
        """(position in the file, img_path, face) of each complete row, without a torn one at the end.

        Raises:
            ValueError: bytes that are no row; the message shows them.
        """
        lines, position = _CompleteLines(file), 0
        rows = self.split(lines)
        while True:
            lines.taken = b""
            try:
                if (row := next(rows, None)) is None:
                    return
                if position or not self.header:
                    yield position, *self.decode(row)
            except (ValueError, csv.Error) as error:
                if lines.ended:  # within the quotes of a torn row
                    return
                raise ValueError(f"{lines.taken[:80]!r} is no row of a prediction ({error})") from None
            position += len(lines.taken)


class _CompleteLines:
    """The lines of a binary file that have an end; `taken` grows by each, `ended` tells that there are no more."""

    def __init__(self, file):
        self._file, self.taken, self.ended = file, b"", False

    def __iter__(self):
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            self.taken += line
            yield line
        self.ended = True


def _encode_csv(rows):
    return "".join(_csv_line(row) for row in rows).encode("utf-8")


def _csv_line(row):
    text = io.StringIO(newline="")
    # Only a writer whose own line end holds it quotes a lone carriage return.
    csv.writer(text, lineterminator="\r\n").writerow(
        [disarmed(cell) if isinstance(cell, str) else cell for cell in map(row.get, ROW_COLUMNS)]
    )
    return f"{text.getvalue()[:-2]}\n"


def _split_csv(lines):
    return csv.reader((line.decode("utf-8") for line in lines), strict=True)


def _decode_csv(cells):
    if len(cells) != len(ROW_COLUMNS):
        raise ValueError(f"expected {len(ROW_COLUMNS)} cells")
    name, face = cells[:2]
    return restored(name), int(face) if face else None


def encode_json(rows: Iterable[Row]) -> bytes:
    """Rows as JSON lines."""
    lines = [json.dumps({name: row[name] for name in ROW_COLUMNS}, ensure_ascii=False, allow_nan=False) for row in rows]
    return "".join(f"{line}\n" for line in lines).encode("utf-8")


def _decode_json(data):
    row = json.loads(data)
    if not isinstance(row, dict) or tuple(row) != ROW_COLUMNS:
        raise ValueError(f"expected {', '.join(ROW_COLUMNS)}")
    return row["img_path"], row["face"]


_CSV_HEADER = f"{','.join(ROW_COLUMNS)}\n".encode()
LINES = {
    "csv": LineFormat(_CSV_HEADER, _CSV_HEADER, _encode_csv, _split_csv, _decode_csv),
    "jsonl": LineFormat(b"", b'{"img_path": ', encode_json, iter, _decode_json),
}


# === Parquet ===


def _schema():
    import pyarrow as pa

    types = {"face": pa.int32(), **dict.fromkeys(TEXT_COLUMNS, pa.string())}
    return pa.schema([(name, types.get(name, pa.float64())) for name in ROW_COLUMNS])


def check_schema(path: Path) -> None:
    """UserError where a file is no Parquet file of ROW_COLUMNS."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = tuple(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: expected a Parquet file. {first_line(error)}") from None
    if columns != ROW_COLUMNS:
        raise UserError(f"{path} has other columns. Expected: {', '.join(ROW_COLUMNS)}")


def to_parquet(journal: Path, path: Path) -> None:
    """Write the rows of a journal as a Parquet file, which appears whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema()
    with replacing(path) as part, open(journal, "rb") as file, pq.ParquetWriter(part, schema) as writer:
        while rows := [json.loads(line) for line in islice(file, ROW_GROUP)]:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def to_journal(path: Path, journal: Path) -> None:
    """Write the rows of a Parquet file as a journal, which appears whole."""
    import pyarrow.parquet as pq

    check_schema(path)
    with replacing(journal) as part, pq.ParquetFile(path) as source, open(part, "wb") as file:
        for batch in source.iter_batches(batch_size=ROW_GROUP):
            file.write(encode_json(batch.to_pylist()))
