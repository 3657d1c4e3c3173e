"""Settings of every test, and what several ask for."""

import os
import resource
import signal

import pytest

SLOW = (
    "distributed", "compile", "interrupted_training", "interrupted_search", "contract", "model_flops",
    "streamed_rows", "bad_settings", "architecture", "file_formats", "samplers", "cleaning", "wandb_tracker",
)
"""Files of tests that take seconds, longest first."""

# Of torch, in processes that tests start as well: tiny shapes gain nothing from more, and the pools of two processes
# fight. Set before anybody imports torch, which pytest's own process, that gives others their tests, never does.
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first: begun last, they would be waited for when every other core has nothing left to do."""
    places = {f"test_{name}.py": place for place, name in enumerate(SLOW)}
    items.sort(key=lambda item: places.get(item.path.name, len(SLOW)))


@pytest.fixture(autouse=True, scope="session")
def without_waiting_for_the_disk():
    """A process that is killed loses nothing of what it has written: only a machine without power does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture
def little_room():
    """The system refuses to let a file grow past 64 bytes, as a full disk does."""
    limit, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limit[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture(scope="session")
def s3_server():
    """One a session, since libraries keep what they know of it; this process and those it starts find it."""
    import boto3
    from s3_server import BUCKET, S3Server

    server = S3Server()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
        for name, value in (("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test"), ("DEFAULT_REGION", "us-east-1")):
            patch.setenv(f"AWS_{name}", value)
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield server
    server.stop()


@pytest.fixture
def s3(s3_server):
    """A server that speaks S3, with a bucket named `bucket`; without faults, before and after."""
    yield s3_server
    s3_server.recover()
