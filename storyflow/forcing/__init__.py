"""SkyReels-V2 diffusion forcing, one segment at a time, over the public parts of diffusers.

Read in this order: `segment` is the loop; `conditions` (what a window is given), `schedule` (who
is at which noise level when), `solver`, `transformer` with `block`, `vae`, `noise` and `stepcache`
are what it calls. `renderer` (over `windowed`) and `text` are what workers hold, `loading` builds
their models; `attention` chooses the kernel, `offload` parks blocks in main memory, `cpu` makes
small VAEs fast. `config` and `lattice` are what planners ask, and the package `cost`. The package
`weights` finds, names and reads weights; `sequence` holds the models that render a shot as one
whole window, with the same loop. What planners ask imports no torch.

Switches are of three classes: *bitwise* (the same bits as the plain loop), *rounding* (the last
bits), *lossy* (another picture, for speed; off by default).

"The reference" is SkyworkAI/SkyReels-V2 at abed76f, "stock" is diffusers 0.42. Where stock is right
the results here are bitwise equal in float32 (tests/test_forcing_parity.py and
test_forcing_modes.py, which also names each error below). Where they part:

- history is decoded and encoded again (`history: pixels`), as the reference does, or kept as
  latents, as stock does;
- history noise has its own seeded stream, both others draw it from the global generator;
- the first corrector step reads the right sample (`solver_aliasing` undoes that);
- blocks of an asynchronous schedule may be shorter at both ends of a window, so no latent is left
  as noise, no history is cut off and a start picture stays; both others count whole blocks only;
- an end picture works in every segment, whatever its length;
- an extended clip's last frames are not shown twice;
- there is never an attention mask; only weights declared `causal` see block by block;
- prompts are refused, not cut, over 512 tokens.
"""
