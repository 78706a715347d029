"""What a machine with a broken card does: every worker there dies as it begins a segment."""

import os
import signal
import sys


def _die(event: str, arguments: tuple[object, ...]) -> None:
    if event == "os.mkdir" and "-job-" in str(arguments[0]):
        os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(_die)
