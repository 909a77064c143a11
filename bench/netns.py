"""Network namespaces, so that every variant has a loopback, ports and kernel tables of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass

IP = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin")


@dataclass(frozen=True, slots=True)
class Namespace:
    """One namespace; without a name, the one that we are in."""

    name: str = ""

    @classmethod
    def create(cls, label: str) -> Namespace:
        """A namespace of this run with its loopback up; the one that we are in where that is not permitted."""
        name = f"bench-{os.getpid()}-{label}"
        if IP is None or subprocess.run([IP, "netns", "add", name], capture_output=True, check=False).returncode:
            return cls()
        subprocess.run([IP, "-n", name, "link", "set", "lo", "up"], check=True)
        return cls(name)

    def command(self, *words: str) -> list[str]:
        """The command that runs ``words`` here; ip replaces itself by it, so process ids stay."""
        return [str(IP), "netns", "exec", self.name, *words] if self.name else list(words)

    def remove(self) -> None:
        """Remove it."""
        if self.name:
            subprocess.run([str(IP), "netns", "delete", self.name], check=False)
