"""What `strowger up` writes for commands in another shell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from console.stack import Stack
from console.up_command import _write_environment
from model.settings import Settings


def test_a_shell_reads_the_settings_of_the_node_as_they_are(tmp_path: Path) -> None:
    directory = tmp_path / "my node's $HOME"
    directory.mkdir()
    settings = Settings.from_env(
        {"STROWGER_SNAPSHOT": str(directory / "snapshot"), "STROWGER_CDR_WEBHOOK": "http://127.0.0.1/told?by=us&key=x"}
    )
    _write_environment(Stack(settings, directory))
    show = 'set -e; . "$1"; exec "$2" -c "import json, os; print(json.dumps(dict(os.environ)))"'
    done = subprocess.run(
        ["sh", "-c", show, "sh", str(directory / "env"), sys.executable], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert settings.to_env().items() <= json.loads(done.stdout).items()
