"""A network namespace without a way out: who asks for an address, or sends a packet to one, is seen and gets no answer.

    unshare --net python offline.py SEEN COMMAND…

runs the command there, and writes to the file SEEN whom it tried to reach, one a line. What native code sends is seen
too, because the packets themselves are read.
"""

import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path

IPV4, IPV6, TCP, UDP = 0x0800, 0x86DD, 6, 17
SYN, SYN_AND_ACK = 0x02, 0x12
# Every address is taken for this machine's own, so that a packet to anywhere is seen, and refused at once. The two
# addresses are there because a resolver may ask nobody on a machine that has none.
NETWORK = """
link set lo up
address add 10.99.0.2/32 dev lo
route add local default dev lo
-6 address add fd99::2/128 dev lo nodad
-6 route add local default dev lo
"""


def unshared() -> list[str]:
    """The words that start a command in a network namespace of its own; empty if that is not allowed here."""
    words = ["unshare", "--net", *(["--map-root-user"] if os.geteuid() else [])]
    if not (shutil.which("unshare") and shutil.which("ip")):
        return []
    tried = subprocess.run([*words, "ip", "link", "set", "lo", "up"], capture_output=True)
    return words if tried.returncode == 0 else []


def reached_by(command: Sequence[str], seen: Path, environment: Mapping[str, str]) -> list[str]:
    """Run a command without a way out; returns whom it tried to reach. It must end with 0."""
    done = subprocess.run(
        [*unshared(), sys.executable, __file__, str(seen), *command],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    return seen.read_text(encoding="utf-8").splitlines()


def main(seen: Path, command: Sequence[str]) -> int:
    for line in NETWORK.split("\n"):
        if line:
            subprocess.run(["ip", *line.split()], check=not line.startswith("-6"))  # a kernel may have no IPv6
    reached: set[str] = set()
    ears = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))  # every protocol
    threading.Thread(target=listen, args=(ears, reached), daemon=True).start()
    code = subprocess.run(command).returncode
    seen.write_text("".join(f"{each}\n" for each in sorted(reached)), encoding="utf-8")
    return code


def listen(ears: socket.socket, reached: set[str]) -> None:
    while True:
        packet, (_, kind, *_) = ears.recvfrom(65535)
        if kind == IPV4:
            begin, protocol, to = (packet[0] & 0x0F) * 4, packet[9], ip_address(packet[16:20])
        elif kind == IPV6:
            begin, protocol, to = 40, packet[6], ip_address(packet[24:40])
        else:
            continue
        if protocol not in (TCP, UDP):
            continue  # the kernel's own words about neighbours
        port = struct.unpack("!H", packet[begin + 2 : begin + 4])[0]
        name = asked(packet[begin + 8 :]) if protocol == UDP and port == 53 else ""
        opens = protocol == UDP or packet[begin + 13] & SYN_AND_ACK == SYN
        if opens and (not to.is_loopback or port == 53):
            reached.add(f"{'udp' if protocol == UDP else 'tcp'} {to} port {port} {name}".rstrip())


def asked(query: bytes) -> str:
    """The name that a DNS query asks for, after its header of twelve bytes: each part behind its length."""
    parts, at = [], 12
    while at < len(query) and query[at]:
        parts.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace"))
        at += 1 + query[at]
    return ".".join(parts)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
