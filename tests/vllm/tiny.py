"""Tiny random models in the folders' form that vLLM loads: a Qwen2 and a Qwen2.5-VL.

They know nothing, but their weights lean towards closing quotes, so that texts end soon.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' or part['type'] == 'image_url' %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' or part['type'] == 'video_url' %}"
    "<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
KEYS = json.dumps(
    {
        "subjects": [
            {
                "TYPES": {"type": "", "sub_type": ""},
                "appearance": "",
                "action": "",
                "expression": "",
                "position": "",
                "is_main_subject": True,
            },
            {"is_main_subject": False},
        ],
        "shot_type": "medium_shot",
        "shot_angle": "eye_level",
        "shot_position": "front_view",
        "camera_motion": "",
        "environment": "",
        "lighting": "",
    },
    separators=(",", ":"),
)
WORDS = (
    "a man of sixty in a navy coat climbs the stair of a lighthouse under warm lamp light; "
    "a girl of ten in a yellow raincoat looks up at the sea while the camera pans left slowly "
)


def text_model(folder: Path) -> Path:
    """A Qwen2 of two layers."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = _tokenizer(folder)
    torch.manual_seed(0)
    config = Qwen2Config(**_text(len(tokenizer)), eos_token_id=_id(tokenizer, "<|im_end|>"))
    _save(Qwen2ForCausalLM(config), tokenizer, folder)
    return folder


def vision_model(folder: Path) -> Path:
    """A Qwen2.5-VL of two layers, SkyCaptioner-V1's architecture."""
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    tokenizer = _tokenizer(folder)
    torch.manual_seed(0)
    end = _id(tokenizer, "<|im_end|>")
    text = {
        **_text(len(tokenizer)),
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]},
        "eos_token_id": end,
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "out_hidden_size": 128,
        "intermediate_size": 64,
        "num_heads": 2,
        "fullatt_block_indexes": [1],
        "window_size": 112,
    }
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=_id(tokenizer, "<|image_pad|>"),
        video_token_id=_id(tokenizer, "<|video_pad|>"),
        vision_start_token_id=_id(tokenizer, "<|vision_start|>"),
        vision_end_token_id=_id(tokenizer, "<|vision_end|>"),
        eos_token_id=end,
    )
    _save(Qwen2_5_VLForConditionalGeneration(config), tokenizer, folder)
    shared: dict[str, Any] = {
        "patch_size": 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "min_pixels": 28 * 28,
        "max_pixels": 420 * 360,
        "size": {"shortest_edge": 28 * 28, "longest_edge": 16 * 420 * 360},
    }
    _write(
        folder / "preprocessor_config.json",
        {"image_processor_type": "Qwen2VLImageProcessor", **shared},
    )
    _write(
        folder / "video_preprocessor_config.json",
        {"video_processor_type": "Qwen2VLVideoProcessor", **shared},
    )
    return folder


def _text(vocabulary: int) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": 128,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "tie_word_embeddings": False,
    }


def _tokenizer(folder: Path) -> Any:
    """Bytes and a few words, in chat form."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([KEYS, WORDS] * 4, trainer)
    made.save(str(folder / "tokenizer.json"))
    _write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "chat_template": TEMPLATE,
            "model_max_length": 32768,
        },
    )
    (folder / "chat_template.jinja").write_text(TEMPLATE, "utf-8")
    return AutoTokenizer.from_pretrained(str(folder))


def _id(tokenizer: Any, token: str) -> int:
    found = tokenizer.convert_tokens_to_ids(token)
    assert isinstance(found, int) and 0 <= found < len(tokenizer), token
    return found


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write the weights, leaning towards the tokens that end a text."""
    import torch

    with torch.no_grad():
        # One direction that every hidden state shares, and that the closing tokens read.
        model.get_input_embeddings().weight[:, 0] += 0.2
        head = model.get_output_embeddings().weight
        for token in ('"', "<|im_end|>"):
            head[tokenizer.convert_tokens_to_ids(token), 0] += 0.12
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.save_pretrained(str(folder), safe_serialization=True)


def _write(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
