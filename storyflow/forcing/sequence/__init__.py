"""SkyReels-V2's full-sequence models: text to video and image to video, one window per shot.

All frames of the window share one noise level, so nothing can be continued: a shot is one segment.
What there is to know beyond diffusion forcing is little, and it stands here: `lattice` (which
lengths), `settings` (which of the sampler's settings apply), `pictures` (how a start picture enters
the transformer), `clip` (what CLIP says of it), `loading` and `renderer`. The loop, the solvers and
the lean forward pass are those of diffusion forcing.

"Stock" is diffusers 0.42's SkyReelsV2Pipeline and SkyReelsV2ImageToVideoPipeline; in float32 the
latents are bitwise theirs (tests/test_forcing_sequence.py). One thing is done as SkyworkAI's own
code does it, not as stock does: CLIP sees the whole picture (see `clip`).
"""
