"""The papers that a docstring names under References, as data: authors, title, year and address."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass

_SECTION = re.compile(r"^References\n-+\n(.*?)(?=^\S[^\n]*\n-+$|\Z)", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(
    r'(?P<authors>[^"]*?),?\s*"(?P<title>[^"]+)",?(?P<rest>.*?(?:doi:\S+|[\d)])\.(?=\s|$)|.*$)', re.DOTALL
)
"""Authors, a title in quotes, and where it appeared, up to a full stop after a number, a DOI or a remark."""
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_DOI = re.compile(r"doi:(\S+?)\.?(?=[\s,]|$)")
_YEAR = re.compile(r"\b(?:1[89]|20)\d\d\b(?!\.\d)")


@dataclass(frozen=True)
class Reference:
    """One paper."""

    authors: str
    title: str
    year: str
    key: str
    """``arXiv:...`` or ``doi:...``, or nothing where the docstring gives neither."""

    @property
    def url(self) -> str:
        """Return its address, or nothing."""
        kind, _, number = self.key.partition(":")
        return {"arXiv": f"https://arxiv.org/abs/{number}", "doi": f"https://doi.org/{number}"}.get(kind, "")

    @property
    def short(self) -> str:
        """Return authors and year as they are cited in a text; the title where the docstring names no authors."""
        return f"{_short(self.authors) or self.title} {self.year}".strip()


def references(cls: type) -> list[Reference]:
    """Return what the docstring of a class names under References, in its order."""
    section = _SECTION.search((inspect.getdoc(cls) or "") + "\n")
    return list(_entries(" ".join(section[1].split()))) if section else []


def _entries(text: str) -> Iterator[Reference]:
    for entry in _ENTRY.finditer(text):
        rest = entry["rest"]
        arxiv, doi = _ARXIV.search(rest), _DOI.search(rest)
        key = f"arXiv:{arxiv[1]}" if arxiv else f"doi:{doi[1]}" if doi else ""
        year = _YEAR.search(rest)
        yield Reference(entry["authors"].strip(), entry["title"], year[0] if year else "", key)


def _short(authors: str) -> str:
    names = [name for name in re.split(r",\s*(?:and\s+)?|\s+and\s+|\s*&\s*", authors) if name]
    if len(names) > 2:
        return f"{names[0]} et al."
    return " & ".join(names)
