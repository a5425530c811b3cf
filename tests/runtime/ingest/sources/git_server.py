"""Real git servers on this machine: dulwich's, and git's own where git is installed."""

import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from dulwich.objects import Blob, Commit, ObjectID, Tree
from dulwich.refs import Ref
from dulwich.repo import Repo
from dulwich.server import DictBackend
from dulwich.web import HTTPGitApplication

from tests.runtime.ingest.sources.site import GOOD

App = Callable[[dict[str, Any], Any], Iterable[bytes]]
NAME = "/docs.git"
BACKEND = Path("/usr/lib/git-core/git-http-backend")
KINDS = ["dulwich", *(["git"] if BACKEND.exists() and shutil.which("git") else [])]


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


@dataclass(slots=True)
class GitServer:
    """One that runs."""

    port: int
    scheme: str
    requests: list[Mapping[str, str]] = field(default_factory=list)
    """Their WSGI environments."""

    def url(self, path: str = NAME, *, host: str = "git.example") -> str:
        """Of a repository."""
        return f"{self.scheme}://{host}:{self.port}{path}"


@contextmanager
def running_app(app: App, tls: ssl.SSLContext | None = None) -> Iterator[GitServer]:
    """A WSGI application at the good address."""
    kept: list[Mapping[str, str]] = []

    def watched(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        kept.append(environ)
        return app(environ, start)

    class Server(WSGIServer):
        def handle_error(self, request: object, client_address: object) -> None: ...

    with make_server(GOOD, 0, watched, server_class=Server, handler_class=_Quiet) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield GitServer(server.server_port, "http" if tls is None else "https", kept)
        finally:
            server.shutdown()
            thread.join()


def make_app(kind: str, repository: "Repository") -> App:
    """The server of that kind for a repository, which it calls `NAME`."""
    if kind == "git":
        return _make_git_app(repository.path)
    repositories: dict[str, Any] = {NAME: repository.repo}
    app: App = HTTPGitApplication(DictBackend(repositories))
    return app


def _make_git_app(repository: Path) -> App:
    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        names = ("REQUEST_METHOD", "QUERY_STRING", "CONTENT_TYPE", "CONTENT_LENGTH", "REMOTE_ADDR")
        passed = {name: environ[name] for name in names if environ.get(name)}
        told = {
            "PATH_TRANSLATED": f"{repository}{environ['PATH_INFO'].removeprefix(NAME)}",
            "PATH_INFO": environ["PATH_INFO"],
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": environ.get("HTTP_GIT_PROTOCOL", ""),
            "GIT_CONFIG_NOSYSTEM": "1",
            "HOME": str(repository),
            "PATH": os.environ["PATH"],
        }
        done = subprocess.run([str(BACKEND)], input=body, env=passed | told, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = [tuple(line.split(": ", 1)) for line in head.decode().splitlines()]
        status = next((value for name, value in headers if name == "Status"), "200 OK")
        start(status, [(name, value) for name, value in headers if name != "Status"])
        return [content]

    return app


@dataclass(slots=True)
class Repository:
    """A bare repository that commits are put into without a checkout."""

    path: Path
    repo: Repo

    def commit(
        self,
        files: Mapping[str, bytes | str],
        *,
        links: Mapping[str, str] | None = None,
        submodules: Iterable[str] = (),
        branch: str = "main",
        commit_time: int = 1_700_000_000,
    ) -> str:
        """Everything that the branch holds from now on; the commit's id."""
        tree: dict[str, Any] = {}
        for path, content in files.items():
            self._put(tree, path, 0o100644, content.encode() if isinstance(content, str) else content)
        for path, target in (links or {}).items():
            self._put(tree, path, 0o120000, target.encode())
        for path in submodules:
            self._put(tree, path, 0o160000, b"")
        return self.commit_tree(self._store_tree(tree), branch=branch, commit_time=commit_time)

    def commit_tree(self, tree: ObjectID, *, branch: str = "main", commit_time: int = 1_700_000_000) -> str:
        """The same for a tree that is there; the commit's id."""
        commit = Commit()
        commit.tree = tree
        ref = Ref(f"refs/heads/{branch}".encode())
        commit.parents = [self.repo.refs[ref]] if ref in self.repo.refs else []
        commit.author = commit.committer = b"A <a@example.com>"
        commit.author_time = commit.commit_time = commit_time
        commit.author_timezone = commit.commit_timezone = 0
        commit.message = b"a commit"
        self.repo.object_store.add_object(commit)
        self.repo.refs[ref] = commit.id
        return commit.id.decode()

    def store(self, tree: Tree) -> ObjectID:
        """A tree that is made by hand; its id."""
        self.repo.object_store.add_object(tree)
        return tree.id

    def store_blob(self, content: bytes) -> ObjectID:
        """A blob; its id."""
        blob = Blob.from_string(content)
        self.repo.object_store.add_object(blob)
        return blob.id

    def _put(self, tree: dict[str, Any], path: str, mode: int, content: bytes) -> None:
        *folders, name = path.split("/")
        for folder in folders:
            tree = tree.setdefault(folder, {})
        blob = Blob.from_string(content)
        if mode != 0o160000:
            self.repo.object_store.add_object(blob)
        tree[name] = (mode, blob.id)

    def _store_tree(self, entries: Mapping[str, Any]) -> ObjectID:
        tree = Tree()
        for name, entry in entries.items():
            mode, object_id = entry if isinstance(entry, tuple) else (0o040000, self._store_tree(entry))
            tree.add(name.encode(), mode, object_id)
        return self.store(tree)


@contextmanager
def made_repository(path: Path) -> Iterator[Repository]:
    """An empty one, whose default branch is `main`."""
    with Repo.init_bare(str(path), mkdir=True) as repo:
        repo.refs.set_symbolic_ref(Ref(b"HEAD"), Ref(b"refs/heads/main"))
        yield Repository(path, repo)
