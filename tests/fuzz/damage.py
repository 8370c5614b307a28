"""Strategies that damage files: bytes lost, turned over, repeated and put in, by places and pieces that matter."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

# What lengths, counts and texts go wrong with.
PIECES = [
    b"\0",
    b"\xff",
    b"\0" * 600,
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"\0\0\0\x01",
    b"\n",
    b"\r",
    b",",
    b";",
    b'"',
    b"-1",
    b"nan",
    b"1e400",
    b"9" * 40,
    b"../",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    "é".encode(),
    b"=1+1",
]
EDITS = ("flip", "write", "insert", "cut", "keep", "repeat", "zero")
EDIT = st.tuples(
    st.sampled_from(EDITS), st.floats(0, 1), st.integers(0, 700), st.sampled_from(PIECES) | st.binary(max_size=4)
)
# A value where another kind of value should be.
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 1, 2**31, 2**63, 10**400, math.nan, math.inf, -math.inf, 1e308, 5e-324]),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "null", "../../x", "a\nb", "\0", "${oc.env:HOME}", "mae", "sample"]),
    st.lists(st.integers(-3, 300) | st.none() | st.floats(), max_size=4),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)


def damaged(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of these files with up to six edits."""
    return st.builds(_edit_all, st.sampled_from(seeds), st.lists(EDIT, max_size=6))


def _edit_all(data, edits):
    for edit in edits:
        data = _edit(data, *edit)
    return data


def _edit(data, kind, share, count, piece):
    at = int(share * len(data))
    if kind == "flip":
        flipped = bytes([data[at] ^ (1 << count % 8)]) if at < len(data) else b""
        return data[:at] + flipped + data[at + 1 :]
    if kind == "keep":
        return data[:at]
    if kind == "zero":
        zeros = min(count, len(data) - at)
        return data[:at] + bytes(zeros) + data[at + zeros :]
    changes = {
        "write": piece + data[at + len(piece) :],
        "insert": piece + data[at:],
        "cut": data[at + count :],
        "repeat": data[at : at + count] + data[at:],
    }
    return data[:at] + changes[kind]


def with_other_values(tree: Any, write: Callable[[Any], bytes]) -> st.SearchStrategy[bytes]:
    """`write` of a tree of dicts and lists in which one or two values, at any depth, are others or missing."""
    change = st.tuples(st.sampled_from(_places(tree)), st.just(MISSING) | VALUES)
    return st.lists(change, min_size=1, max_size=2).map(lambda changes: write(_changed(tree, changes)))


MISSING = object()


def _places(tree, place=()):
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    found = [place] if place else []
    for key, child in children:
        found += _places(child, (*place, key))
    return found


def _changed(tree, changes):
    tree = json.loads(json.dumps(tree))
    for place, value in changes:
        parent = tree
        try:
            for key in place[:-1]:
                parent = parent[key]
            if value is MISSING:
                del parent[place[-1]]
            else:
                parent[place[-1]] = value
        except (KeyError, IndexError, TypeError):  # the first change took it away
            continue
    return tree
