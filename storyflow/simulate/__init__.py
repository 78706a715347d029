"""A farm that does not exist: the real dispatcher over pretended GPUs, in time that jumps."""
