"""Named pictures of packages as COCO captions: the pictures in a folder, and a JSON file for what is trained on and what is held out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from opengato.datasets.splits import held_out

_SKINS = ("-light", "-medium-light", "-medium", "-medium-dark", "-dark")
SIDE = 128  # pixels that a drawing is rendered in


class Named(NamedTuple):
    """A picture's file, PNG or SVG, what it is called, and of which kind it is, "" where that is not said."""

    file: Path
    caption: str
    kind: str


def stamps(folder: Path) -> Iterator[Named]:
    """Tux Paint's stamps, photographs cut out and drawings, with a sentence each beside the picture."""
    for path in sorted((folder / "usr/share/tuxpaint/stamps").rglob("*.png")):
        text = path.with_suffix(".txt")
        if not path.stem.endswith("_mirror") and text.is_file():
            caption = text.read_text(errors="replace").partition("\n")[0].strip()
            if caption:
                yield Named(path, caption, path.relative_to(folder / "usr/share/tuxpaint/stamps").parts[0])


def vendors_emoji(folder: Path, vendor: str) -> Iterator[Named]:
    """A vendor's emoji of 64 pixels, by their Unicode names."""
    package = folder / "package"
    for entry in json.loads((package / "emoji.json").read_text()):
        path = package / "img" / vendor / "64" / entry["image"]
        if entry["name"] and path.is_file():
            yield Named(path, entry["name"].lower(), entry["category"].lower())


def openmoji(folder: Path) -> Iterator[Named]:
    """OpenMoji's drawings, by what they are annotated as."""
    package = folder / "package"
    for entry in json.loads((package / "data/openmoji.json").read_text()):
        path = package / "color/svg" / f"{entry['hexcode']}.svg"
        if path.is_file():
            yield Named(path, entry["annotation"], entry["group"].replace("-", " "))


def fluent_emoji(folder: Path) -> Iterator[Named]:
    """Microsoft's flat emoji, by the names of their files; those that are on others' with another skin are left out."""
    for path in sorted((folder / "package/icons/flat").glob("*.svg")):
        if not path.stem.endswith(_SKINS):
            yield Named(path, path.stem.removesuffix("-default").replace("-", " "), "")


def write_captions(named: Iterable[Named], folder: Path, advance: Callable[[], object], vendor: str = "") -> None:
    """COCO's train.json and test.json, and the pictures; those that are there already stay. `advance` is told of each.

    What is held out is chosen by the caption, and for every vendor anew: so pictures are held out, and not the words. Of most of them
    another vendor's drawing is trained on.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    sides: dict[str, dict[str, list[dict[str, object]]]] = {side: {"images": [], "annotations": []} for side in ("train", "test")}
    for number, picture in enumerate(named):
        name = f"{number:012d}.png"
        if not (folder / "images" / name).is_file() and not _draw(picture.file, folder / "images" / name):
            continue
        side = sides["test" if held_out(f"{vendor} {picture.caption}".strip()) else "train"]
        side["images"].append({"id": number, "file_name": name})
        side["annotations"].append({"id": number, "image_id": number, "caption": picture.caption, "kind": picture.kind})
        advance()
    for side_name, content in sides.items():
        (folder / f"{side_name}.json").write_text(json.dumps(content))


def _draw(source: Path, target: Path) -> bool:
    """A picture as PNG, no larger than it will be looked at; whether it could be read."""
    from PIL import Image

    part = target.with_suffix(".part")
    try:
        if source.suffix == ".svg":
            part.write_bytes(_render(source))
        else:
            with Image.open(source) as image:
                image.thumbnail((4 * SIDE, 4 * SIDE))
                image.save(part, "PNG")
    except (OSError, ValueError, SyntaxError):
        return False
    part.rename(target)
    return True


def _render(source: Path) -> bytes:
    from opengato.errors import OpenGatoError

    try:
        import cairosvg
    except (ImportError, OSError) as error:  # OSError: without the library libcairo2
        raise OpenGatoError(
            f'drawings are rendered by CairoSVG: pip install "opengato[mix]", and libcairo2 of the system ({error})'
        ) from None
    try:
        found: bytes = cairosvg.svg2png(url=str(source), output_width=SIDE, output_height=SIDE)
    except Exception as error:  # a drawing that it cannot read raises whatever it met
        raise ValueError(f"{source}: {error}") from None
    return found
