"""Kamailio's RPC bindings against a real Kamailio."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from kemi import rpc
from kemi.rpc import Kamcmd

KAMAILIO = Path("/usr/sbin/kamailio")
READY_WITHIN = 20.0
STOPPED_WITHIN = 3.0
POLL = 0.02
"Seconds."

pytestmark = pytest.mark.skipif(not KAMAILIO.exists(), reason="needs Kamailio")

CONFIG = """#!KAMAILIO
debug=0
log_stderror=yes
children=1
tcp_children=1
listen=tcp:127.0.0.1:{port}
loadmodule "kex.so"
loadmodule "corex.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "xhttp.so"
loadmodule "jsonrpcs.so"
loadmodule "htable.so"
loadmodule "dispatcher.so"
loadmodule "app_python3.so"
# HTTP and datagrams
modparam("jsonrpcs", "transport", 5)
modparam("jsonrpcs", "dgram_socket", "{directory}/rpc.sock")
modparam("htable", "htable", "few=>size=4;")
modparam("htable", "htable", "many=>size=8;")
modparam("dispatcher", "list_file", "{directory}/dispatcher.list")
modparam("app_python3", "load", "{directory}/script.py")
request_route {{
    exit;
}}
event_route[xhttp:request] {{
    if ($hu == "/RPC") {{
        jsonrpc_dispatch();
        exit;
    }}
    xhttp_reply("404", "Not Found", "text/plain", "no");
}}
"""

GATEWAYS = """\
1 sip:127.0.0.1:5999 0 5 duid=a;weight=50
1 sip:127.0.0.1:5998
22 sip:127.0.0.2:5998;transport=tcp 8
"""

SCRIPT = """\
class Handler:
    def child_init(self, rank):
        return 0


def mod_init():
    return Handler()
"""


class Server:
    """A Kamailio of our own, in a process group of its own."""

    def __init__(self, directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        (directory / "kamailio.cfg").write_text(CONFIG.format(port=port, directory=directory))
        (directory / "dispatcher.list").write_text(GATEWAYS)
        (directory / "script.py").write_text(SCRIPT)
        self.addresses = {"datagram": f"unix:{directory}/rpc.sock", "http": f"http://127.0.0.1:{port}/RPC"}
        self.log = directory / "kamailio.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [KAMAILIO, "-DD", "-E", "-f", "kamailio.cfg", "-Y", directory, "-P", directory / "pid"],
                cwd=directory,
                # Another python3 in PATH would change the prefix of the embedded one.
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        for address in self.addresses.values():
            self._wait_for(address, time.monotonic() + READY_WITHIN)

    def _wait_for(self, address: str, deadline: float) -> None:
        while True:
            with Kamcmd(address, timeout=0.2) as kamcmd, suppress(rpc.RpcUnavailable, rpc.RpcTimeout):
                kamcmd.version()
                return
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(POLL)
            running = self._process.poll() is None and time.monotonic() < deadline
            assert running, self.log.read_text(errors="replace")

    @contextmanager
    def stopped(self) -> Iterator[None]:
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOPPED_WITHIN)
        # SIGTERM is lost on a child that has yet to set its handler, and Kamailio then waits a minute for it.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(STOPPED_WITHIN)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("kamailio"))
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.close()


@pytest.fixture(params=["datagram", "http"])
def kamcmd(server: Server, request: pytest.FixtureRequest) -> Iterator[Kamcmd]:
    with Kamcmd(server.addresses[request.param], timeout=10.0) as kamcmd:
        yield kamcmd


@pytest.fixture(scope="module")
def both(server: Server) -> Iterator[tuple[Kamcmd, Kamcmd]]:
    with Kamcmd(server.addresses["datagram"]) as datagram, Kamcmd(server.addresses["http"]) as http:
        yield datagram, http


def fill(kamcmd: Kamcmd, rows: int) -> dict[str, str]:
    expected = {f"key{number}": "v" * 1000 for number in range(rows)}
    kamcmd.call("htable.flush", "many")
    for key, value in expected.items():
        kamcmd.call("htable.sets", "many", key, value)
    return expected


def test_version_and_uptime(kamcmd: Kamcmd) -> None:
    assert kamcmd.version().startswith("kamailio ")
    assert 0 <= kamcmd.uptime() < 600


def test_unknown_method_is_a_fault(kamcmd: Kamcmd) -> None:
    with pytest.raises(rpc.RpcFault) as caught:
        kamcmd.call("no.such")
    assert (caught.value.code, caught.value.message) == (500, "Method Not Found")


def test_reload_under_either_name(kamcmd: Kamcmd) -> None:
    first = kamcmd.reload()
    assert first.new == first.old + 1
    assert kamcmd.call("app_python3.reload") == {"old": first.new, "new": first.new + 1}


def test_api_list(kamcmd: Kamcmd) -> None:
    functions = {(function.module, function.name): function for function in kamcmd.api_list()}
    assert functions["", "info"].params == ("str",)
    assert functions["pv", "get"].returns == "xval"
    assert functions["htable", "sht_sets"].params == ("str", "str", "str")
    assert functions["", "is_INVITE"].params == ()


def test_statistics(kamcmd: Kamcmd) -> None:
    shmem = kamcmd.statistics("shmem")
    assert shmem["total_size"] > shmem["free_size"] > 0
    assert kamcmd.statistics("none") == {}


def test_htable(kamcmd: Kamcmd) -> None:
    kamcmd.call("htable.flush", "few")
    assert kamcmd.htable_dump("few") == {}
    kamcmd.call("htable.sets", "few", "5", "123")
    kamcmd.call("htable.seti", "few", "count", -7)
    assert kamcmd.htable_dump("few") == {"5": "123", "count": -7}
    assert kamcmd.htable_get("few", "5") == "123"
    assert kamcmd.htable_get("few", "count") == -7
    with pytest.raises(rpc.RpcFault, match="doesn't exist"):
        kamcmd.htable_get("few", "none")


def test_types_of_params_matter(kamcmd: Kamcmd) -> None:
    with pytest.raises(rpc.RpcFault, match="Not enough parameters"):
        kamcmd.call("htable.get", "few", 5)


@pytest.mark.parametrize("text", ["é", "😀", "\U00020001", 'q"\\/', "tab\tnewline\n\x01", " padded ", ""])
def test_strings_come_back_as_they_went(kamcmd: Kamcmd, text: str) -> None:
    kamcmd.call("htable.sets", "few", "text", text)
    assert kamcmd.htable_get("few", "text") == text


def test_dispatcher_list(kamcmd: Kamcmd) -> None:
    by_uri = {destination.uri: destination for destination in kamcmd.dispatcher_list()}
    assert by_uri["sip:127.0.0.1:5999"] == rpc.Destination(
        set_id=1, uri="sip:127.0.0.1:5999", flags="AX", priority=5, attributes="duid=a;weight=50"
    )
    assert by_uri["sip:127.0.0.1:5998"].attributes == ""
    assert by_uri["sip:127.0.0.2:5998;transport=tcp"].set_id == 22


def test_state_of_a_destination(kamcmd: Kamcmd) -> None:
    uri = "sip:127.0.0.1:5998"
    for state, in_service in (("dx", False), ("ax", True)):
        kamcmd.call("dispatcher.set_state", state, 1, uri)
        [found] = [destination for destination in kamcmd.dispatcher_list() if destination.uri == uri]
        assert found.in_service is in_service


def test_large_reply(kamcmd: Kamcmd) -> None:
    expected = fill(kamcmd, 100)
    assert kamcmd.htable_dump("many") == expected


def test_reply_that_fits_no_datagram(both: tuple[Kamcmd, Kamcmd]) -> None:
    datagram, http = both
    expected = fill(datagram, 150)
    assert http.htable_dump("many") == expected
    with pytest.raises(rpc.RpcTimeout):
        datagram.call("htable.dump", "many", timeout=0.3)
    # The silence was about that reply alone.
    assert datagram.version() == http.version()


def test_largest_request(kamcmd: Kamcmd) -> None:
    over_http = kamcmd.address.startswith("http:")
    limit = rpc.HTTP_REQUEST_LIMIT if over_http else rpc.DATAGRAM_REQUEST_LIMIT
    for size in range(limit, 0, -1):
        try:
            kamcmd.call("htable.sets", "few", "large", "x" * size)
        except rpc.RpcTooLarge:
            continue
        break
    assert size > limit - 300
    assert kamcmd.htable_get("few", "large") == "x" * size
    kamcmd.call("htable.delete", "few", "large")


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("core.version", ()),
        ("dispatcher.list", ()),
        ("app_python.api_list", ()),
        ("htable.dump", ("few",)),
        ("htable.listTables", ()),
        ("core.psx", ()),
    ],
)
def test_both_transports_give_equal_results(both: tuple[Kamcmd, Kamcmd], method: str, params: tuple[str, ...]) -> None:
    datagram, http = both
    datagram.call("htable.sets", "few", "row", "value")
    assert datagram.call(method, *params) == http.call(method, *params)


def test_both_transports_give_equal_faults(both: tuple[Kamcmd, Kamcmd]) -> None:
    faults = []
    for kamcmd in both:
        with pytest.raises(rpc.RpcFault) as caught:
            kamcmd.call("htable.dump", "none")
        faults.append((caught.value.code, caught.value.message))
    assert faults == [(500, "No such htable")] * 2


def test_stopped_kamailio_times_out_and_its_late_replies_are_dropped(server: Server, kamcmd: Kamcmd) -> None:
    kamcmd.call("htable.sets", "few", "late", "yes")
    with server.stopped():
        for _ in range(3):
            begin = time.monotonic()
            with pytest.raises(rpc.RpcTimeout):
                kamcmd.call("htable.get", "few", "late", timeout=0.2)
            assert 0.2 <= time.monotonic() - begin < 1.0
    assert kamcmd.version().startswith("kamailio ")


def test_other_page_than_the_rpc(server: Server) -> None:
    address = server.addresses["http"].replace("/RPC", "/other")
    with Kamcmd(address) as kamcmd, pytest.raises(rpc.RpcProtocolError, match="HTTP 404 Not Found"):
        kamcmd.version()


def test_unavailable_once_kamailio_is_gone(tmp_path: Path) -> None:
    server = Server(tmp_path)
    try:
        server.wait_until_ready()
    finally:
        server.close()
    for address in server.addresses.values():
        with Kamcmd(address) as kamcmd, pytest.raises(rpc.RpcUnavailable):
            kamcmd.version()
