"""XML-RPC onto the same routes: a method is an ``operationId``, its one parameter a struct of all that the route takes.

A call becomes the request that it stands for, so that roles, audit, idempotency and messages are the same.
"""

from __future__ import annotations

import base64
import binascii
import json
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from api import xml
from api.idempotency import HEADER
from api.inside import Answer, ask
from api.xml import XmlError

router = APIRouter()

PATH = "/xmlrpc"
ANSWER_MAX = 64 << 20
KEY = "idempotency_key"
"Of a struct: the header Idempotency-Key."
FILE = "file"
"Of a struct: a CSV file."
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="strowger", Bearer realm="strowger"'}
_METHODS = ("get", "put", "post", "patch", "delete")
# A role that any token is good for.
_OWN = "tokens.own"


class Fault(Exception):
    """A call is answered with a fault."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@router.post(PATH, include_in_schema=False)
async def door(request: Request) -> Response:
    """Answer a call."""
    credentials = _credentials(request.headers.get("Authorization", ""))
    try:
        # Before anything of the body is read.
        await _asked(request, credentials, _operations(request)[_OWN], {})
        body = await _body(request)
        method, parameters = await run_in_threadpool(xml.parse, body)
        return _xml(xml.answer(await _called(request, credentials, method, parameters)))
    except XmlError as error:
        return _xml(xml.fault(xml.NOT_XML, str(error)))
    except Fault as error:
        status = HTTPStatus.UNAUTHORIZED if error.code == HTTPStatus.UNAUTHORIZED else HTTPStatus.OK
        return _xml(xml.fault(error.code, str(error)), status)


def _xml(body: bytes, status: int = 200) -> Response:
    return Response(body, status, _CHALLENGE if status == HTTPStatus.UNAUTHORIZED else None, "text/xml")


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > xml.BODY_MAX:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {xml.BODY_MAX} bytes")
    return bytes(body)


def _credentials(header: str) -> str:
    """What a route is told: a token that came as the password of HTTP Basic becomes a bearer's."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        return header
    try:
        _, _, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return f"Bearer {password}" if password.isascii() and password.isprintable() else ""


async def _called(request: Request, credentials: str, method: str, parameters: tuple[Any, ...]) -> Any:
    known = _operations(request)
    if method.startswith("system."):
        return _system(known, method, parameters)
    if method not in known:
        raise Fault(xml.NO_METHOD, f"there is no method {method[:80]}: system.listMethods lists them")
    return await _asked(request, credentials, known[method], _struct(parameters))


def _operations(request: Request) -> dict[str, dict[str, Any]]:
    app: FastAPI = request.app
    return operations(app.openapi())


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The operations of an OpenAPI document by their ids, each with ``path`` and ``method``."""
    return {
        operation["operationId"]: {**operation, "path": path, "method": method.upper()}
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in _METHODS
    }


def _struct(parameters: tuple[Any, ...]) -> dict[str, Any]:
    if len(parameters) > 1 or (parameters and not isinstance(parameters[0], dict)):
        raise Fault(xml.BAD_PARAMETERS, "a method takes one struct, or nothing")
    return dict(parameters[0]) if parameters else {}


async def _asked(request: Request, credentials: str, operation: dict[str, Any], given: dict[str, Any]) -> Any:
    path, query, headers, body = request_of(operation, given)
    if credentials:
        headers["Authorization"] = credentials
    try:
        answer = await ask(request, operation["method"], path, query, headers, body, ANSWER_MAX)
    except OverflowError as error:
        raise Fault(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error)) from None
    return _value(answer)


def request_of(operation: dict[str, Any], given: dict[str, Any]) -> tuple[str, str, dict[str, str], bytes]:
    """Path, query, headers and body that a struct stands for. Raises Fault."""
    path, query, headers, rest = operation["path"], list[tuple[str, str]](), dict[str, str](), dict(given)
    if (key := rest.pop(KEY, None)) is not None:
        headers[HEADER] = _header(key)
    for parameter in operation.get("parameters", ()):
        name, place = parameter["name"], parameter["in"]
        if place == "path":
            if rest.get(name) in (None, ""):
                raise Fault(xml.BAD_PARAMETERS, f"{name} is missing")
            path = path.replace(f"{{{name}}}", quote(_text(rest.pop(name)), safe=""))
        elif place == "query" and rest.get(name) is not None:
            value = rest.pop(name)
            query += [(name, _text(item)) for item in (value if isinstance(value, list) else [value])]
    content = operation.get("requestBody", {}).get("content", {})
    if content and "application/json" not in content:
        headers["Content-Type"] = next(iter(content))
        return path, urlencode(query), headers, _text(rest.pop(FILE, "")).encode(errors="surrogateescape")
    if content:
        headers["Content-Type"] = "application/json"
        try:
            return path, urlencode(query), headers, json.dumps(rest, allow_nan=False).encode()
        except ValueError:
            raise Fault(xml.BAD_PARAMETERS, "a number is none") from None
    if unknown := [name for name, value in rest.items() if value is not None]:
        raise Fault(xml.BAD_PARAMETERS, f"{operation['operationId']} takes no {', '.join(unknown)[:200]}")
    return path, urlencode(query), headers, b""


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        raise Fault(xml.BAD_PARAMETERS, "a struct or an array stands where a text or a number belongs")
    return str(value)


def _header(value: Any) -> str:
    text = _text(value)
    if not text.isascii() or not text.isprintable():
        raise Fault(xml.BAD_PARAMETERS, f"{KEY} is printable ASCII")
    return text


def _value(answer: Answer) -> Any:
    kind = answer.headers.get("content-type", "")
    found = json.loads(answer.body) if kind.partition(";")[0].endswith("json") and answer.body else None
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise Fault(answer.status, _said(found))
    return found if found is not None else answer.body.decode(errors="replace")


def _said(problem: Any) -> str:
    if not isinstance(problem, dict):
        return "refused"
    wheres = [f"{one['where']}: {one['what']}" for one in problem.get("errors", ())]
    return "\n".join([str(problem.get("detail", "")), *wheres])


def _system(known: dict[str, dict[str, Any]], method: str, parameters: tuple[Any, ...]) -> Any:
    if method == "system.listMethods":
        return sorted([*known, "system.listMethods", "system.methodHelp", "system.methodSignature"])
    name = parameters[0] if len(parameters) == 1 else None
    if method not in ("system.methodHelp", "system.methodSignature") or not isinstance(name, str):
        raise Fault(xml.NO_METHOD, f"there is no method {method[:80]} of these parameters")
    if name.startswith("system."):
        return [["array"]] if method == "system.methodSignature" else "About the methods of this server."
    if name not in known:
        raise Fault(xml.NO_METHOD, f"there is no method {name[:80]}")
    return _signature(known[name]) if method == "system.methodSignature" else _help(known[name])


def _signature(operation: dict[str, Any]) -> list[list[str]]:
    good = next(response for status, response in operation["responses"].items() if status.startswith("2"))
    gives = "struct" if "application/json" in good.get("content", {}) else "string"
    return [[gives, "struct"]]


def _help(operation: dict[str, Any]) -> str:
    lines = [operation.get("description", ""), "", f"Role: {operation['x-role']}. Fields of the struct:"]
    for parameter in operation.get("parameters", ()):
        if parameter["in"] in ("path", "query"):
            needed = "needed" if parameter.get("required") else "optional"
            lines.append(f"{parameter['name']} ({needed}): {parameter.get('description', '')}".rstrip(": "))
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        schema = content["application/json"]["schema"].get("$ref", "").rpartition("/")[2]
        lines.append(f"and those of {schema} in the OpenAPI document")
    elif content:
        lines.append(f"{FILE} (needed): the file, a string or base64")
    if operation["method"] != "GET":
        lines.append(f"{KEY} (optional): a repetition under it does nothing again")
    return "\n".join(lines)
