"""Language models behind their engines."""
