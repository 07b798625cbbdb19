"""The verbs that keep the pilot running."""

import socket

from commands import groundwork
from groundwork.documents.pilot import Pilot


def test_a_port_in_use_is_said_to_be_in_use(new_pilot: Pilot) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = groundwork("serve", GROUNDWORK_PORT=port)
    assert done.returncode == 1
    assert f"port {port} on 127.0.0.1 is in use: stop what uses it, or set GROUNDWORK_PORT" in done.stderr
