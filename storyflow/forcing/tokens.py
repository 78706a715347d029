"""How long a prompt is to the text encoder, without loading it: neither torch nor weights.

tokens = PromptTokens("toybox")
tokens.count("a red ball rolls")    # with the end mark, as the text encoder counts
"""

from __future__ import annotations

import html
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from storyflow.errors import ModelError
from storyflow.forcing.weights.source import locate

TEXT_TOKENS = 512
"""Tokens that a text encoder of SkyReels-V2 reads."""

_FILE = "tokenizer.json"


def clean(text: str) -> str:
    """Repair broken characters and HTML entities and join white space, as in training."""
    import ftfy

    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return re.sub(r"\s+", " ", text.strip()).strip()


class PromptTokens:
    """Counts tokens with a model's own tokenizer, which is read when it is first needed."""

    limit = TEXT_TOKENS

    def __init__(self, model: str, revision: str | None = None) -> None:
        self._model = model
        self._revision = revision

    def fits(self, text: str) -> bool | None:
        """Whether the text encoder reads all of a text; None where the tokenizer isn't here."""
        # A token is at least one letter; one is the end mark, one the space before the first word.
        if text.isascii() and len(text) <= self.limit - 2:
            return True
        tokens = self.count(text)
        return None if tokens is None else tokens <= self.limit

    def count(self, text: str) -> int | None:
        """Tokens of a text, the end mark included; None where the tokenizer isn't here.

        Of a hub model, here means the local cache. Raises ModelError for a broken file.
        """
        file = _file(self._model, self._revision, fetch=False)
        return None if file is None else len(_tokenizer(file).encode(clean(text)).ids)

    def fetch(self) -> bool:
        """Bring a hub model's tokenizer here; whether there is one now."""
        return _file(self._model, self._revision, fetch=True) is not None


@lru_cache(maxsize=16)
def _tokenizer(file: Path) -> Any:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare exceptions
        raise ModelError(
            f"{file} is no tokenizer ({error})", cure="download the model's folder again"
        ) from error
    # Both would hide how long a text is.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _file(model: str, revision: str | None, *, fetch: bool) -> Path | None:
    source = locate(model, revision)
    if source.folder is not None:
        file = source.folder / "tokenizer" / _FILE
        return file if file.is_file() else None
    if source.hub_id is None:
        return None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        path = hf_hub_download(
            source.hub_id,
            f"tokenizer/{_FILE}",
            revision=revision,
            local_files_only=not fetch,
        )
    except (HfHubHTTPError, HFValidationError, OSError, ValueError):
        return None
    return Path(path)
