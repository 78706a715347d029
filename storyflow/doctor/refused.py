"""Why a cluster could not even be reached, told from what Ray says about it."""

from __future__ import annotations

import re

from storyflow.doctor.findings import Finding
from storyflow.errors import FarmError

_STARTED = re.compile(
    r"cluster was started with:\s*Ray: (\S+)\s*Python: (\S+).*?"
    r"was started with:\s*Ray: (\S+)\s*Python: (\S+)",
    re.DOTALL,
)


def refused(address: str, error: FarmError) -> Finding:
    """The finding for a connection that failed: versions, tokens, or nobody there."""
    cause = error.__cause__
    text = f"{type(cause).__name__}: {cause}" if cause is not None else error.what
    found = _STARTED.search(text)
    if found is not None:
        ray, python, own_ray, own_python = found.groups()
        code = "ray-version" if ray != own_ray else "python-version"
        return Finding(
            "error",
            code,
            f"the cluster at {address} was started with another Ray or Python than this machine's",
            value=f"Ray {ray} and Python {python} there, {own_ray} and {own_python} here",
            cure="install the cluster's versions here, or submit films to its job API instead",
        )
    if "AuthenticationError" in text or "nauthenticated" in text or "auth token" in text.lower():
        return Finding(
            "error",
            "auth",
            f"the cluster at {address} asks for a token, and did not accept this machine's",
            value=text.splitlines()[0][:200],
            cure="set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to the cluster's token",
        )
    return Finding("error", "address", error.what, cure=error.cure)
