"""nginx that serves files with sendfile over the same TLS as the gateway: how fast bytes can leave this machine."""

from __future__ import annotations

from pathlib import Path

from bench.network import free_port, listens
from bench.processes import Program
from bench.servers.gateway import as_root, nginx
from bench.servers.region import NAMES, Region
from bench.subjects.subject import Servers, WebAddress, WebOnly

_CONFIGURATION = """
daemon off;
pid {here}/nginx.pid;
worker_processes auto;
error_log {here}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    client_body_temp_path {here}/body; proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;
    ssl_protocols TLSv1.2 TLSv1.3;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        root {here}/files;
    }}
}}
"""


class StaticNginx(WebOnly, Servers):
    """Files of `files`, which a row writes, at `web().base`."""

    name = "nginx-static"

    def __init__(self) -> None:
        super().__init__()
        self._port = free_port()
        self.files = Path()

    def start(self, directory: Path) -> None:
        shown = Region(directory / "region").server(NAMES.gateway_name)
        self.files = directory / "files"
        self.files.mkdir()
        text = _CONFIGURATION.format(
            here=directory, port=self._port, certificate=shown.certificate, key=shown.key
        )
        (directory / "nginx.conf").write_text(text)
        server = Program(
            [nginx(), "-c", str(directory / "nginx.conf"), *as_root()], directory / "log", name=self.name
        )
        self._running.append(server)
        server.wait_until(lambda: listens(self._port), "listen")

    def web(self) -> WebAddress:
        return WebAddress(f"https://{NAMES.gateway_name}:{self._port}")

    def configuration(self) -> str:
        return "Debian's nginx, sendfile, TLS as the gateway's; each frame a file of its own"
