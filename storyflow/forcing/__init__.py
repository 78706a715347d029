"""SkyReels-V2 diffusion forcing, one segment at a time, over the public parts of diffusers.

Read in this order: `segment` is the loop; `schedule`, `solver`, `transformer`, `vae` and `noise`
are what it calls; `renderer` and `text` are what workers hold; `config` and `lattice` are what
planners ask; `source`, `identity` and `loading` find, name and load the weights; `cpu` makes small
VAEs fast. `config`, `lattice`, `schedule`, `source` and `identity` import no torch.

"The reference" is SkyworkAI/SkyReels-V2 at abed76f, "stock" is diffusers 0.42. Where stock is right
the results here are bitwise equal in float32 (tests/test_forcing_parity.py). Where they part:

- history is decoded and encoded again (`history: pixels`), as the reference does, or kept as
  latents, as stock does;
- history noise has its own seeded stream, both others draw it from the global generator;
- the first corrector step reads the right sample (`solver_aliasing` undoes that);
- there is never an attention mask;
- prompts are refused, not cut, over 512 tokens.
"""
