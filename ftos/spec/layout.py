# SPDX-License-Identifier: AGPL-3.0-or-later
"""Keeps a file as a person laid it out when a program changes a value in it.

ruamel.yaml writes a document in its own lay-out. Held against what it writes without the change, the lines which the
change concerns are known; all others are taken from the original, with comment lines, blank lines and alignment where
they were. The comments at the ends of lines that had to be joined go above them. Pure text.
"""

from __future__ import annotations

import difflib
import re

import yaml


def indent_of(line: str) -> int:
    """How many spaces the line starts with."""
    return len(line) - len(line.lstrip(" "))


def content(text: str) -> tuple[list[str], list[list[str]]]:
    """The lines with content; for each, the comment and blank lines before it; last, those after all."""
    inside: set[int] = set()
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.ScalarEvent) and event.start_mark and event.end_mark:
            inside.update(range(event.start_mark.line + 1, event.end_mark.line + (event.end_mark.column > 0)))
    lines: list[str] = []
    gaps: list[list[str]] = [[]]
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines()):
        if number not in inside and re.match(r"\s*(#|$)", line):
            gaps[-1].append(line)
        else:
            lines.append(line)
            gaps.append([])
    return lines, gaps


def merge(text: str, before: list[str], after: list[str]) -> str:
    """The original text with the change from `before` to `after`, both in ruamel's lay-out."""
    original, gaps = content(text)
    blocks = _blocks(original, before)
    stems = _pair(before, after)
    remarks = _remarks(original)
    result: list[str] = []
    flushed = number = 0
    while number < len(after):
        position, _ = stems.get(number, (-1, False))
        lines, laid_out = blocks.get(position, (range(0), range(0)))
        kept = bool(lines) and all(stems.get(number + n) == (at, True) for n, at in enumerate(laid_out))
        if lines:
            until = lines.start + 1 if kept else lines.stop
            for line in range(flushed, until):
                result += gaps[line]
                joined = len(lines) > 1 and line in lines and not kept
                if joined and remarks[line] not in after[number]:
                    result.append(" " * indent_of(after[number]) + remarks[line])
            flushed = max(flushed, until)
        if kept:
            result.append(original[lines.start])
            for line in lines[1:]:
                result += [*gaps[line], original[line]]
            flushed = max(flushed, lines.stop)
            number += len(laid_out)
        else:
            result.append(after[number])
            number += 1
    for gap in gaps[flushed:]:
        result += gap
    return "\n".join(result) + "\n"


def _remarks(lines: list[str]) -> list[str]:
    """The comment at the end of each line, or ""."""
    ends = [len(line) for line in lines]
    for token in yaml.scan("\n".join(lines), Loader=yaml.CSafeLoader):
        if token.end_mark.column:
            ends[token.end_mark.line] = token.end_mark.column
    rests = [line[end:].strip() for line, end in zip(lines, ends, strict=True)]
    return [rest if rest.startswith("#") else "" for rest in rests]


def _blocks(original: list[str], before: list[str]) -> dict[int, tuple[range, range]]:
    """For a line of `before`: the lines of `original` that say the same as which lines of `before`, this one included.

    One line each, unless ruamel laid several out as one or more others.
    """
    blocks: dict[int, tuple[range, range]] = {}
    old, new = [_laid_out(line) for line in original], [_laid_out(line) for line in before]
    for _, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if i2 - i1 == j2 - j1:
            blocks |= {j: (range(i, i + 1), range(j, j + 1)) for i, j in zip(range(i1, i2), range(j1, j2), strict=True)}
        else:
            blocks |= dict.fromkeys(range(j1, j2), (range(i1, i2), range(j1, j2)))
    return blocks


def _laid_out(line: str) -> str:
    """What stays the same when ruamel lays a line out: its indent, and all but the number of spaces."""
    return " " * indent_of(line) + re.sub(r"\s+", "", line)


def _pair(old: list[str], new: list[str]) -> dict[int, tuple[int, bool]]:
    """For a line of `new`: the line of `old` which it stems from, and whether the two are equal."""
    pairs: dict[int, tuple[int, bool]] = {}
    for what, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        for i, j in zip(range(i1, i2), range(j1, j2), strict=False):
            pairs[j] = (i, what == "equal")
    return pairs
