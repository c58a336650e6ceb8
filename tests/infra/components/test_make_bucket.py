from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from infra.components.make_bucket import make_bucket


@pytest.fixture
def client() -> Any:
    return boto3.client("s3", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")


@pytest.fixture
def store(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def test_a_bucket_that_is_there_is_left_alone(client: Any, store: Stubber) -> None:
    store.add_response("head_bucket", {}, {"Bucket": "pacs-packs"})
    assert make_bucket(client, "pacs-packs") is False


def test_a_missing_bucket_is_made(client: Any, store: Stubber) -> None:
    store.add_client_error("head_bucket", "404", http_status_code=404)
    store.add_response("create_bucket", {}, {"Bucket": "pacs-packs"})
    assert make_bucket(client, "pacs-packs") is True


def test_another_users_bucket_is_refused(client: Any, store: Stubber) -> None:
    store.add_client_error("head_bucket", "403", http_status_code=403)
    with pytest.raises(ClientError):
        make_bucket(client, "pacs-packs")
