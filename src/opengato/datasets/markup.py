"""A page of HTML as its reader meets it: texts, and the figures between them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser

_UNSEEN = {"script", "style", "noscript", "template", "head", "nav", "footer", "iframe", "svg", "form", "button"}
_BLOCKS = {"p", "div", "section", "article", "main", "header", "aside", "figure", "figcaption", "blockquote", "pre", "address", "details"}
_BLOCKS |= {"summary", "table", "caption", "tr", "ul", "ol", "li", "dl", "dt", "dd", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "br"}
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


@dataclass(frozen=True)
class Figure:
    """A picture of a page, by the address that the page gives it."""

    address: str


def read_page(html: str) -> list[str | Figure]:
    """Texts, their paragraphs a line each, and figures, in order; what is not shown, and menus, are left out."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    reader.end_line()
    parts: list[str | Figure] = []
    for part in reader.parts:
        if isinstance(part, str) and parts and isinstance(parts[-1], str):
            parts[-1] = f"{parts[-1]}\n{part}"
        else:
            parts.append(part)
    return parts


def page_text(html: str) -> str:
    """The words of a page, a paragraph a line."""
    return "\n".join(part for part in read_page(html) if isinstance(part, str))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str | Figure] = []
        self._line: list[str] = []
        self._unseen: list[str] = []  # open elements of which nothing is shown
        self._verbatim = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "body":  # a head that was never closed
            self._unseen.clear()
        if self._unseen:
            if tag in _UNSEEN and tag not in _VOID:
                self._unseen.append(tag)
            return
        if tag in _UNSEEN:
            self.end_line()
            self._unseen.append(tag)
            return
        if tag in _BLOCKS:
            self.end_line()
        self._verbatim += tag == "pre"
        if tag == "img":
            given = dict(attrs)
            address = given.get("src") or given.get("data-src")
            if address and not address.startswith("data:"):
                self.end_line()
                self.parts.append(Figure(address))

    def handle_endtag(self, tag: str) -> None:
        if self._unseen:
            if tag in self._unseen:
                while self._unseen.pop() != tag:
                    pass
            return
        if tag in _BLOCKS:
            self.end_line()
        if tag == "pre":
            self._verbatim = max(self._verbatim - 1, 0)

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self._line.append(data if self._verbatim else re.sub(r"\s+", " ", data))

    def end_line(self) -> None:
        """What was said so far is a paragraph."""
        text = "".join(self._line)
        text = text.strip("\n").rstrip() if self._verbatim else re.sub(r" +", " ", text).strip()
        if text.strip():
            self.parts.append(text)
        self._line.clear()
