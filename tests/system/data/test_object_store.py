"""Snapshots in an object store, by GROUNDWORK_SNAPSHOTS_URL alone.

The store is SeaweedFS, which speaks S3: signed requests, conditional writes. The tests run where its command `weed` is;
tests/test_scale_out.py installs it for them.
"""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from deltalake.fs import DeltaStorageHandler
from groundwork.data.erasure import erase
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.pipeline import by_hand
from groundwork.store.database import Store
from pyarrow.fs import FileSelector, PyFileSystem, S3FileSystem
from pyarrow.parquet import read_table

PORTS = ("s3", "filer", "master", "volume")  # each with a second one for its own kind


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a store with nothing in it."""
    command = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if command is None:
        pytest.skip("needs the command weed")
    folder = tmp_path_factory.mktemp("s3")
    (folder / "data").mkdir()
    key = {"accessKey": "pilot", "secretKey": "secret"}
    identity = {"name": "pilot", "credentials": [key], "actions": ["Admin", "Read", "Write", "List"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    names = [f"{name}.port{kind}" for name in PORTS for kind in ("", ".grpc")]
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    ports = dict(zip(names, (each.getsockname()[1] for each in sockets), strict=True))
    for each in sockets:
        each.close()
    options = {
        "dir": folder / "data", "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "s3.config": folder / "s3.json",
        "master.telemetry": "false", "master.volumeSizeLimitMB": 64, "s3.port.iceberg": 0, "s3.port.lance": 0, **ports,
    }  # fmt: skip
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [command, "server", "-filer", "-s3", *(f"-{name}={value}" for name, value in options.items())],
            stdout=log,
            stderr=log,
        )
    try:
        address = f"http://127.0.0.1:{ports['s3.port']}"
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{address}/healthz", timeout=10).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.fail((folder / "log").read_text()[-5000:])
                time.sleep(0.2)
        yield address
    finally:
        server.kill()  # told to end, it takes half a minute
        server.wait()
        for port in ports.values():
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()


@pytest.fixture
def bucket(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty folder in a bucket; the environment holds the credentials."""
    host = endpoint.partition("://")[2]
    options = {"endpoint_override": host, "scheme": "http", "region": "us-east-1", "allow_bucket_creation": True}
    S3FileSystem(access_key="pilot", secret_key="secret", **options).create_dir("lake")
    address = f"s3://lake/{tmp_path.name}"
    for name, value in {
        "GROUNDWORK_SNAPSHOTS_URL": address,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "pilot",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    return address


def table(pilot: Pilot) -> Snapshots:
    return Snapshots(pilot.snapshots, pilot.contract.dataset)


def test_ingest_and_score_come_to_the_same_as_in_a_folder(pilot: Pilot, pilot_copy: Pilot, bucket: str) -> None:
    elsewhere = Pilot.here()
    assert elsewhere.snapshots == f"{bucket}/snapshots/flights"
    by_hand.ingest(Pilot.here())
    assert table(elsewhere).read().equals(table(pilot).read())
    version = table(elsewhere).version
    by_hand.ingest(Pilot.here())
    assert table(elsewhere).version == version
    assert by_hand.score(Pilot.here()).rows == table(pilot).read(*table(pilot).newest_window("month")).num_rows


WRITER = """
import sys
from datetime import datetime
from groundwork.documents.pilot import Pilot
from groundwork.data.snapshots import Snapshots
pilot = Pilot.here()
snapshots = Snapshots(pilot.snapshots, pilot.contract.dataset)
rows = snapshots.read(datetime(2013, 1, 1), datetime(2013, 1, 2)).slice(0, 1)
for number in range(int(sys.argv[1])):
    snapshots.append(rows)
    print(number, flush=True)
"""


def test_commits_of_several_writers_are_all_kept_and_a_killed_one_leaves_the_last(
    new_pilot: Pilot, bucket: str
) -> None:
    by_hand.ingest(Pilot.here(), datetime(2013, 1, 1), datetime(2013, 2, 1))
    pilot = Pilot.here()
    before = table(pilot).read().num_rows
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, "5"], stdout=subprocess.PIPE) for _ in range(3)]
    assert [writer.wait(300) for writer in writers] == [0, 0, 0]
    assert table(pilot).read().num_rows == before + 15
    killed = subprocess.Popen([sys.executable, "-c", WRITER, "1000"], stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    said = [killed.stdout.readline() for _ in range(3)]
    killed.send_signal(signal.SIGKILL)
    said += killed.stdout.readlines()
    kept = table(pilot).read().num_rows - before - 15
    assert kept - len(said) in (0, 1)  # one may have been committed and not said
    table(pilot).append(table(pilot).read().slice(0, 1))
    assert table(pilot).read().num_rows == before + 15 + kept + 1


def holding(address: str, value: str) -> list[str]:
    """The objects that hold the value, be it in a column of a Parquet file."""
    files = PyFileSystem(DeltaStorageHandler(address))
    found = []
    for info in files.get_file_info(FileSelector("", recursive=True)):
        if not info.is_file:
            continue
        with files.open_input_file(info.path) as content:
            held = str(read_table(content).to_pylist()) if info.extension == "parquet" else content.read().decode()
        if value in held:
            found.append(info.path)
    return found


def with_one_in_quarantine(pilot: Pilot, sql: Callable) -> str:
    """The pilot ingested, and a version before it; returns a carrier of which a row is in quarantine."""
    sql(pilot, "update flights set dest = 'x' where carrier = 'HA' and month = 2 and day = 1")
    by_hand.ingest(Pilot.here(), datetime(2013, 1, 1), datetime(2013, 2, 1))
    sql(pilot, "update flights set arr_delay = 60 where carrier = 'HA' and month = 1 and day = 1")
    by_hand.ingest(Pilot.here())
    return "HA"


def test_a_subject_is_erased_from_every_object_and_stays_out(
    new_pilot: Pilot, bucket: str, set_in: Callable, sql: Callable
) -> None:
    set_in(new_pilot.settings.home / "contract.yaml", "schema.0.properties.2.tags", ["feature", "subject"])
    pilot = Pilot.here()
    subject = with_one_in_quarantine(pilot, sql)
    [(january, february)] = sql(
        pilot, "select count(*) filter (month = 1), count(*) filter (month = 2) from flights where carrier = 'HA'"
    )
    others = table(pilot).read().num_rows - january - february + 1
    nothing_else = {pilot.snapshots: [], pilot.quarantine: []}
    assert {len(holding(each, subject)) > 1 for each in nothing_else} == {True}  # in the data and in the log
    with Store(pilot.settings.store) as store:
        done = erase(pilot, store, subject)
    assert (done.rows, done.quarantined) == (january + february - 1, 1)
    assert {each: holding(each, subject) for each in nothing_else} == nothing_else
    assert table(pilot).read().num_rows == others
    by_hand.ingest(Pilot.here(), datetime(2013, 1, 1), datetime(2013, 3, 1))
    assert {each: holding(each, subject) for each in nothing_else} == nothing_else
    assert table(pilot).read().num_rows == others


KILLED = """
import os, signal, sys
from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler
from groundwork.data.erasure import erase
from groundwork.documents.pilot import Pilot
from groundwork.store.database import Store
subject, step = sys.argv[1:]
for kind in (DeltaTable, DeltaStorageHandler):
    if hasattr(kind, step):
        setattr(kind, step, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
pilot = Pilot.here()
with Store(pilot.settings.store) as store:
    erase(pilot, store, subject)
"""


def test_an_erasure_that_is_killed_ends_as_if_it_had_not_been(new_pilot: Pilot, bucket: str, sql: Callable) -> None:
    """Each run is killed one step after the one before."""
    sql(new_pilot, "update flights set arr_delay = 60 where month = 2 and day = 1")
    by_hand.ingest(Pilot.here())
    sql(new_pilot, "update flights set arr_delay = 0 where month = 1 and day = 1")
    by_hand.ingest(Pilot.here())
    pilot = Pilot.here()
    subject = table(pilot).read()["flight_id"][0].as_py()
    left = table(pilot).read().num_rows - 1
    for step in ("delete", "vacuum", "create_checkpoint", "delete_file"):
        done = subprocess.run([sys.executable, "-c", KILLED, subject, step], capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, f"{step} was never reached: {done.stderr}"
        assert holding(pilot.snapshots, subject)
    with Store(pilot.settings.store) as store:
        erase(pilot, store, subject)
        assert holding(pilot.snapshots, subject) == []
        version = table(pilot).version
        assert erase(pilot, store, subject).version == version
    assert table(pilot).read().num_rows == left
