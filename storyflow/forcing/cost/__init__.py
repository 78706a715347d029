"""What a segment will cost: operations (`flops`), peak memory (`memory`, with `vae`), and what to
know before paying (`advice`). Nothing here imports torch."""
