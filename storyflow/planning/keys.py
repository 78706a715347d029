"""What enters a segment's key, and nothing else does:

    pixels      PIXEL_VERSION, raised only when golden pixels change
    model       identity of the weights: hub id and revision, or the hash of a folder; and of each
                LoRA the same, or its file's hash, with its scale
    fields      every profile field that changes pixels (sampler, dtype, quantization, history
                form, frame rate), and no other; see `pixel_fields` of a model kind
    prompt      the beat's text, or the digest of its embedding
    negative    likewise
    conditions  sha256 of the pictures or the clip that the segment starts from or ends on, and how
                they are fitted into the frame
    seed        the segment's own, of the take's pinned seed and its place in the take; seeds.py
    width, height, window, overlap
    label       only for kinds that draw it, empty otherwise
    history     digest of the frames (or latents) that it continues, None for a fresh shot

An embedding's key is of its text and the text encoder's identity (weights and dtype); that of a
picture or clip, as it is read, of the file's hash, the fit and the frame size, and of a clip's
frame rate and number of frames.

Never in one: the place in the film, shot id, trims, titles, transitions, delivery settings, worker
counts, and what can change the last bits only (device, attention kernel, compilation, offloading,
threads): that is the *numerics class*, which is stored beside the output.

A *recipe* is the same list with spans of the parents' recipes in place of the history's digest and
with texts in place of embeddings, so it is known before anything is rendered.

Keys and recipes are sha256 over canonical JSON (sorted names, no spaces, UTF-8), as hex.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

from storyflow.planning.nodes import Condition, SegmentInputs, Span
from storyflow.seeds import segment_seed, shot_seed
from storyflow.timing import Size

__all__ = [
    "PIXEL_VERSION",
    "canonical",
    "hashed",
    "history_digest",
    "key_inputs",
    "media_key",
    "prompt_key",
    "prompt_recipe",
    "segment_key",
    "segment_recipe",
    "segment_seed",
    "shot_seed",
]

PIXEL_VERSION = 1
"""The version of everything in storyflow that decides pixels."""

_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)


def segment_recipe(inputs: SegmentInputs, history: Sequence[Span]) -> str:
    """The name of a segment in a plan: 64 hex digits."""
    spans = ",".join([f"[{_quoted(s.segment)},{s.start},{s.stop}]" for s in history])
    texts = _quoted(inputs.prompt), _quoted(inputs.negative)
    return hashed(_segment("segment recipe", inputs, *texts, f"[{spans}]"))


def segment_key(
    inputs: SegmentInputs,
    history: str | None,
    prompt: str | None = None,
    negative: str | None = None,
) -> str:
    """The name of a segment's output: 64 hex digits.

    `history` is `history_digest` of the frames that it continues (None when fresh), `prompt` and
    `negative` the digests of the embeddings (None where the model kind embeds nothing: then the
    texts themselves are in the key).
    """
    return hashed(key_inputs(inputs, history, prompt, negative))


def key_inputs(
    inputs: SegmentInputs,
    history: str | None,
    prompt: str | None = None,
    negative: str | None = None,
) -> str:
    """The JSON text that is `hashed` to `segment_key` of the same arguments."""
    return _segment(
        "segment",
        inputs,
        canonical(inputs.prompt if prompt is None else {"embedding": prompt}),
        canonical(inputs.negative if negative is None else {"embedding": negative}),
        canonical(history),
    )


def prompt_recipe(encoder: str, text: str) -> str:
    """The name of a prompt's embedding in a plan: 64 hex digits.

    `encoder` is the identity of the text encoder (`ModelKind.encoder`).
    """
    return _digest("prompt recipe", _prompt(encoder, text))


def prompt_key(encoder: str, text: str) -> str:
    """The name of a prompt's embedding in the store: 64 hex digits."""
    return _digest("prompt", _prompt(encoder, text))


def media_key(condition: Condition, size: Size, frames: int, fps: Fraction) -> str:
    """The name, in the store, of what is read of a picture or clip: 64 hex digits.

    A picture is a start and an end alike. `frames` are a clip's last ones, 1 for a picture; only
    they depend on the model's `fps`.
    """
    body: dict[str, object] = {
        "pixels": PIXEL_VERSION,
        "file": condition.digest,
        "fit": condition.fit,
        "width": size.width,
        "height": size.height,
    }
    if condition.role == "clip":
        body |= {"tail": frames, "fps": str(fps)}
    return _digest("media", body)


def history_digest(hashes: Iterable[str]) -> str:
    """One digest for a stretch of history from the sha256 of each of its frames, in order.

    For a kind that continues from latents they are the hashes of the latent frames.
    """
    return _digest("history", {"frames": list(hashes)})


def hashed(text: str) -> str:
    """The sha256 of a text, as hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(value: object) -> str:
    """JSON that is the same for equal values. Raises ValueError for NaN and infinity."""
    return _ENCODER.encode(value)


_quoted: Callable[[str], str] = json.encoder.encode_basestring
"""`canonical` of a text."""


def _segment(what: str, inputs: SegmentInputs, prompt: str, negative: str, history: str) -> str:
    """The canonical JSON of a segment; `prompt`, `negative` and `history` are JSON already.

    Written out name by name: a film has thousands of segments that differ in a few values, and
    encoding each from a dict was the greatest single cost of planning.
    """
    spec = inputs.spec
    conditions, given = "[]", inputs.conditions
    if given:
        conditions = canonical([[c.role, c.digest, c.fit] for c in given])
    return (
        f'{{"conditions":{conditions},"fields":{_FIELDS.text(inputs.pixel_fields)},'
        f'"height":{spec.height},"history":{history},"label":{_quoted(spec.label)},'
        f'"model":{_quoted(inputs.model)},"negative":{negative},"overlap":{spec.overlap},'
        f'"pixels":{PIXEL_VERSION},"prompt":{prompt},"seed":{spec.seed},"what":"{what}",'
        f'"width":{spec.width},"window":{spec.window}}}'
    )


class _Fields:
    """The JSON of profile fields; all segments of a plan share one tuple of them.

    It is known again by identity: 1, 1.0 and True are equal, but not the same JSON.
    """

    def __init__(self) -> None:
        self._last: tuple[tuple[tuple[str, object], ...], str] = ((), "{}")

    def text(self, fields: tuple[tuple[str, object], ...]) -> str:
        """`canonical` of the fields as an object."""
        known, text = self._last
        if known is not fields:
            text = canonical(dict(fields))
            self._last = (fields, text)
        return text


_FIELDS = _Fields()


def _prompt(encoder: str, text: str) -> dict[str, object]:
    return {"pixels": PIXEL_VERSION, "encoder": encoder, "text": text}


def _digest(what: str, body: dict[str, object]) -> str:
    return hashed(canonical({"what": what, **body}))
