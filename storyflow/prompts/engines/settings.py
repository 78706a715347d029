"""Which language model, and how its engine is run: plain values, no engine is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Engine = Literal["vllm", "openai"]

Guidance = Literal["response_format", "vllm", "none"]
"""How a server is told the schema of an answer: as OpenAI does, as vLLM does, or not at all."""

ENHANCER = "Qwen/Qwen2.5-32B-Instruct"
CAPTIONER = "Skywork/SkyCaptioner-V1"


@dataclass(frozen=True)
class EngineSettings:
    """One language model.

    `model` is a hub id, a local folder or the name that a server knows; `revision` a commit, tag
    or branch. For `vllm`: the GPUs that share the model, the part of their memory that it may use,
    the longest question with its answer in tokens (None is the model's own), the numbers it
    computes with, and how many seconds it may take to load, be silent, and be at one batch (None
    goes by the batch). For `openai`: the server's address up to and with `/v1`, seconds for one
    answer, questions at once, attempts at one, how it takes a schema, and whether it takes whole
    clips or only single pictures.
    """

    engine: Engine
    model: str = ""
    revision: str | None = None
    tensor_parallel: int = 1
    gpu_memory: float = 0.9
    max_model_len: int | None = 16384
    dtype: str = "auto"
    load_timeout: float = 7200.0
    silence: float = 600.0
    batch_timeout: float | None = None
    url: str = ""
    timeout: float = 300.0
    concurrency: int = 16
    attempts: int = 4
    guidance: Guidance = "response_format"
    takes_clips: bool = True
