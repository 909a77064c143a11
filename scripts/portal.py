"""A web page that asks the switch, on this machine: http://127.0.0.1:8085/scripts/portal

Every user of this machine reaches it, so it runs what only looks, and nothing else; the list is yours to change.
"""

from html import escape

from media.script import script
from media.session import API, Env, Stream

ALLOWED = ("hostname", "show calls", "show channels", "show codec", "sofia status", "status", "uptime", "version")


@script("portal", http=True)
async def portal(env: Env, stream: Stream) -> None:
    stream.write("Content-Type: text/html\n\n")
    stream.write("<title>Command portal</title><h2>Command portal</h2>")
    stream.write('<form method=post><input name=command size=40> <input type=submit value="Execute"></form><hr>')
    command = env.get_header("command")
    if command is None:
        return
    if not any(command == allowed or command.startswith(f"{allowed} ") for allowed in ALLOWED):
        stream.write(f"Only these: {', '.join(ALLOWED)}")
        return
    reply = await API().execute_string(command)
    stream.write(f"<b>Command result</b><pre>{escape(reply)}</pre>")
