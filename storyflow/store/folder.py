"""The store by its former name."""

from storyflow.store.store import Store

__all__ = ["Store"]
