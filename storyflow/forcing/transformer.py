"""A lean forward pass over the weights of diffusers' SkyReelsV2Transformer3DModel.

Same numbers as the stock model, bit for bit in float32 on a CPU, with less work:

- The modulation by time stays per latent frame and is broadcast; the stock pass copies it to every
  token, which at 14B and 720P costs 18 GB.
- Keys and values of the prompt do not change within a segment: they are computed once.
- Position frequencies likewise; and the two passes of classifier-free guidance share everything
  before the prompt first enters, which is up to the first cross-attention.
- Each block is visited once for both passes, so that a block that lives in main memory travels
  once.

There is no attention mask: the released weights were not trained for block-causal attention
(SkyReels-V2 issue 58). For weights that were, each block of frames attends on its own to what it
may see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from storyflow.forcing.block import (
    Rotary,
    attend_to_frames,
    attend_to_prompt,
    modulate,
    modulation_of,
    reach_of,
    rotary_of,
)

COMPILED_SHAPES = 64
"""Window lengths that one process may compile the blocks for; torch's limit of 8 is soon reached
by shots whose last windows differ in length."""


@dataclass(frozen=True)
class PromptContext:
    """A prompt as the blocks read it: per block its key and value [1, 512, heads, head dim].

    Models that read an image have two more per block, its key and value [1, 257, heads, head dim].
    """

    blocks: tuple[tuple[Tensor, ...], ...]


@dataclass(frozen=True)
class _Time:
    """What the noise level does to each latent frame of one step; d is the hidden width.

    `blocks` [1, f, 6, d] shifts, scales and gates every block; `end` [1, f, d] the last norm. With
    one noise level for all frames f is 1.
    """

    blocks: Tensor
    end: Tensor


class LeanTransformer:
    """Predicts velocities. `model` is a SkyReelsV2Transformer3DModel in evaluation mode.

    `blocks` gives its blocks in order, anew for each pass; `model.blocks` where they need no
    fetching. `kernel` is what diffusers calls the kernel of attention.

    Class *bitwise* with these alone. Class *rounding*: another `kernel` than the stock model's;
    `fuse_guidance` runs two prompts as a batch of two once the prompt has entered, where the stock
    model with sample information takes one at a time; `compiler` names a backend of torch.compile
    (`inductor`) for both halves of a block, one graph each for a window length.
    """

    def __init__(
        self,
        model: Any,
        fps: Fraction,
        *,
        blocks: Iterable[Any] | None = None,
        kernel: str = "native",
        fuse_guidance: bool = False,
        compiler: str | Callable[..., Any] | None = None,
    ) -> None:
        self._model = model
        self._fps_id = 0 if fps == 16 else 1  # the two rates of the training set, 16 and 24
        self._blocks = model.blocks if blocks is None else blocks
        self._kernel = kernel
        self._fuse = fuse_guidance
        self._rotary: tuple[tuple[int, ...], Rotary] | None = None
        self._compiled = compiler is not None
        self._attend_to_frames = attend_to_frames
        self._attend_to_prompt = attend_to_prompt
        if compiler is not None:
            limits = torch.compiler.config
            limits.recompile_limit = max(limits.recompile_limit, COMPILED_SHAPES)
            self._attend_to_frames, self._attend_to_prompt = (
                torch.compile(half, fullgraph=True, dynamic=False, backend=compiler)
                for half in (attend_to_frames, attend_to_prompt)
            )

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the large weights; norms and time embedding stay in float32."""
        dtype: torch.dtype = self._model.patch_embedding.weight.dtype
        return dtype

    @property
    def device(self) -> torch.device:
        device: torch.device = self._model.patch_embedding.weight.device
        return device

    @property
    def channels(self) -> int:
        return int(self._model.config.in_channels)

    @property
    def text_dim(self) -> int:
        return int(self._model.config.text_dim)

    @property
    def image_dim(self) -> int | None:
        """Width of the image embedding that the model reads; None for models that read none."""
        width: int | None = self._model.config.image_dim
        return width

    def read_prompt(self, embedding: Tensor, image: Tensor | None = None) -> PromptContext:
        """Keys and values of a padded prompt embedding [1, 512, text_dim].

        `image` [1, 257, image_dim] is the CLIP embedding of full-sequence image-to-video models.
        Raises ValueError where it is given to a model that reads none, or missing for one that
        does.
        """
        embedder = self._model.condition_embedder
        if (image is None) != (embedder.image_embedder is None):
            raise ValueError(
                f"{'no' if image is None else 'an'} image embedding for a model whose image_dim is "
                f"{self.image_dim}"
            )
        text = embedder.text_embedder(embedding)  # [1, 512, d]
        picture = None if image is None else embedder.image_embedder(image)  # [1, 257, d]
        blocks: list[tuple[Tensor, ...]] = []
        for block in self._blocks:
            attention = block.attn2
            parts = [attention.norm_k(attention.to_k(text)), attention.to_v(text)]
            if picture is not None:
                key = attention.norm_added_k(attention.add_k_proj(picture))
                parts += [key, attention.add_v_proj(picture)]
            blocks.append(tuple(part.unflatten(2, (attention.heads, -1)) for part in parts))
        return PromptContext(tuple(blocks))

    def __call__(
        self,
        latents: Tensor,
        timesteps: Tensor,
        prompts: Sequence[PromptContext],
        blocks: Tensor | None = None,
        keep: list[Tensor] | None = None,
    ) -> list[Tensor]:
        """Velocities [1, out channels, f, h, w], one for each prompt.

        `latents` [1, channels, f, h, w] in the model's dtype; `timesteps` int64 [1, f], or [1, 1]
        for one noise level of all frames (models without diffusion forcing). `blocks` int64 [f]
        numbers the latent frames for weights trained for block-causal attention: a frame attends
        to blocks up to its own. `keep`, where given, is filled with what the blocks added for each
        prompt, for `again`.
        """
        rotary = self._positions(latents)
        time = self._time(timesteps, latents.dtype)
        kernel, reach = self._kernel, None if blocks is None else reach_of(blocks)
        batches = [prompts] if self._fuse else [[prompt] for prompt in prompts]
        embedded = self._embed(latents)
        hidden = [embedded]  # one until the prompts enter, then one for each batch of them
        if keep is None:
            del embedded
        for i, block in enumerate(self._blocks):
            modulation = modulation_of(block, time.blocks)
            seen = [
                self._attend_to_frames(block, hidden.pop(0), modulation, rotary, kernel, reach)
                for _ in range(len(hidden))
            ]
            if i == 0:
                seen = [seen[0].expand(len(batch), -1, -1).contiguous() for batch in batches]
            hidden = [
                self._attend_to_prompt(block, seen.pop(0), modulation, _texts(batch, i), kernel)
                for batch in batches
            ]
        if keep is not None and embedded is not None:
            keep[:] = [one for x in hidden for one in torch.split(x - embedded, 1)]
        ends = [self._to_latents(hidden.pop(0), time.end, latents.shape) for _ in batches]
        return [velocity for end in ends for velocity in torch.split(end, 1)]

    def again(self, latents: Tensor, timesteps: Tensor, added: Sequence[Tensor]) -> list[Tensor]:
        """Velocities without running a block: `added` is what the blocks added in another pass.

        Class *lossy*; see stepcache.py.
        """
        embedded, end = self._embed(latents), self._time(timesteps, latents.dtype).end
        return [self._to_latents(embedded + more, end, latents.shape) for more in added]

    def time_embedding(self, timesteps: Tensor) -> Tensor:
        """What the blocks are told of the noise levels int64 [1, f]: [1, f, 6, d]."""
        return self._time(timesteps, self.dtype).blocks

    def _embed(self, latents: Tensor) -> Tensor:
        """[1, f*h'*w', d], token after token.

        The stock pass goes on with columns of tokens, and every sum and norm after that pays for
        it.
        """
        embedded: Tensor = self._model.patch_embedding(latents).flatten(2).transpose(1, 2)
        return embedded.contiguous()

    def _time(self, timesteps: Tensor, dtype: torch.dtype) -> _Time:
        embedder = self._model.condition_embedder
        waves = embedder.timesteps_proj(timesteps)  # [1, f, freq_dim]
        waves = waves.to(embedder.time_embedder.linear_1.weight.dtype)
        end = embedder.time_embedder(waves).to(dtype)  # [1, f, d]
        blocks = embedder.time_proj(embedder.act_fn(end)).unflatten(-1, (6, -1))  # [1, f, 6, d]
        if self._model.config.inject_sample_info:
            rate = torch.full((1,), self._fps_id, dtype=torch.long, device=timesteps.device)
            rate = self._model.fps_projection(self._model.fps_embedding(rate))  # [1, 6*d]
            blocks = blocks + rate.unflatten(1, (6, -1))
        return _Time(blocks, end)

    def _positions(self, latents: Tensor) -> Rotary:
        shape = tuple(latents.shape)
        if self._rotary is None or self._rotary[0] != shape:
            plain = self._compiled or latents.dtype != torch.float32
            self._rotary = shape, rotary_of(*self._model.rope(latents), plain=plain)
        return self._rotary[1]

    def _to_latents(self, x: Tensor, end: Tensor, shape: torch.Size) -> Tensor:
        model = self._model
        p_t, p_h, p_w = model.config.patch_size
        _, _, f, h, w = shape
        table = model.scale_shift_table.unsqueeze(2)  # [1, 2, 1, d]
        shift, scale = (table + end.unsqueeze(1)).unsqueeze(3).unbind(1)  # [1, f, 1, d]
        x = modulate(model.norm_out(x.float()), shift, scale).to(x.dtype)
        x = model.proj_out(x)  # [b, f*h'*w', patch * channels]
        x = x.reshape(len(x), f // p_t, h // p_h, w // p_w, p_t, p_h, p_w, -1)
        x = x.permute(0, 7, 1, 4, 2, 5, 3, 6)
        return x.flatten(6, 7).flatten(4, 5).flatten(2, 3)  # [b, channels, f, h, w]


def _texts(batch: Sequence[PromptContext], i: int) -> tuple[Tensor, ...]:
    """What block number i reads of a batch of prompts."""
    texts = [prompt.blocks[i] for prompt in batch]
    return texts[0] if len(texts) == 1 else tuple(torch.cat(x) for x in zip(*texts, strict=True))
