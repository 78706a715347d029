"""Training stage `text`: the text encoder learns what captions say, before any picture is made.

Inside a diffusion loss a text encoder learns slowly. Here it reads captions, and small heads, which
are thrown away, ask it for the scene: who, of what colour, doing what, where, in which light.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from storyflow.toybox import architecture, captions, scenes
from storyflow.toybox.checkpoint import Log, restore, store
from storyflow.toybox.places import PLACES
from storyflow.toybox.shapes import SHAPES
from storyflow.toybox.world import ACTIONS, CAMERAS, COLOURS, LIGHTS, SIZES, Scene

QUESTIONS: Final[dict[str, tuple[str, ...]]] = {
    "colour": tuple(COLOURS),
    "shape": tuple(SHAPES),
    "action": ACTIONS,
    "second colour": ("none", *COLOURS),
    "second shape": ("none", *SHAPES),
    "second action": ("none", *ACTIONS),
    "place": PLACES,
    "light": LIGHTS,
    "camera": CAMERAS,
    "size": ("none", *SIZES),
}


@dataclass(frozen=True)
class TextPlan:
    """How long and on what."""

    steps: int = 900
    batch: int = 64
    rate: float = 2e-3
    seed: int = 4


class Reader(nn.Module):
    """The text encoder with a learned query and a linear head per question."""

    def __init__(self, text_encoder: Any) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.queries = nn.Parameter(torch.randn(len(QUESTIONS), architecture.TEXT_DIM) * 0.1)
        self.heads = nn.ModuleList(
            nn.Linear(architecture.TEXT_DIM, len(answers)) for answers in QUESTIONS.values()
        )

    def loss(self, ids: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Cross entropy, and which answers [batch, questions] are right."""
        mask = ids != 0
        states = self.text_encoder(ids, mask.long()).last_hidden_state
        scores = (self.queries @ states.mT).masked_fill(~mask[:, None], float("-inf"))
        seen = scores.softmax(dim=2) @ states
        said = [head(seen[:, i]) for i, head in enumerate(self.heads)]
        losses = [F.cross_entropy(each, answers[:, i]) for i, each in enumerate(said)]
        right = torch.stack([each.argmax(dim=1) for each in said], dim=1) == answers
        return torch.stack(losses).mean(), right


def answers_of(scene: Scene, frame: int) -> list[int]:
    """The right answers, as numbers, in the order of `QUESTIONS`."""
    doing = scene.actions(frame)
    two = len(scene.figures) == 2
    first, second = scene.figures[0], scene.figures[-1]
    words = (
        first.colour,
        first.shape,
        doing[0],
        second.colour if two else "none",
        second.shape if two else "none",
        doing[1] if two else "none",
        scene.place,
        scene.light,
        scene.camera,
        scene.size or "none",
    )
    return [choices.index(word) for choices, word in zip(QUESTIONS.values(), words, strict=True)]


@torch.no_grad()
def start_text(text_encoder: Any, seed: int) -> None:
    """Start values: word vectors, and heads that look to one side each, near or far.

    Which colour belongs to which shape, and who is named first, is a matter of order; from even
    start values that is learned last.
    """
    source = torch.Generator().manual_seed(seed)
    for name, weight in text_encoder.named_parameters():
        if "shared" in name:
            weight.copy_(torch.randn(weight.shape, generator=source))
        elif "relative_attention_bias" in name:
            # Buckets: 0 the word itself, 1 and on earlier words, from the half on later ones.
            half = len(weight) // 2
            weight.zero_()
            weight[1:3, 0] = weight[half + 1 : half + 3, 1] = 3.0
            weight[1:half, 2] = weight[half + 1 :, 3] = 3.0


def train(plan: TextPlan, work: Path, device: torch.device) -> Any:
    """Train (or go on) in `work`; returns the text encoder. Step n depends on seed and n alone."""
    built = architecture.build(plan.seed)
    start_text(built.text_encoder, plan.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        reader = Reader(built.text_encoder)
    reader.to(device).train()
    optimizer = torch.optim.AdamW(
        reader.parameters(), lr=plan.rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    first = restore(work / "text.pt", reader, optimizer)
    log = Log(work / "text.csv", ("step", "loss", *(name.replace(" ", "_") for name in QUESTIONS)))
    losses: list[float] = []
    rights: list[Tensor] = []
    for step in range(first, plan.steps):
        warm = min(1.0, (step + 1) / 100)
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * min(warm, 1.2 * (1 - step / plan.steps))
        ids, answers = _batch(plan, built.tokenizer, step)
        loss, right = reader.loss(ids.to(device), answers.to(device))
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward([loss])
        torch.nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        rights.append(right.float().mean(dim=0).cpu())
        if (step + 1) % 50 == 0 or step + 1 == plan.steps:
            share = torch.stack(rights).mean(dim=0).tolist()
            log.write(step + 1, f"{np.mean(losses):.5f}", *(f"{each:.3f}" for each in share))
            losses.clear()
            rights.clear()
        if (step + 1) % 250 == 0 or step + 1 == plan.steps:
            store(work / "text.pt", step + 1, reader, optimizer)
    return reader.text_encoder.eval()


def load(work: Path) -> Any:
    """The text encoder of a work folder. Raises FileNotFoundError where it was not trained."""
    built = architecture.build(0)
    if not restore(work / "text.pt", Reader(built.text_encoder)):
        raise FileNotFoundError(f"{work / 'text.pt'} is missing; train the stage `text` first")
    return built.text_encoder.eval()


def _batch(plan: TextPlan, tokenizer: Any, step: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng([plan.seed, step])
    texts, answers = [], []
    for i in range(plan.batch):
        scene = scenes.sample(int(plan.seed * 10**9 + step * plan.batch + i))
        texts.append(captions.prompt(scene, 0, rng, full=bool(rng.random() < 0.3)))
        answers.append(answers_of(scene, 0))
    ids = tokenizer(texts, padding=True, truncation=True, return_tensors="pt").input_ids
    return ids, torch.tensor(answers)
