"""A certification authority and what it signs, by Debian's openssl."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

# With all that RFC 5280 wants of one, as Python from 3.13 on insists (VERIFY_X509_STRICT).
_CONFIG = """[ca]
default_ca = own
[own]
database = {0}/index
new_certs_dir = {0}
certificate = {0}/ca.crt
private_key = {0}/ca.key
rand_serial = yes
unique_subject = no
default_md = sha256
policy = named
copy_extensions = copy
x509_extensions = whole
[whole]
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[named]
commonName = supplied
"""
PAST = ("20200101000000Z", "20200102000000Z")
NOW = ("20200101000000Z", "20991231235959Z")


class Authority:
    """Signs certificates of servers; ``certificate`` is what a client has to trust."""

    def __init__(self, folder: Path) -> None:
        """Its files go into ``folder``, which is there."""
        self._folder, self.certificate = folder, folder / "ca.crt"
        (folder / "index").touch()
        (folder / "config").write_text(_CONFIG.format(folder))
        self._openssl(
            "req", "-x509", *self._key("ca"), "-subj", "/CN=authority", "-days", "2",
            "-addext", "keyUsage=critical,keyCertSign", "-out", "ca.crt",
        )  # fmt: skip

    def server(self, name: str, times: tuple[str, str] = NOW) -> ssl.SSLContext:
        """What a server of this DNS name shows, good from one time to another."""
        self._openssl(
            "req", *self._key("server"), "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-out", "csr"
        )
        begins, ends = times
        self._openssl(
            "ca", "-batch", "-notext", "-config", "config", "-in", "csr", "-out", "server.crt",
            "-startdate", begins, "-enddate", ends,
        )  # fmt: skip
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._folder / "server.crt", self._folder / "server.key")
        return context

    def _key(self, name: str) -> tuple[str, ...]:
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key"

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self._folder, check=True, capture_output=True)
