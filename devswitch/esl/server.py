"""The inbound side of the event socket: a port, a password, clients."""

from __future__ import annotations

import asyncio

from devswitch.esl.connection import Connection
from devswitch.switch import Switch


class EslServer:
    """Listens for clients."""

    def __init__(self, switch: Switch, host: str, port: int, password: str) -> None:
        self.switch = switch
        self.host = host
        self.port = port
        self._password = password
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server:
            self._server.close()
        for listener in list(self.switch.bus.listeners):
            if isinstance(listener, Connection) and not listener.outbound:
                listener.notice("The system is being shut down.\n")
                listener.writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self.switch, reader, writer, password=self._password)
        connection.write(b"Content-Type: auth/request\n\n")
        await connection.serve()
