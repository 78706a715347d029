"""An S3 server with an empty bucket: `python -m tests.campaign.bucket HOST PORT FILE`.

Serves until its standard input ends, then writes into FILE the paths of all that was put, once for
each time.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

from ..s3_server import ENVIRONMENT, s3_server

BUCKET = "films"


def main(host: str, port: str, file: str) -> None:
    import boto3

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    os.environ.update(ENVIRONMENT)
    with s3_server(host, int(port)) as server:
        boto3.client("s3", endpoint_url=server.url).create_bucket(Bucket=BUCKET)
        print("up", flush=True)
        sys.stdin.read()
        Path(file).write_text(json.dumps(server.stored))


if __name__ == "__main__":
    main(*sys.argv[1:])
