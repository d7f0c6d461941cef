"""Intervals and annotations: readers of BED and RepeatMasker files, names, unions.

An interval frame has columns chrom, start, end (0-based, half-open); an annotation frame has
a column class as well.
"""

import gzip
import io
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import polars as pl

from saers import _core, checks
from saers.columns import ANY, encode
from saers.genome import Genome, alias
from saers.progress import SILENT, Progress

FormatError = _core.FormatError
RepeatLevel: TypeAlias = Literal["class", "family", "name"]

_MANY_NAMES = 100


def read_bed(path: str | Path) -> pl.DataFrame:
    r"""Read a BED file, plain or gzipped.

    Fields are separated by tabs; by any white space only where the first line has no tab.
    Comments and lines for browsers are passed over.

    Returns
    -------
    DataFrame
        chrom, start, end, and as far as the file has them: name (column 4) and strand
        (column 6, where it holds nothing but ``+``, ``-`` and ``.``).

    Raises
    ------
    FormatError
        Naming the line: a coordinate is no number or negative, or a start lies after its
        end; or the file holds no interval at all.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "peaks.bed"
    >>> _ = path.write_text("track x\nchr1\t10\t20\ttwo words\n")
    >>> read_bed(path).row(0)
    ('chr1', 10, 20, 'two words')
    """
    fields = _fields(_lines(path), 6)
    frame = _checked(path, fields, chrom=0, start=1, end=2)
    frame = frame.with_columns(fields["field_3"].alias("name"), fields["field_5"].alias("strand"))
    if frame["name"].null_count():
        frame = frame.drop("name")
    is_strand = frame["strand"].is_in(["+", "-", "."])
    return frame if is_strand.fill_null(False).all() else frame.drop("strand")


def read_annotation(
    path: str | Path, *, class_column: int | Literal["auto"] | None = "auto"
) -> pl.DataFrame:
    r"""Read a BED file as an annotation with classes.

    Parameters
    ----------
    path
        BED, narrowPeak or broadPeak, plain or gzipped.
    class_column
        Number of the column that holds the class, counted from 1. None: all intervals are of
        the class ``any``. ``"auto"`` takes column 6 of ENCODE's cCRE files, else column 4;
        and no classes for peak files and where names are those of single intervals (more
        than 100 names, and more than half as many as lines).

    Returns
    -------
    DataFrame
        chrom, start, end, class.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "ccre.bed"
    >>> _ = path.write_text("chr1\t10\t20\tEH38D1\tEH38E1\tPLS\n")
    >>> read_annotation(path).row(0)
    ('chr1', 10, 20, 'PLS')
    """
    fields = _fields(_lines(path), max(6, class_column if isinstance(class_column, int) else 0))
    frame = _checked(path, fields, chrom=0, start=1, end=2)
    column = _class_column(Path(path), fields) if class_column == "auto" else class_column
    if column is None:
        return frame.with_columns(pl.lit(ANY).alias("class"))
    checks.in_range("class_column", column, 4, fields.width - 1)
    return frame.with_columns(_column(path, fields, column).alias("class"))


def read_repeatmasker(path: str | Path, *, level: RepeatLevel = "class") -> pl.DataFrame:
    r"""Read RepeatMasker's ``.out`` or UCSC's ``rmsk.txt``, plain or gzipped.

    Parameters
    ----------
    path
        The file; which of the two it is shows in its lines.
    level
        What becomes the class: ``class`` (LINE), ``family`` (L1) or ``name`` (L1PA2).

    Returns
    -------
    DataFrame
        chrom, start, end, class.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "rmsk.out"
    >>> _ = path.write_text(
    ...     " 463 1.3 0.6 1.7 chr1 10001 10468 (9) + L1PA2 LINE/L1 1 471 (0) 1\n")
    >>> read_repeatmasker(path, level="family").row(0)
    ('chr1', 10000, 10468, 'L1')
    """
    checks.one_of("level", level, ("class", "family", "name"))
    lines = _lines(path)
    if "\t" in lines["text"][0]:
        fields = _fields(lines, 13)
        frame = _checked(path, fields, chrom=5, start=6, end=7)
        classes = _column(path, fields, {"name": 11, "class": 12, "family": 13}[level])
        return frame.with_columns(classes.alias("class"))
    # Two lines of column titles stand above the rows of an .out file.
    rows = lines.filter(~pl.col("text").str.contains(r"^\s*(SW|score)\s"))
    if rows.is_empty():
        raise FormatError(f"{path}: line {lines['line'][0]}: no intervals")
    fields = _fields(rows, 11)
    frame = _checked(path, fields, chrom=4, start=5, end=6, first_base=1)
    whole = _column(path, fields, 11).str.split_exact("/", 1).struct.unnest()
    classes = {
        "name": fields["field_9"],
        "class": whole["field_0"],
        "family": whole["field_1"].fill_null(whole["field_0"]),
    }[level]
    return frame.with_columns(classes.alias("class"))


def named_annotations(
    bed: Mapping[str, str | Path],
    *,
    repeatmasker: str | Path | None = None,
    repeat_level: RepeatLevel = "class",
) -> dict[str, pl.DataFrame]:
    r"""Read several annotations, each under its name.

    Parameters
    ----------
    bed
        Name -> BED file, read by :func:`read_annotation`.
    repeatmasker
        A file for :func:`read_repeatmasker`, which comes in under the name ``repeats``.
    repeat_level
        Its level.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "open.bed"
    >>> _ = path.write_text("chr1\t10\t20\n")
    >>> named_annotations({"open": path})["open"].row(0)
    ('chr1', 10, 20, 'any')
    """
    annotations = {name: read_annotation(path) for name, path in bed.items()}
    if repeatmasker is not None:
        if "repeats" in annotations:
            raise ValueError("bed must not hold the name 'repeats' beside a RepeatMasker file")
        annotations["repeats"] = read_repeatmasker(repeatmasker, level=repeat_level)
    return annotations


def match_names(
    intervals: pl.DataFrame,
    genome: Genome,
    *,
    missing: Literal["error", "drop"] = "error",
    progress: Progress = SILENT,
) -> pl.DataFrame:
    r"""Give chromosomes the names that a genome uses: ``1`` or ``chr1``, ``MT`` or ``chrM``.

    Parameters
    ----------
    intervals
        Frame with a column chrom.
    genome
        Whose names count.
    missing
        What to do with chromosomes that the genome lacks under any name.
    progress
        Is told what was renamed and what was dropped.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "genome.fa"
    >>> _ = path.write_text(">chr1\nACGT\n")
    >>> frame = pl.DataFrame({"chrom": ["1", "2"], "start": [0, 0], "end": [2, 2]})
    >>> match_names(frame, Genome(path), missing="drop").rows()
    [('chr1', 0, 2)]
    """
    checks.one_of("missing", missing, ("error", "drop"))
    names = intervals["chrom"].unique(maintain_order=True).drop_nulls().to_list()
    other = {name: alias(name, genome.chromosomes) for name in names}
    new = {name: name if name in genome.chromosomes else other[name] for name in names}
    renamed = {name: own for name, own in new.items() if own not in (None, name)}
    absent = [name for name, own in new.items() if own is None]
    if absent and missing == "error":
        genome.require(absent)
    if renamed:
        one, own = next(iter(renamed.items()))
        progress.say(f"{len(renamed)} chromosomes renamed as in {genome.path.name}: {one} -> {own}")
    if absent:
        known = pl.col("chrom").is_in(absent).not_()
        kept = intervals.filter(known)
        gone = intervals.height - kept.height
        progress.say(f"{gone} intervals on chromosomes that {genome.path.name} lacks are left out")
        intervals = kept
    return intervals.with_columns(pl.col("chrom").replace(renamed))


def merge(intervals: pl.DataFrame) -> pl.DataFrame:
    """Unite intervals that overlap or touch, within each class or feature where there are such.

    Examples
    --------
    >>> frame = pl.DataFrame({"chrom": ["a"] * 3, "start": [5, 0, 9], "end": [7, 5, 12]})
    >>> merge(frame).rows()
    [('a', 0, 7), ('a', 9, 12)]
    """
    tag = next((name for name in ("feature", "class") if name in intervals.columns), None)
    table = encode(intervals, tag)
    shape = (len(table.tags), len(table.chroms))
    numbers, places, start, end = _core.merge(table.columns, shape)
    chroms = table.chroms.cast(pl.String).gather(places).alias("chrom")
    frame = pl.DataFrame({"chrom": chroms, "start": start, "end": end})
    return frame if tag is None else frame.with_columns(table.tags.gather(numbers).alias(tag))


def _lines(path: str | Path) -> pl.DataFrame:
    """Read the lines that hold intervals, with their numbers in the file from 1."""
    file = checks.existing_file(path, what="intervals")
    content = file.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise FormatError(f"{path}: broken gzip file: {error}") from error
    for odd in (b"\0", b"\x01"):
        if (place := content.find(odd)) >= 0:
            number = content.count(b"\n", 0, place) + 1
            raise FormatError(f"{path}: line {number}: not a text file, found {odd!r}")
    text = pl.read_csv(
        io.BytesIO(content if content.strip() else b"#"),
        has_header=False,
        new_columns=["text"],
        separator="\x01",  # in no line, as was seen, so that each becomes one value
        quote_char=None,
        infer_schema=False,
        encoding="utf8-lossy",
    )
    is_aside = pl.col("text").fill_null("").str.contains(r"^\s*$|^#|^(track|browser)(\s|$)")
    lines = text.with_row_index("line", offset=1).filter(~is_aside)
    if lines.is_empty():
        raise FormatError(f"{path}: line 1: no intervals")
    return lines


def _fields(lines: pl.DataFrame, count: int) -> pl.DataFrame:
    """Split lines into ``count`` fields, null where a line has fewer."""
    text = pl.col("text")
    if "\t" not in lines["text"][0]:
        text = text.str.strip_chars().str.replace_all(r"\s+", "\t")
    fields = text.str.strip_chars_end("\r").str.split_exact("\t", count - 1)
    return lines.select("line", fields.alias("fields")).unnest("fields")


def _column(path: str | Path, fields: pl.DataFrame, number: int) -> pl.Series:
    """Take a column, counted from 1, that every line must have."""
    column = fields[f"field_{number - 1}"]
    if column.null_count():
        line = fields.filter(column.is_null())["line"][0]
        raise FormatError(f"{path}: line {line}: no column {number}")
    return column


def _checked(
    path: str | Path, fields: pl.DataFrame, *, chrom: int, start: int, end: int, first_base: int = 0
) -> pl.DataFrame:
    """Take the coordinates out of fields, or say which line has none."""
    frame = fields.select(
        pl.col("line"),
        pl.col(f"field_{chrom}").alias("chrom"),
        pl.col(f"field_{start}").cast(pl.Int64, strict=False).alias("start") - first_base,
        pl.col(f"field_{end}").cast(pl.Int64, strict=False).alias("end"),
    )
    is_fine = (pl.col("start") >= 0) & (pl.col("start") <= pl.col("end")) & (pl.col("chrom") != "")
    wrong = frame.with_row_index("row").filter(is_fine.fill_null(False).not_())
    if wrong.is_empty():
        return frame.drop("line")
    row = wrong.row(0, named=True)
    shown = list(fields.select(f"field_{i}" for i in (chrom, start, end)).row(row["row"]))
    if row["start"] is None or row["end"] is None:
        problem = "start and end must be whole numbers"
    elif row["start"] < 0:
        problem = "start must not be negative" if not first_base else "start must be at least 1"
    else:
        problem = "start must not lie after end"
    raise FormatError(f"{path}: line {row['line']}: {problem}, found {shown}")


def _class_column(path: Path, fields: pl.DataFrame) -> int | None:
    """Guess which column of a BED file holds classes."""
    names, second = fields["field_3"], fields["field_4"]
    if names.null_count() or {".narrowPeak", ".broadPeak"} & set(path.suffixes):
        return None
    is_ccre = names.str.contains(r"^E[HM]\d+D\d+$") & second.str.contains(r"^E[HM]\d+E\d+$")
    if is_ccre.fill_null(False).all() and not fields["field_5"].null_count():
        return 6
    count = names.n_unique()
    return None if count > _MANY_NAMES and count > fields.height / 2 else 4
