"""A server on this machine that stands in for GitLab: git over HTTP by git's own program, and the few answers of the
API that Renovate and a pilot's job of updates ask for. It wants the token for whatever is written, and for the API."""

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from serving_git import by_git
from support import execute

TOKEN = "secret"
USER = {"id": 1, "username": "bot", "name": "Bot", "email": "bot@example.com"}


class Forge:
    """Repositories as GROUP/NAME, and what was asked for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""
        self.requests = dict[str, list[dict[str, Any]]]()  # merge requests, by repository
        self.statuses = dict[tuple[str, str], list[dict[str, Any]]]()  # by repository and commit
        self.notes = dict[tuple[str, int], list[dict[str, Any]]]()  # by repository and merge request
        self.closed = False  # whether reading needs the token too

    def publish(self, name: str, source: Path) -> str:
        """Put a repository with all its branches and tags there; returns its address."""
        bare = self.folder / f"{name}.git"
        execute(self.folder, "git", "clone", "--quiet", "--bare", str(source), str(bare))
        execute(bare, "git", "config", "http.receivepack", "true")
        return f"{self.address}/{name}.git"

    def git(self, name: str, *words: str) -> str:
        return execute(self.folder / f"{name}.git", "git", *words)

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> Any:
        """What the API answers; None where there is nothing."""
        if path in ("user", "version"):
            return USER if path == "user" else {"version": "18.0.0-ee"}
        if not (found := re.fullmatch(r"projects/([^/]+)/?(.*)", path)):
            return None
        name, rest = unquote(found[1]), found[2]
        if not (self.folder / f"{name}.git").exists():
            return None
        return self.about(name, method, rest, query | body)

    def about(self, name: str, method: str, path: str, asked: dict[str, Any]) -> Any:
        requests = self.requests.setdefault(name, [])
        if not path:
            return {
                "path_with_namespace": name,
                "default_branch": self.git(name, "symbolic-ref", "--short", "HEAD").strip(),
                "http_url_to_repo": f"{self.address}/{name}.git",
                "merge_method": "merge",
                **dict.fromkeys(("repository_access_level", "merge_requests_access_level"), "enabled"),
                **dict.fromkeys(("archived", "mirror", "empty_repo"), False),
            }
        if path == "merge_requests":
            if method == "POST":
                requests.append({"iid": len(requests) + 1, "state": "opened", "labels": [], "author": USER} | asked)
                return self.shown(name, requests[-1])
            kept = {key: asked[key] for key in ("state", "source_branch") if asked.get(key, "all") != "all"}
            return [self.shown(name, each) for each in requests if kept.items() <= each.items()]
        if found := re.fullmatch(r"merge_requests/(\d+)", path):
            if method == "PUT":
                requests[int(found[1]) - 1] |= asked
            return self.shown(name, requests[int(found[1]) - 1])
        if found := re.fullmatch(r"merge_requests/(\d+)/notes", path):
            notes = self.notes.setdefault((name, int(found[1])), [])
            if method == "POST":
                notes.append({"id": len(notes) + 1} | asked)
            return notes
        if found := re.fullmatch(r"repository/branches/(.+)", path):
            branch = unquote(found[1])
            if not self.git(name, "branch", "--list", branch):
                return None
            return {"name": branch, "commit": {"id": self.git(name, "rev-parse", branch).strip()}}
        if found := re.fullmatch(r"(?:repository/commits|statuses)/(\w+)(/statuses)?", path):
            statuses = self.statuses.setdefault((name, found[1]), [])
            if method == "POST":
                statuses.append({"status": asked["state"]} | asked)
            return statuses if found[2] else {"id": found[1]}
        if found := re.fullmatch(r"repository/files/(.+)", path):
            file = unquote(found[1])
            if not self.git(name, "ls-tree", "HEAD", "--", file):
                return None
            return {"content": base64.b64encode(self.git(name, "show", f"HEAD:{file}").encode()).decode()}
        return [] if path == "issues" else None

    def shown(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        sha = self.git(name, "rev-parse", request["source_branch"]).strip()
        return request | {"sha": sha, "diverged_commits_count": 0, "created_at": "2026-11-28T00:00:00Z"}


@contextmanager
def serving(folder: Path) -> Iterator[Forge]:
    """The server, on a port of its own."""
    forge = Forge(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            url = urlsplit(self.path)
            body = self.body()
            if not self.allowed(url):
                self.reply(401, [("WWW-Authenticate", "Basic")], b"")
            elif url.path.startswith("/api/v4/"):
                self.api(url.path.removeprefix("/api/v4/"), dict(parse_qsl(url.query)), body)
            else:
                self.reply(*by_git(folder, self, body))

        def allowed(self, url: SplitResult) -> bool:
            kind, _, secret = self.headers.get("Authorization", "").partition(" ")
            if kind == "Basic":
                secret = base64.b64decode(secret).decode().partition(":")[2]
            read_only = not url.path.startswith("/api/") and "git-receive-pack" not in f"{url.path}?{url.query}"
            return TOKEN in (secret, self.headers.get("PRIVATE-TOKEN")) or (read_only and not forge.closed)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = handle_any

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            content = b""
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content

        def api(self, path: str, query: dict[str, str], body: bytes) -> None:
            kind = self.headers.get("Content-Type", "")
            fields = json.loads(body) if body and "json" in kind else dict(parse_qsl(body.decode()))
            answer = forge.answer(self.command, path, query, fields)
            content = json.dumps({"message": "404 Not Found"} if answer is None else answer).encode()
            self.reply(404 if answer is None else 200, [("Content-Type", "application/json")], content)

        def reply(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response(status)
            for key, value in headers:
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        forge.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield forge
        server.shutdown()
