"""A hook of mkdocs: the READMEs and the tiny results become pages, and links between files those between pages.

The files of docs/ link to each other and to the READMEs by their places in the repository, so that they can be read
there too. On the pages, links to other files of the repository (its source) become plain text.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": "index.md",
    "recipes/README.md": "recipes.md",
    "recipes/tiny/results/results.md": "tiny-results.md",
}
PICTURES = ("recipes/tiny/results/lineages.png",)

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")
_PICTURE = re.compile(r"(!\[[^\]]*\])\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are written elsewhere in the repository."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for picture in PICTURES:
        files.append(File.generated(config, Path(picture).name, abs_src_path=str(ROOT / picture)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between files into links between pages."""
    folder = next((Path(source).parent for source, made in PAGES.items() if made == page.file.src_uri), Path("docs"))
    markdown = _PICTURE.sub(lambda picture: f"{picture[1]}({_picture(picture[2], folder)})", markdown)
    return _LINK.sub(lambda link: _as_page(link[1], link[2], folder), markdown)


def _picture(target: str, folder: Path) -> str:
    """Where a picture of a file of ``folder`` is on the pages."""
    name = (folder / target).as_posix()
    return Path(name).name if name in PICTURES else name.removeprefix("docs/")


def _as_page(text: str, target: str, folder: Path) -> str:
    """A link as it stands in a file of ``folder``, as it must stand in its page."""
    path, hash_, anchor = target.partition("#")
    if ":" in target or not path:
        return f"[{text}]({target})"
    place = (ROOT / folder / path).resolve()
    name = place.relative_to(ROOT).as_posix() if place.is_relative_to(ROOT) else path
    if place.is_dir() and f"{name}/README.md" in PAGES:
        name = f"{name}/README.md"
    if name in PAGES:
        return f"[{text}]({PAGES[name]}{hash_}{anchor})"
    if name.startswith("docs/"):
        return f"[{text}]({name.removeprefix('docs/')}{hash_}{anchor})"
    return text if place.exists() else f"[{text}]({target})"
