"""The picture of colour match in docs/quality.md: frames before and after seams, in each mode.

python tests/bench/qc_picture.py --films FOLDER --to docs/colour-match.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from bench_qc import matched
from PIL import Image, ImageDraw
from qc_films import read

GAP, SIDE, LARGER = 6, 62, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True)
    given = parser.parse_args()
    shot = read(given.films, 0)
    assert shot is not None
    seams = (shot.seams[0], shot.seams[1], shot.seams[-1])
    height, width = (n * LARGER for n in shot.frames.shape[1:3])
    size = (SIDE + len(seams) * (2 * width + GAP), 3 * (height + GAP) + 16)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for row, mode in enumerate(("none", "seams", "first")):
        match = matched(shot, mode)
        top = 16 + row * (height + GAP)
        draw.text((4, top + height // 2 - 5), mode, fill="black")
        for column, seam in enumerate(seams):
            left = SIDE + column * (2 * width + GAP)
            if row == 0:
                draw.text((left, 2), f"frames {seam - 1} and {seam}", fill="black")
            for place, index in enumerate((seam - 1, seam)):
                frame = match.apply(index, shot.frames[index])
                large = np.repeat(np.repeat(frame, LARGER, axis=0), LARGER, axis=1)
                sheet.paste(Image.fromarray(large), (left + place * width, top))
    sheet.save(given.to, optimize=True)


if __name__ == "__main__":
    main()
