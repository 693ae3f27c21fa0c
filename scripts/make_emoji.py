"""Build the table of named emoji that ships with the package.

    npm pack emoji-datasource-google && tar xzf emoji-datasource-google-*.tgz && python scripts/make_emoji.py package

The pictures are Noto Emoji (Apache-2.0), the names Unicode's, collected by the npm package emoji-datasource-google (MIT).
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
from PIL import Image

OUT = Path(__file__).parents[1] / "src/opengato/datasets/data/emoji.parquet"


def main(package: Path) -> None:
    rows = []
    for emoji in json.loads((package / "emoji.json").read_text()):
        path = package / "img/google/64" / emoji["image"]
        if not path.is_file() or emoji["category"] in ("Flags", "Component"):
            continue
        picture = Image.open(path).convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        white.alpha_composite(picture)
        png = io.BytesIO()
        # 64 colours are enough for flat drawings and keep the package small.
        white.convert("RGB").quantize(64).save(png, "PNG", optimize=True)
        rows.append({"png": png.getvalue(), "name": emoji["name"].lower().replace("_", " "), "group": emoji["category"]})
    OUT.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), OUT)
    print(f"{len(rows)} emoji, {OUT.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
