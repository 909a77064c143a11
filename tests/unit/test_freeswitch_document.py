"""What docs/freeswitch.md tells an operator to write down is what FreeSWITCH and the workers read."""

from __future__ import annotations

import os
import re
from xml.etree import ElementTree

import pytest

import policyfile
from console import serve
from model.settings import SETTINGS, Settings

TEXT = (serve.ROOT / "docs" / "freeswitch.md").read_text()
FOLDER = serve.ROOT / "media" / "freeswitch"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_it_lists_the_modules_that_are_loaded() -> None:
    tree = ElementTree.parse(FOLDER / "autoload_configs" / "modules.conf.xml")
    loaded = {element.attrib["module"] for element in tree.iter("load")}
    table = TEXT.partition("| module |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(mod_\w+)`", table)) == loaded


def test_it_names_only_variables_that_are_read() -> None:
    read = {setting.name for setting in SETTINGS}
    read |= set(re.findall(r"STROWGER_\w+", (FOLDER / "vars.xml").read_text() + (FOLDER / "start").read_text()))
    assert set(re.findall(r"STROWGER_\w+", TEXT)) <= read


def test_its_environment_is_one_that_workers_take() -> None:
    lines = dict(line.split("=", 1) for line in blocks("ini")[0].splitlines() if not line.startswith("#"))
    settings = Settings.from_env(lines)
    assert str(settings.esl_password_file) == lines["STROWGER_ESL_PASSWORD_FILE"]
    assert str(settings.worker_address) in lines["STROWGER_FS_WORKERS"].split("|")


@pytest.mark.parametrize("port", [8084, 8184])
def test_its_workers_differ_in_their_addresses(port: int) -> None:
    (line,) = re.findall(r"^Environment=(.*)$", blocks("ini")[2], re.MULTILINE)
    settings = Settings.from_env(dict(word.split("=", 1) for word in line.replace("%i", str(port)).split()))
    assert settings.worker_address.port == port
    assert settings.worker_http != settings.worker_address


def test_its_units_start_programs_that_exist() -> None:
    programs = re.findall(r"^ExecStart=/opt/strowger/(\S+)", "".join(blocks("ini")), re.MULTILINE)
    assert programs == ["media/freeswitch/start", ".venv/bin/strowger", ".venv/bin/strowger"]
    assert os.access(serve.ROOT / programs[0], os.X_OK)


def test_its_media_node_is_a_section_of_a_policy() -> None:
    (text,) = blocks("yaml")
    loaded = policyfile.load(f"strowger: 1\ntrunks: {{office: {{sources: [192.0.2.0/24]}}}}\n{text}", name="document")
    assert loaded.policy.gateways["fs-1"].media
