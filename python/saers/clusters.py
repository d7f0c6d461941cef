"""Motifs that say the same, gathered: one archetype for each group of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from saers import checks, schema
from saers.matches import tomtom
from saers.motif import Motif, read_motifs
from saers.progress import SILENT, Progress

# Leaders that are compared at once: their matches alone are kept, which bounds memory.
CHUNK = 128
# Sites of a motif that does not say how many it has.
DEFAULT_SITES = 20.0
# Share of the sites that must cover a position of an archetype.
COVERED = 0.5


class Clusters(NamedTuple):
    """Archetypes and what they were made of."""

    archetypes: list[Motif]
    """By number of sites, most first; ids ``A1``, ``A2``, …; the name is the leader's id."""
    members: pl.DataFrame
    """Columns of :data:`saers.schema.MEMBERS`."""


def cluster_motifs(
    motifs: Sequence[Motif] | str | Path,
    *,
    max_pvalue: float = 1e-5,
    min_ic: float = 0.25,
    dist: str = "ed",
    min_overlap: int = 5,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> Clusters:
    """Make one non-redundant set of many motifs.

    Motifs are taken by the information they carry times their sites, most first. Each becomes
    the leader of a group unless it already belongs to one, and all motifs without a group that
    it matches join it, at the offset and strand of the match. So no chain of matches joins what
    does not resemble the leader itself. An archetype is the mean of its members' columns,
    weighted by sites, where members with half of all sites reach, less its weak flanks.

    Parameters
    ----------
    motifs
        Motifs with ids of their own, or a file of them.
    max_pvalue
        Largest p-value (:func:`saers.tomtom`) of a member against its leader.
    min_ic
        Flanks of an archetype with fewer bits are cut off.
    dist, min_overlap, threads
        As in :func:`saers.tomtom`.
    progress
        Told one step a motif that has found its group.

    Examples
    --------
    >>> box = np.eye(4)[[1, 0, 1, 2, 3, 2, 0, 0]]
    >>> near = 0.9 * box + 0.025
    >>> turned, other = near[::-1, ::-1], box[:, [1, 0, 3, 2]]
    >>> motifs = [Motif("a", "", box), Motif("b", "", turned), Motif("c", "", other)]
    >>> found = cluster_motifs(motifs, max_pvalue=0.01)
    >>> [(m.id, m.name, m.consensus) for m in found.archetypes]
    [('A1', 'a', 'CACGTGAA'), ('A2', 'c', 'ACATGTCC')]
    >>> found.members.select("archetype", "motif_id", "offset", "orientation").rows()
    [('A1', 'a', 0, '+'), ('A1', 'b', 0, '-'), ('A2', 'c', 0, '+')]
    """
    checks.in_range("max_pvalue", max_pvalue, 0, 1)
    listed = read_motifs(motifs) if isinstance(motifs, str | Path) else list(motifs)
    by_id = {motif.id: motif for motif in listed}
    if len(by_id) < len(listed):
        twice = next(motif.id for motif in listed if by_id[motif.id] is not motif)
        raise ValueError(f"motifs must have ids of their own, {twice!r} occurs twice")
    waiting = sorted(by_id.values(), key=lambda motif: (-_strength(motif), motif.id))
    progress.start("motifs in groups", len(waiting))
    groups: list[list[_Member]] = []
    grouped: set[str] = set()
    while waiting:
        chunk = [motif for motif in waiting[:CHUNK] if motif.id not in grouped]
        waiting = waiting[CHUNK:]
        # Only those without a group can still join one.
        free = [*chunk, *(motif for motif in waiting if motif.id not in grouped)]
        matches = tomtom(
            chunk,
            free,
            dist=dist,
            min_overlap=min_overlap,
            thresh=max_pvalue,
            pvalue=True,
            threads=threads,
        )
        columns = ("target_id", "optimal_offset", "orientation", "log10_p")
        near = matches.partition_by("query_id", as_dict=True)
        for leader in chunk:
            if leader.id in grouped:
                continue
            table = near.get((leader.id,))
            rows = [] if table is None else table.select(columns).sort("target_id").rows()
            group = [_Member(leader, 0, False, float("nan"))]
            group += [
                _Member(by_id[id], offset, strand == "-", log10_p)
                for id, offset, strand, log10_p in rows
                if id not in grouped and id != leader.id
            ]
            grouped.update(member.motif.id for member in group)
            groups.append(group)
            progress.advance(len(group))
    groups.sort(key=lambda group: (-sum(_sites(m.motif) for m in group), group[0].motif.id))
    return _clusters(groups, min_ic)


class _Member(NamedTuple):
    motif: Motif
    offset: int
    """Position of the leader's first column in the member, read on its strand."""
    reverse: bool
    log10_p: float


def _clusters(groups: list[list[_Member]], min_ic: float) -> Clusters:
    archetypes = [_archetype(f"A{i}", group, min_ic) for i, group in enumerate(groups, start=1)]
    rows = [
        (archetype.id, member.motif.id, member.offset, "-" if member.reverse else "+", log10_p)
        for archetype, group in zip(archetypes, groups, strict=True)
        for member in group
        for log10_p in [None if np.isnan(member.log10_p) else member.log10_p]
    ]
    members = pl.DataFrame(rows, schema=dict(schema.MEMBERS), orient="row")
    return Clusters(archetypes, members)


def _archetype(id: str, group: list[_Member], min_ic: float) -> Motif:
    """Average the columns of a group in the frame of its leader."""
    first = min(-member.offset for member in group)
    end = max(member.motif.width - member.offset for member in group)
    sums, weights = np.zeros((end - first, 4)), np.zeros(end - first)
    for member in group:
        matrix = _turned(member)
        part = slice(-member.offset - first, -member.offset - first + len(matrix))
        sums[part] += _sites(member.motif) * matrix
        weights[part] += _sites(member.motif)
    total = sum(_sites(member.motif) for member in group)
    kept = np.flatnonzero(weights >= COVERED * total)
    leader = group[0].motif
    # A heavy narrow member may leave gaps between what is covered: keep the stretch around all.
    part = slice(kept[0], kept[-1] + 1) if len(kept) else slice(-first, -first + leader.width)
    matrix = sums[part] / weights[part, None]
    return Motif(id, leader.id, matrix, total, leader.background).trim(min_ic)


def _turned(member: _Member) -> NDArray[np.float64]:
    return member.motif.matrix[::-1, ::-1] if member.reverse else member.motif.matrix


def _sites(motif: Motif) -> float:
    return motif.n_sites or DEFAULT_SITES


def _strength(motif: Motif) -> float:
    return float(motif.information.sum()) * _sites(motif)
