"""An HTTP server on the loopback interface that speaks the Hugging Face hub's protocol, and misbehaves on request.

What it answers is what `huggingface_hub` asks for when it makes a model, commits to it (files in Git LFS over a batch
API, others inside the commit) and downloads from it. As on the hub, LFS files are served by another host, to which the
token must not be sent.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import unquote, urlsplit

import yaml

from tests.loopback_server import LoopbackHandler, LoopbackServer

TOKEN = "hf_right"
_INVALID = {"X-Error-Message": "Invalid credentials in Authorization header"}
_LFS_SUFFIXES = (".safetensors", ".bin", ".pth")


@dataclass
class Repository:
    """A model: files by commit, the newest commit last."""

    is_private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def at(self, revision: str) -> str | None:
        """The commit of a revision."""
        return list(self.commits)[-1] if revision == "main" else revision if revision in self.commits else None


class Hub(LoopbackServer):
    """The hub. `failures` has a status, or 0 to never answer, by a part of the path of the requests that fail."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.lfs: dict[str, bytes] = {}
        self.failures: dict[str, int] = {}
        self.listed_too: list[str] = []
        self.is_gated = False
        self.model_info: bytes | None = None
        """What to answer about any model, in place of what there is."""
        self.served: dict[str, bytes] = {}
        """Contents to serve in place of those that were pushed, by name."""
        self.requests: list[str] = []
        self.tokens_elsewhere: list[str] = []
        super().__init__(type("Handler", (_Handler,), {"hub": self}))
        self.storage = f"http://localhost:{self.port}/storage"

    def files(self, name: str) -> dict[str, bytes]:
        """The files of a model in its newest commit."""
        repository = self.repositories[name]
        return repository.commits[list(repository.commits)[-1]]


class _Handler(LoopbackHandler):
    hub: ClassVar[Hub]

    def do_GET(self) -> None:
        path = self._begin()
        if path is None:
            return
        if match := re.fullmatch(r"/storage/(\w+)", path):
            self.hub.tokens_elsewhere += [self.headers[name] for name in ("Authorization",) if name in self.headers]
            self._send(200, self.hub.lfs[match[1]])
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            self._model_info(match[1], match[2] or "main")
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._resolve(*match.groups())
        else:
            self._send(404)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        body, path = self._body(), self._begin()
        if path is None:
            return
        oid = path.rpartition("/")[2]
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.lfs[oid] = body
        self._send(200)

    def do_POST(self) -> None:
        body, path = self._body(), self._begin()
        if path is None:
            return
        if path == "/api/validate-yaml":
            self._validate(json.loads(body)["content"])
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send(401, json.dumps({"error": "Unauthorized"}).encode(), _INVALID)
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
            self._preupload(json.loads(body)["files"])
        elif re.fullmatch(r"/[^/]+/[^/]+\.git/info/lfs/objects/batch", path):
            self._batch(json.loads(body)["objects"])
        elif path == "/verify":
            stored = self.hub.lfs[json.loads(body)["oid"]]
            self._send(200 if len(stored) == json.loads(body)["size"] else 422)
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            self._commit(match[1], [json.loads(line) for line in body.splitlines()])
        else:
            self._send(404)

    def _begin(self) -> str | None:
        """The path of the request; None if it was answered with a failure, or is never going to be."""
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        for part, status in self.hub.failures.items():
            if part in f"{self.command} {path}":
                if not status:
                    self.hub.go_on.wait()
                self._send(status or 500, headers={"Connection": "close"})
                return None
        return path

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _create(self, asked: Mapping[str, object]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        url = json.dumps({"url": f"{self.hub.address}/{name}"}).encode()
        if name in self.hub.repositories:
            self._send(409, url)
            return
        first = {hashlib.sha1(name.encode()).hexdigest(): {".gitattributes": b""}}
        self.hub.repositories[name] = Repository(asked.get("visibility") == "private", first)
        self._send(200, url)

    def _preupload(self, files: list[Mapping[str, str]]) -> None:
        modes = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(_LFS_SUFFIXES) else "regular",
                "shouldIgnore": False,
            }
            for file in files
        ]
        self._send(200, json.dumps({"files": modes}).encode())

    def _batch(self, objects: list[dict[str, object]]) -> None:
        for each in objects:
            if each["oid"] not in self.hub.lfs:
                each["actions"] = {
                    "upload": {"href": f"{self.hub.storage}/{each['oid']}"},
                    "verify": {"href": f"{self.hub.address}/verify"},
                }
        self._send(200, json.dumps({"transfer": "basic", "objects": objects}).encode())

    def _validate(self, card: str) -> None:
        document = yaml.safe_load(card.split("---\n")[1])
        wrong = [] if isinstance(document.get("license"), str) else [{"message": '"license" must be a string'}]
        self._send(400 if wrong else 200, json.dumps({"errors": wrong, "warnings": []}).encode())

    def _commit(self, name: str, lines: list[Mapping[str, object]]) -> None:
        repository = self.hub.repositories[name]
        files = dict(self.hub.files(name))
        for line in lines:
            value = line["value"]
            assert isinstance(value, dict)
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.lfs[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        oid = hashlib.sha1(f"{name} {len(repository.commits)}".encode()).hexdigest()
        repository.commits[oid] = files
        answer = {"success": True, "commitOid": oid, "commitUrl": f"{self.hub.address}/{name}/commit/{oid}"}
        self._send(200, json.dumps(answer).encode())

    def _found(self, name: str, revision: str) -> tuple[Repository, str] | None:
        """A model and a commit of it; None if it was answered that there is no such, or nothing to see."""
        repository = self.hub.repositories.get(name)
        token = self.headers.get("Authorization")
        if token not in (None, f"Bearer {TOKEN}"):
            self._send(401, headers=_INVALID)
        elif repository is None or (repository.is_private and token is None):
            # Without a token, the hub does not say whether there is a private one.
            self._send(404 if token else 401, headers={"X-Error-Code": "RepoNotFound"})
        elif self.hub.is_gated:
            self._send(403, headers={"X-Error-Code": "GatedRepo"})
        elif (commit := repository.at(revision)) is None:
            self._send(404, headers={"X-Error-Code": "RevisionNotFound"})
        else:
            return repository, commit
        return None

    def _model_info(self, name: str, revision: str) -> None:
        if (found := self._found(name, revision)) is None:
            return
        repository, commit = found
        if self.hub.model_info is not None:
            self._send(200, self.hub.model_info)
            return
        names = [*repository.commits[commit], *self.hub.listed_too]
        info = {"id": name, "modelId": name, "sha": commit, "private": repository.is_private}
        self._send(200, json.dumps(info | {"siblings": [{"rfilename": each} for each in names]}).encode())

    def _resolve(self, name: str, revision: str, file: str) -> None:
        if (found := self._found(name, revision)) is None:
            return
        repository, commit = found
        headers = {"X-Repo-Commit": commit}
        content = repository.commits[commit].get(file)
        if content is None:
            self._send(404, headers=headers | {"X-Error-Code": "EntryNotFound"})
            return
        content = self.hub.served.get(file, content)
        if not file.endswith(_LFS_SUFFIXES):
            digest = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            self._send(200, content, headers | {"ETag": f'"{digest}"'})
            return
        oid = hashlib.sha256(content).hexdigest()
        self.hub.lfs[oid] = content
        linked = {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(content))}
        self._send(302, headers=headers | linked | {"Location": f"{self.hub.storage}/{oid}"})

    def _send(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
