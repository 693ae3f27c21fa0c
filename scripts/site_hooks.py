"""What mkdocs.yml asks for: the README as the site's first page, and links to files that are not on the site.

Those become links into `repo_url` where mkdocs.yml has one, and plain text where it has none.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://|#|mailto:)([^)\s]+)\)")


def on_files(files: Any, config: Any) -> Any:
    """README.md is index.md, its links seen from docs/; CONTRIBUTING.md and CHANGELOG.md have pages too."""
    for name, page in {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}.items():
        text = _LINK.sub(_from_docs, (ROOT / name).read_text())
        files.append(File.generated(config, page, content=text))
    return files


def _from_docs(found: re.Match[str]) -> str:
    """A link of a file beside docs/, as a file inside it would write it."""
    target = found[3].removeprefix("docs/") if found[3].startswith("docs/") else f"../{found[3]}"
    return f"{found[1]}[{found[2]}]({target})"


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links to what is outside docs/."""

    def replaced(found: re.Match[str]) -> str:
        target, _, anchor = found[3].partition("#")
        if not target.startswith("../"):
            return found[0]
        if (name := target.removeprefix("../").lower()) in ("contributing.md", "changelog.md", "readme.md"):
            return f"[{found[2]}]({'index.md' if name == 'readme.md' else name}{'#' + anchor if anchor else ''})"
        if not (ROOT / target.removeprefix("../")).exists():
            raise ValueError(f"{page.file.src_uri} links to {target}, which is not there")
        address = f"{config.repo_url.rstrip('/')}/blob/main/{target.removeprefix('../')}" if config.repo_url else ""
        return f"[{found[2]}]({address})" if address else found[2]

    return _LINK.sub(replaced, markdown)
