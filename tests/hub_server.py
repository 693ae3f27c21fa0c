"""A Hub on this machine, for tests: repositories in memory behind the HTTP interface that huggingface_hub speaks."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SHA = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Attributes: repositories: OWNER/NAME -> path -> content. private: those that were made so. asked: every request's first line."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass

    def _answer(self, content: object, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _get(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        path = self.path.split("?")[0]
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            content = self.server.repositories.get(found[1], {}).get(found[2])
            if content is not None:
                etag = hashlib.sha1(content).hexdigest()
                return self._answer(content, ETag=f'"{etag}"', X_Repo_Commit=SHA, Content_Type="application/octet-stream")
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/[^/]+|/tree/[^/]+)?", path):
            files = self.server.repositories.get(found[1])
            if files is not None and "/tree/" in path:
                return self._answer(
                    [{"type": "file", "path": n, "size": len(c), "oid": hashlib.sha1(c).hexdigest()} for n, c in files.items()]
                )
            if files is not None:
                return self._answer({"id": found[1], "sha": SHA, "siblings": [{"rfilename": name} for name in files]})
        self._answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")

    do_GET = do_HEAD = _get

    def do_POST(self) -> None:
        self.server.asked.append(f"POST {self.path}")
        sent = self.rfile.read(int(self.headers["Content-Length"] or 0))
        path = self.path.split("?")[0]
        if path == "/api/repos/create":
            asked = json.loads(sent)
            name = f"{asked['organization']}/{asked['name']}"
            self.server.repositories.setdefault(name, {})
            self.server.private[name] = bool(asked.get("private") or asked.get("visibility") == "private")
            return self._answer({"url": f"{self.server.address}/{name}", "id": name, "name": name})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
            names = [file["path"] for file in json.loads(sent)["files"]]
            return self._answer({"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            for line in sent.decode().splitlines():
                operation = json.loads(line)
                if operation["key"] == "file":
                    content = base64.b64decode(operation["value"]["content"])
                    self.server.repositories[found[1]][operation["value"]["path"]] = content
            address = f"{self.server.address}/{found[1]}/commit/{SHA}"
            return self._answer({"success": True, "commitOid": SHA, "commitUrl": address, "pullRequestUrl": None})
        self._answer({"warnings": [], "errors": []})  # /api/validate-yaml and their kin
