"""Commands quoted in Markdown: read from a page, run in a shell, and compared with the output on the page.

A block ```console holds lines `$ COMMAND` and, below each, what it prints; a line `…` stands for lines left out.
A block ```sh holds commands alone.
"""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from support import free_port

SECONDS = 600  # for one command
QUESTION = "🎤 "  # how copier marks a question; the line below it is the answer
VARIES = {  # what differs from run to run, or from machine to machine
    r"\b\d+\.\d s\b": "SECONDS s",
    r"\b[0-9a-f]{32}\b": "ID",
    r"process \d+": "process ID",
    r"\b\d{4}-\d\d-\d\d \d\d:\d\d UTC": "TIME",
    r"found [\d.]+ ms": "found MILLISECONDS ms",
    r"largest difference [\d.e-]+": "largest difference SMALL",
    r"on [\d,]+ rows; a row alone costs [\d,]+ µs of CPU": "on MANY rows; a row alone costs FEW µs of CPU",
    r"[ \t]+$": "",
}
ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[=>])|\r")


class Command(NamedTuple):
    text: str
    promised: tuple[str, ...] | None  # lines; None in a block of commands alone
    line: int  # of the page, from 1, on which the output begins


class Done(NamedTuple):
    code: int
    printed: str  # on standard output
    complaints: str  # on standard error


def commands(page: Path) -> Iterator[Command]:
    """The commands of a page, in its order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    kind, pending = "", ""
    for number, line in enumerate(lines, 1):
        if line.startswith("```"):
            kind = "" if kind else line[3:].strip() or "text"
            continue
        if kind == "sh" and (pending or line.strip()):
            pending += line
            if _complete(pending):
                yield Command(pending, None, number + 1)
                pending = ""
            else:
                pending += "\n"
        elif kind == "console" and (pending or line.startswith("$ ")):
            pending += line.removeprefix("$ ") if not pending else line
            if _complete(pending):
                yield Command(pending, tuple(_until_next(lines[number:])), number + 1)
                pending = ""
            else:
                pending += "\n"


def _complete(text: str) -> bool:
    """Whether the shell would run it now, or wait for another line."""
    syntax = subprocess.run(["bash", "-n", "-c", text], capture_output=True)
    return syntax.returncode == 0 and not text.rstrip(" ").endswith("\\")


def _until_next(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if line.startswith(("$ ", "```")):
            return
        yield line


def normalised(text: str) -> str:
    for pattern, name in VARIES.items():
        text = re.sub(pattern, name, text, flags=re.MULTILINE)
    return text.strip("\n")


def agrees(promised: tuple[str, ...], printed: str) -> bool:
    """Whether a command printed what the page promises."""
    lines = normalised("\n".join(promised)).split("\n")
    pattern = "\n".join(r"(?s:.*)" if line.strip() == "…" else re.escape(line) for line in lines)
    return re.fullmatch(pattern, normalised(printed)) is not None


class Shell:
    """A shell whose folder and variables last from one command to the next, and whose services run until `close()`."""

    def __init__(self, folder: Path, state: Path) -> None:
        """Begin in `folder`; `state` is an empty folder for what the shell remembers."""
        self.home = folder
        self.state = state
        self.services: list[subprocess.Popen[bytes]] = []
        self.port = free_port()
        tools = state / "bin"
        tools.mkdir(parents=True)
        under_test = f'case "$1" in copier*) shift; exec "{sys.executable}" -m copier "$@";; esac; exit 127'
        (tools / "uvx").write_text(f"#!/bin/sh\n{under_test}\n")
        (tools / "uvx").chmod(0o755)
        self.environment = {
            name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV", "COLUMNS")
        } | {
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "GROUNDWORK_PORT": str(self.port),
            "LOGNAME": "ada",
        }
        (state / "folder").write_text(str(folder))
        (state / "variables").touch()

    def _script(self, text: str, exec_it: bool = False) -> list[str]:
        text = text.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")
        keep = f"code=$?; pwd > '{self.state}/folder'; export -p > '{self.state}/variables'; exit $code"
        begin = f"source '{self.state}/variables'; cd \"$(cat '{self.state}/folder')\""
        return ["bash", "-c", f"{begin}\n{text}" if exec_it else f"{begin}\n{text}\n{keep}"]

    def run(self, text: str) -> Done:
        """Run one command and wait for its end."""
        done = subprocess.run(
            self._script(text),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        return Done(done.returncode, self._as_on_the_page(done.stdout), done.stderr)

    def serve(self, text: str) -> None:
        """Start a service and wait until it answers."""
        log = (self.state / "service.log").open("ab")
        process = subprocess.Popen(
            self._script(text, exec_it=True), env=self.environment, stdout=log, stderr=log, start_new_session=True
        )
        self.services.append(process)
        for _ in range(SECONDS * 5):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=5):
                    return
            except OSError:
                assert process.poll() is None, (self.state / "service.log").read_text()
                time.sleep(0.2)
        raise AssertionError((self.state / "service.log").read_text())

    def answer(self, text: str, promised: tuple[str, ...]) -> Done:
        """Run a command that asks questions, in a terminal, and answer each as the page does."""
        asked = [
            (line.removeprefix(QUESTION), promised[place + 1].strip())
            for place, line in enumerate(promised)
            if line.startswith(QUESTION)
        ]
        process, terminal = pty.fork()
        if process == 0:
            script = self._script(text)
            os.execvpe(script[0], script, self.environment | {"TERM": "xterm", "COLUMNS": "200"})
        shown, read = "", 0
        try:
            for question, answer in asked:
                while (place := shown.find(question, read)) < 0:
                    more = _more(terminal)
                    assert more is not None, f"the command ended before it asked: {question}"
                    shown += more
                time.sleep(0.3)  # until what is offered has been drawn below the question
                shown += _more(terminal, wait=0.1) or ""
                chosen = f"» {answer}" in shown[place:]  # in a list: Enter is enough
                read = place + len(question)
                os.write(terminal, ("\r" if chosen else f"\x15{answer}\r").encode())
            while (more := _more(terminal)) is not None:
                shown += more
        finally:
            os.close(terminal)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        return Done(code, self._as_on_the_page(shown[read:]), "")

    def _as_on_the_page(self, text: str) -> str:
        return text.replace(str(self.home), "/home/ada").replace(f"127.0.0.1:{self.port}", "127.0.0.1:8000")

    def close(self) -> None:
        """End the services, as Ctrl-C does."""
        while self.services:
            service = self.services.pop()
            os.killpg(service.pid, signal.SIGINT)
            service.wait(timeout=60)


def _more(terminal: int, wait: float = SECONDS) -> str | None:
    """What a terminal shows next, without the codes that colour it and move about in it; None once it is closed."""
    if not select.select([terminal], [], [], wait)[0]:
        return ""
    try:
        seen = os.read(terminal, 65536)
    except OSError:  # closed at the other end
        return None
    return ESCAPES.sub("", seen.decode(errors="replace")) if seen else None


def written_anew(page: Path, printed: dict[int, str]) -> None:
    """Put what was printed in place of what a page promises, by the line on which that begins."""
    lines = page.read_text(encoding="utf-8").splitlines()
    for start in sorted(printed, reverse=True):
        old = list(_until_next(lines[start - 1 :]))
        if not any(line.strip() == "…" for line in old):
            lines[start - 1 : start - 1 + len(old)] = printed[start].strip("\n").splitlines()
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
