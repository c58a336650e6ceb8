"""Makes the archive's bucket where it is not there yet; runs in the archive's image, before the archive.

Settings are the archive's own environment. Exit code 0: the bucket is there and ours; else run it again.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def make_bucket(client: S3Client, bucket: str) -> bool:
    """Make `bucket` unless it is there. True if it was made.

    Raises ClientError where the store refuses, also where the bucket is another user's.
    """
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        client.create_bucket(Bucket=bucket)
        return True
    return False


def main() -> int:
    """Connect as the archive does, make the bucket, say what was done."""
    bucket = os.environ["PACS_STORE_BUCKET"]
    client = boto3.client(
        "s3",
        endpoint_url=os.environ["PACS_STORE_ENDPOINT"],
        aws_access_key_id=Path(os.environ["PACS_STORE_ACCESS_KEY_FILE"]).read_text(encoding="utf-8").strip(),
        aws_secret_access_key=Path(os.environ["PACS_STORE_SECRET_KEY_FILE"])
        .read_text(encoding="utf-8")
        .strip(),
        verify=os.environ["PACS_STORE_CA_FILE"],
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=30),
    )
    try:
        made = make_bucket(client, bucket)
    except (BotoCoreError, ClientError) as error:
        print(f"bucket {bucket}: {error}; it is tried again", file=sys.stderr)
        return 4
    print(f"bucket {bucket}: {'made' if made else 'was there'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
