"""Large uploads to S3, in parts; and what the settings can say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from dynamo_ops.base.errors import CredentialError, PermanentRemoteError
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.storage import s3
from dynamo_ops.storage.protocol import StorageOptions
from tests.storage.backends import Bucket

SIZE = 13 << 20


@pytest.fixture
def bucket(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setattr(s3, "_ONE_SHOT_BYTES", 5 << 20)  # the smallest part that S3 takes
    bucket = Bucket(s3_url)
    yield bucket
    bucket.close()


def pieces() -> Iterator[bytes]:
    for n in range(13):
        yield bytes([n]) * (1 << 20)


def test_large_file_goes_in_parts_and_appears_at_the_end(bucket: Bucket) -> None:
    upload = bucket.storage.upload("/store/big", SIZE)
    for piece in pieces():
        upload.write(piece)
    assert bucket.files() == {}
    upload.finish()
    upload.close()
    assert bucket.files() == {"/store/big": b"".join(pieces())}
    assert b"".join(bucket.storage.read("/store/big", SIZE - 100)) == bytes([12]) * 100


def test_large_upload_given_up_leaves_nothing(bucket: Bucket) -> None:
    bucket.put("/store/big", b"old")
    upload = bucket.storage.upload("/store/big", SIZE)
    for piece in list(pieces())[:9]:
        upload.write(piece)
    assert bucket.unfinished_uploads() == 1
    upload.close()
    assert bucket.files() == {"/store/big": b"old"}
    assert bucket.unfinished_uploads() == 0


def test_what_is_said_of_a_site_goes_before_what_is_said_of_all() -> None:
    endpoint = Endpoint("T3_LAB", "s3", "s3://b")
    options = StorageOptions(more={"s3": {"region": "a", "key": "k"}, "s3:T3_LAB": {"region": "b"}})
    assert options.more_for(endpoint) == {"region": "b", "key": "k"}
    assert options.more_for(replace(endpoint, site="T3_OTHER")) == {"region": "a", "key": "k"}
    assert "'k'" not in repr(options)


def test_bucket_that_is_not_there(bucket: Bucket, s3_url: str) -> None:
    options = StorageOptions(more={"s3": {"endpoint_url": s3_url, "key": "k", "secret": "s"}})
    storage = s3.S3Storage(Endpoint("T2_A", "s3", "s3://nowhere"), options)
    with pytest.raises(PermanentRemoteError, match="not there"):
        list(storage.list_files("/store"))
    storage.close()


def test_no_credentials(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    options = StorageOptions(more={"s3": {"endpoint_url": s3_url, "region": "us-east-1"}})
    storage = s3.S3Storage(Endpoint("T2_A", "s3", "s3://bucket"), options)
    with pytest.raises(CredentialError, match="NoCredentials"):
        storage.delete(["/store/f"])
    storage.close()
