"""Snapshots in an object store, by GROUNDWORK_SNAPSHOTS_URL alone.

The store is moto, a server that imitates S3 (a fake: it cannot show what a real store does under load). The tests
run where its command is: `uv run --with 'moto[server]' pytest tests/groundwork/test_object_store.py`.
"""

import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from groundwork.errors import ErasureError
from groundwork.pipeline.ingest import ingest
from groundwork.pipeline.score import score
from groundwork.settings import Settings
from groundwork.snapshots import Snapshots


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty bucket; the environment holds the credentials."""
    moto = shutil.which("moto_server", path=str(Path(sys.executable).parent)) or shutil.which("moto_server")
    if moto is None:
        pytest.skip("needs the command moto_server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    with (tmp_path / "moto.log").open("w") as log:
        server = subprocess.Popen([moto, "-p", endpoint.rpartition(":")[2]], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(urllib.request.Request(f"{endpoint}/lake", method="PUT"), timeout=10).close()
                break
            except OSError:
                assert time.monotonic() < deadline, (tmp_path / "moto.log").read_text()
                time.sleep(0.2)
        for name, value in {
            "GROUNDWORK_SNAPSHOTS_URL": "s3://lake/pilot",
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "pilot",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        yield "s3://lake/pilot"
    finally:
        server.kill()
        server.wait()


def table(settings: Settings) -> Snapshots:
    return Snapshots(settings.snapshots, settings.contract.dataset)


def test_ingest_and_score_come_to_the_same_as_in_a_folder(
    pilot: Settings, pilot_copy: Settings, bucket: str, plain_steps: None
) -> None:
    elsewhere = Settings()
    assert elsewhere.snapshots == f"{bucket}/snapshots/flights"
    ingest.fn()
    assert table(elsewhere).read().equals(table(pilot).read())
    version = table(elsewhere).version
    ingest.fn()
    assert table(elsewhere).version == version
    assert score.fn().rows == table(pilot).read(*table(pilot).newest_window("month")).num_rows


WRITER = """
import sys
from datetime import datetime
from groundwork.settings import Settings
from groundwork.snapshots import Snapshots
settings = Settings()
snapshots = Snapshots(settings.snapshots, settings.contract.dataset)
rows = snapshots.read(datetime(2013, 1, 1), datetime(2013, 1, 2)).slice(0, 1)
for number in range(int(sys.argv[1])):
    snapshots.append(rows)
    print(number, flush=True)
"""


def test_commits_of_several_writers_are_all_kept_and_a_killed_one_leaves_the_last(
    new_pilot: Settings, bucket: str, plain_steps: None
) -> None:
    ingest.fn(datetime(2013, 1, 1), datetime(2013, 2, 1))
    settings = Settings()
    before = table(settings).read().num_rows
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, "5"], stdout=subprocess.PIPE) for _ in range(3)]
    assert [writer.wait(300) for writer in writers] == [0, 0, 0]
    assert table(settings).read().num_rows == before + 15
    killed = subprocess.Popen([sys.executable, "-c", WRITER, "1000"], stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    said = [killed.stdout.readline() for _ in range(3)]
    killed.send_signal(signal.SIGKILL)
    said += killed.stdout.readlines()
    kept = table(settings).read().num_rows - before - 15
    assert kept - len(said) in (0, 1)  # one may have been committed and not said
    table(settings).append(table(settings).read().slice(0, 1))
    assert table(settings).read().num_rows == before + 15 + kept + 1


def test_what_cannot_be_erased_is_not_said_to_be(new_pilot: Settings, bucket: str) -> None:
    with pytest.raises(ErasureError, match="erasing from an object store is not possible yet"):
        table(Settings()).erase("carrier", "UA")
