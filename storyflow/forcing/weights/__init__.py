"""Where a model's weights are, what they are called in keys, and how they come into memory.

`source` finds a folder and checks that it is what the profile says, of the kinds in `family`;
`identity` names it in keys; `fill` reads its tensors into a network, `lora` (with `lorafiles`)
changes them and `quantize` stores them in one byte each on the way. `family`, `source`, `identity`
and `lorafiles` import no torch.
"""
