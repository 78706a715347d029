"""Whether another machine's store is this one: a random text is left here and looked for there.

A folder of the same name on another machine's own disk looks just like the store, until hours later
what was rendered into it is missing here.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from storyflow.errors import StoreError
from storyflow.store.store import Store

WAITS = (0.5, 1.5, 3.0)
"""Seconds between looks: a network folder may show what another machine wrote a little late."""


@dataclass(frozen=True)
class Nonce:
    """A text that nobody can know without having read it in the store."""

    name: str
    text: str

    def leave(self, store: Store) -> None:
        """Write it, unless it is there. Raises StoreError."""
        store.prepare()
        if store.place.read(self.name) is None:
            store.place.put_new(self.name, self.text.encode())

    def find(self, store: Store, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Raise StoreError where the store here lacks it; writes nothing."""
        for wait in (*WAITS, None):
            if store.place.read(self.name) == self.text.encode():
                return
            if wait is not None:
                sleep(wait)
        raise StoreError(
            f"{store} on {socket.gethostname()} is another store than where the film is rendered "
            "from: what was just written there is not here",
            cure="name a folder that all machines see as the same one, or a URL",
        )

    def remove(self, store: Store) -> None:
        """Delete it. Raises StoreError."""
        store.place.delete([self.name])


def new_nonce() -> Nonce:
    """One of its own for each run."""
    return Nonce(f"tmp/nonce-{secrets.token_hex(8)}/nonce", secrets.token_hex(16))
