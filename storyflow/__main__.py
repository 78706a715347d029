"""`python -m storyflow`."""

from storyflow.cli import main

main()
