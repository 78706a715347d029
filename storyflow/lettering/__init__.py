"""Text as pictures: the bundled font, and how titles are set in it. Knows only Pillow."""
