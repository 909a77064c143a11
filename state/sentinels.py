"""The address of a Redis that is found by its sentinels; pure.

Source: https://redis.io/docs/latest/develop/reference/sentinel-clients/
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

SCHEME = "redis-sentinel"
PORT = 26379
MASTER = "mymaster"
"How sentinels call the Redis, unless an address says so."
# urlsplit takes no second host in brackets.
_ADDRESS = re.compile(rf"{SCHEME}://(?:([^/?#@]*)@)?([^/?#@]+)(?:/([0-9]*))?(?:\?([^#]*))?")


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Who is asked which Redis is the master now, and how that is spoken to."""

    hosts: tuple[tuple[str, int], ...]
    "Names or IP addresses, and ports; asked in this order."
    master: str = MASTER
    database: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    ask_as: bool = False
    "Whether user and password are the sentinels' too."

    @classmethod
    def parse(cls, url: str) -> Sentinels | None:
        """From ``redis-sentinel://[[USER]:PASSWORD@]HOST[:PORT],HOST[:PORT]…[/DB][?master=NAME&sentinel_auth=yes]``.

        None: the address is that of a Redis itself. Raises ValueError.
        """
        if not url.startswith(f"{SCHEME}://"):
            return None
        found = _ADDRESS.fullmatch(url)
        if found is None:
            raise ValueError("not redis-sentinel://HOST:PORT,HOST:PORT/DB?master=NAME")
        login, hosts, database, query = found.groups(default="")
        username, _, password = login.partition(":")
        said = dict(parse_qsl(query, strict_parsing=True)) if query else {}
        master, asked_as = said.pop("master", MASTER), said.pop("sentinel_auth", "no")
        if said or asked_as not in ("yes", "no"):
            raise ValueError("master and sentinel_auth=yes are all that may stand behind the question mark")
        return cls(
            tuple([_host(one) for one in hosts.split(",")]),
            master,
            int(database or 0),
            unquote(username),
            unquote(password),
            asked_as == "yes",
        )

    def __str__(self) -> str:
        """Without user and password."""
        hosts = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts]
        return f"{SCHEME}://{','.join(hosts)}"

    @property
    def login(self) -> dict[str, str]:
        """User and password of the Redis, as far as there are any."""
        found = {"username": self.username, "password": self.password}
        return {name: word for name, word in found.items() if word}


def _host(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("a sentinel is HOST or HOST:PORT")
    return parts.hostname, parts.port or PORT
