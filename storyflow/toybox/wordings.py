"""Training stage `wordings`: captions of the training set, as the frozen text encoder reads them.

Every stretch gets a few wordings, and where its action changes a few for each action. The encoder
reads them once; a training step only looks them up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from storyflow.prompts.negative import NEGATIVE
from storyflow.toybox import architecture, captions
from storyflow.toybox.windows import LATE, STILLS, Portion

COPIES: Final = {STILLS.name: 2}
"""Wordings of a stretch and action, where not `MOVING`."""
MOVING: Final = 8
EMPTY: Final = "empty"
"""The name of the captions for classifier-free guidance: one without words, then parts of the
negative prompt."""
NEGATIVES: Final = 31
LONGEST: Final = 48
"""Tokens of a caption."""
BATCH: Final = 64
SEED: Final = 6

_RNG = np.random.Generator


class Wordings:
    """The encoded captions of a portion: all their tokens in a row."""

    def __init__(self, path: Path) -> None:
        states, ends = path.with_suffix(".npy"), path.with_suffix(".ends.npy")
        if not ends.exists():
            raise FileNotFoundError(f"{ends} is missing; run the stage `wordings` first")
        self.states: NDArray[np.float16] = np.load(states, mmap_mode="r", allow_pickle=False)
        self.ends: NDArray[np.int64] = np.load(ends, allow_pickle=False)
        self.copies = COPIES.get(path.name, MOVING)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, place: int) -> NDArray[np.float16]:
        """Caption number `place`, [tokens, 128]."""
        first = self.ends[place - 1] if place else 0
        return self.states[first : self.ends[place]]

    def pick(self, stretch: int, part: int, parts: int, rng: _RNG) -> NDArray[np.float16]:
        """Some wording of action `part` of a stretch, in a portion whose stretches have `parts`."""
        return self[(stretch * parts + part) * self.copies + int(rng.integers(self.copies))]


def parts_of(portion: str) -> int:
    """How many actions a stretch of a portion can have."""
    return 1 if portion in (STILLS.name, LATE.name) else 2


def pad(texts: list[NDArray[np.float16]]) -> tuple[Tensor, Tensor]:
    """Captions of several lengths as [n, 48, 128] and their lengths [n]: one shape is compiled
    once. What is longer, one caption in six thousand, loses its last words."""
    states = np.zeros((len(texts), LONGEST, architecture.TEXT_DIM), np.float32)
    for row, text in zip(states, texts, strict=True):
        row[: len(text)] = text[:LONGEST]
    return torch.from_numpy(states), torch.tensor([min(len(text), LONGEST) for text in texts])


def write(text_encoder: Any, folder: Path, portions: Iterable[Portion], seed: int) -> None:
    """Encode the captions of stretches `seed` of the portions; what is there is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(text_encoder, folder / EMPTY, _empty())
    for portion in portions:
        _write(text_encoder, folder / portion.name, _texts(portion, seed))


def _empty() -> Iterator[str]:
    rng = np.random.default_rng([SEED, 1])
    pieces = NEGATIVE.split(", ")
    yield ""
    for _ in range(NEGATIVES):
        first, last = sorted(rng.integers(0, len(pieces) + 1, 2))
        yield ", ".join(pieces[first:last])


def _texts(portion: Portion, seed: int) -> Iterator[str]:
    copies = COPIES.get(portion.name, MOVING)
    for stretch in portion.stretches(seed):
        scene = stretch.scene()
        rng = np.random.default_rng([stretch.seed, stretch.start, SEED])
        for part in range(parts_of(portion.name)):
            frame = stretch.start if part == 0 else (stretch.turn_at or stretch.start)
            for _ in range(copies):
                yield captions.prompt(scene, frame, rng)


@torch.no_grad()
def _write(text_encoder: Any, path: Path, texts: Iterator[str]) -> None:
    if path.with_suffix(".ends.npy").exists():
        return
    tokenizer, device = architecture.tokenizer(), next(text_encoder.parameters()).device
    rows: list[NDArray[np.float16]] = []
    lengths: list[int] = []
    waiting: list[str] = []

    def read() -> None:
        tokens = tokenizer(waiting, padding=True, truncation=True, return_tensors="pt").to(device)
        said = text_encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
        rows.append(said[tokens.attention_mask.bool()].cpu().numpy().astype(np.float16))
        lengths.extend(tokens.attention_mask.sum(dim=1).tolist())
        waiting.clear()

    for text in texts:
        waiting.append(text)
        if len(waiting) == BATCH:
            read()
    if waiting:
        read()
    np.save(path.with_suffix(".npy"), np.concatenate(rows))
    np.save(path.with_suffix(".ends.npy"), np.cumsum(lengths))
