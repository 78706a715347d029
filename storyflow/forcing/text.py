"""Prompts to umT5 embeddings, as the SkyReels-V2 pipelines make them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from storyflow.errors import SegmentError
from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.loading import load_text_encoder
from storyflow.forcing.tokens import TEXT_TOKENS, clean
from storyflow.forcing.windowed import encoder_numerics, pinned_threads


class UMT5TextEncoder:
    """The text half of a model as a `TextEncoder`; a worker of its own, it is the larger half."""

    def __init__(self, config: ForcingConfig) -> None:
        self._config = config
        self._loaded: tuple[Any, Any] | None = None

    def setup(self) -> None:
        """Load umT5 and its tokenizer. Raises ModelError."""
        if self._loaded is None:
            self._loaded = load_text_encoder(self._config)

    def numerics(self) -> str:
        """What can change the last bits of an embedding: see `encoder_numerics`."""
        return encoder_numerics(self._config)

    def encode(self, text: str) -> NDArray[np.float32]:
        """float32 [tokens, text_dim], without padding.

        Raises SegmentError for a text of more than 512 tokens: nothing is cut off in silence.
        """
        self.setup()
        assert self._loaded is not None
        encoder, tokenizer = self._loaded
        cleaned = clean(text)
        tokens = len(tokenizer(cleaned, add_special_tokens=True, truncation=False).input_ids)
        if tokens > TEXT_TOKENS:
            raise SegmentError(
                f"a prompt of {tokens} tokens is longer than the model reads, {TEXT_TOKENS}: "
                f"{cleaned[:60]!r}...",
                cure=f"shorten what the shot, its cast, place and style say by about "
                f"{tokens - TEXT_TOKENS} tokens",
            )
        # Padded to full length and masked, so that the bits are those of the stock pipeline.
        padded = tokenizer(
            cleaned,
            padding="max_length",
            max_length=TEXT_TOKENS,
            add_special_tokens=True,
            return_attention_mask=True,
            return_tensors="pt",
        ).to(encoder.device)
        with pinned_threads(self._config.threads), torch.inference_mode():
            states = encoder(padded.input_ids, padded.attention_mask).last_hidden_state
        embedding: NDArray[np.float32] = states[0, :tokens].float().cpu().numpy()
        return embedding

    def close(self) -> None:
        """Give the memory back; the next `encode` loads again."""
        self._loaded = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
