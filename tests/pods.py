"""What Snakemake's Kubernetes executor asks of a cluster, on this machine.

`pods` is an HTTP server with the few answers that the executor needs. It runs a job's
command in an empty folder of its own, with the environment that the job asks for and
nothing else. It pulls no image, mounts no volume, and checks no description: whether a
real cluster accepts the jobs is not seen here.
"""

import base64
import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit


class Pods(ThreadingHTTPServer):
    """The server; `jobs` and `processes` by name, the latter as they were started."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.secrets: dict[str, dict[str, str]] = {}
        self.jobs: dict[str, dict] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start_job(self, job: dict) -> None:
        name = job["metadata"]["name"]
        (container,) = job["spec"]["template"]["spec"]["containers"]
        workdir = self.folder / name
        workdir.mkdir()
        variables = {"PATH": os.environ["PATH"], "HOME": str(workdir)}
        for variable in container["env"]:
            reference = variable["valueFrom"]["secretKeyRef"]
            secret = self.secrets[reference["name"]][reference["key"]]
            variables[variable["name"]] = base64.b64decode(secret).decode()
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [*container["command"], *container["args"]],
                cwd=workdir,
                env=variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.jobs[name] = job

    def kill(self, name: str) -> None:
        """End all processes of a job at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.processes[name].pid, signal.SIGKILL)


class _Handler(BaseHTTPRequestHandler):
    server: Pods

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        body = json.loads(self.rfile.read(length))
        if self._last == "secrets":
            self.server.secrets[body["metadata"]["name"]] = body["data"]
        else:
            self.server.start_job(body)
        self._answer(body)

    def do_GET(self):
        if self._last == "pods":
            self._answer({"items": []})
            return
        name = urlsplit(self.path).path.split("/")[-2]
        status = self.server.processes[name].poll()
        state = "active" if status is None else "failed" if status else "succeeded"
        self._answer({**self.server.jobs[name], "status": {state: 1}})

    def do_DELETE(self):
        if self._last in self.server.processes:
            self.server.kill(self._last)
        self._answer({})

    @property
    def _last(self):
        return urlsplit(self.path).path.rsplit("/", 1)[-1]

    def _answer(self, content):
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def pods(folder: Path) -> Iterator[tuple[Pods, dict[str, str]]]:
    """Serve, and yield the server and the environment in which clients find it."""
    with Pods(folder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        configuration = folder / "kubeconfig"
        configuration.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "here",
                    "clusters": [{"name": "here", "cluster": {"server": address}}],
                    "users": [{"name": "me", "user": {}}],
                    "contexts": [
                        {"name": "here", "context": {"cluster": "here", "user": "me"}}
                    ],
                }
            )
        )
        try:
            yield server, os.environ | {"KUBECONFIG": str(configuration)}
        finally:
            for name in list(server.processes):
                server.kill(name)
            server.shutdown()
