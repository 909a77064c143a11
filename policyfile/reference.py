"""The tables of ``docs/policy.md``, made from what the program itself goes by.

``python -m policyfile.reference docs/policy.md`` brings the page up to date.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from inspect import getdoc
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import PlainValidator
from pydantic.fields import FieldInfo

from model.causes import Q850_NAMES, TREATMENTS, Cause, Failure, classify
from policyfile import document
from policyfile.document import Section, Shown, keys_of, section_in
from policyfile.values import Duration, written_seconds

_SECTIONS: dict[str, type[Section]] = {
    "The file": document.Document,
    "A dialling plan": document.DiallingPlan,
    "A trunk": document.TrunkSection,
    "registration": document.RegistrationSection,
    "identity of a trunk": document.TrunkIdentitySection,
    "subscribers": document.SubscribersSection,
    "A gateway": document.GatewaySection,
    "auth": document.AuthSection,
    "identity of a gateway": document.PresentationSection,
    "breaker": document.BreakerSection,
    "limits": document.LimitsSection,
    "limits of a route": document.RouteLimitsSection,
    "A media node": document.MediaNodeSection,
    "emergency": document.EmergencySection,
    "fraud": document.GuardSection,
    "thresholds": document.ThresholdSection,
    "cost": document.CostSection,
    "A route": document.RouteSection,
    "quality": document.QualitySection,
    "asr": document.PercentBounds,
    "acd": document.ShortestBounds,
    "pdd": document.LongestBounds,
    "media": document.MediaSection,
    "voicemail": document.VoicemailSection,
    "A hook": document.HookSection,
    "times": document.WindowSection,
    "reject": document.Reject,
    "rewrite": document.Rewrite,
    "retry": document.Retry,
}
_NOTHING = "—"
_NAMES = {number: name for name, number in Q850_NAMES.items()}
_STATUSES = range(300, 700)
_CAUSES = range(1, 128)
_GROUPS = (3, 4, 5, 6)


def updated(page: str) -> str:
    """``page`` with its marked blocks made anew."""
    for name, block in {"keys": key_tables(), "causes": cause_tables()}.items():
        begin, end = f"<!-- {name}: generated -->", f"<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}\n\n{block}\n{end}{after}"
    return page


def key_tables() -> str:
    """A table for each part of the file: key, type, default and meaning of all its keys."""
    return "\n".join(_section_table(title, section) for title, section in _SECTIONS.items())


def _section_table(title: str, section: type[Section]) -> str:
    rows = (
        (f"`{name}`", _type(field), _default(field), field.description or "")
        for name, field in keys_of(section).items()
    )
    return f"### {title}\n\n{getdoc(section)}\n\n{_table(('key', 'type', 'default', 'meaning'), rows)}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _type(field: FieldInfo) -> str:
    return _type_name(field.annotation, field.metadata)


def _type_name(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """What an operator calls a type; ``metadata`` is what stands beside it in Annotated."""
    metadata = [part for item in metadata for part in (item.metadata if isinstance(item, FieldInfo) else [item])]
    if hasattr(annotation, "__metadata__"):
        return _type_name(annotation.__origin__, annotation.__metadata__)
    named = next(_names(metadata), None)
    if named is not None:
        return named
    arguments = [part for part in get_args(annotation) if part not in (type(None), ...)]
    section = section_in(annotation)
    origin = get_origin(annotation)
    if origin is dict and section is not None:
        return f"mapping of name to {_title(section)}"
    if origin is tuple:
        return f"list of {_title(section) if section else _type_name(arguments[0])}"
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in arguments)
    if section is not None:
        return _title(section)
    return _type_name(arguments[0], metadata) if arguments else _simple_name(annotation, metadata)


def _names(metadata: Iterable[Any]) -> Iterator[str]:
    for item in metadata:
        if isinstance(item, Shown):
            yield item.name
        elif isinstance(item, PlainValidator) and isinstance(item.func, Duration):
            yield f"duration, {item.func}"


def _title(section: type[Section]) -> str:
    title = next(title for title, other in _SECTIONS.items() if other is section)
    return f"[{title.removeprefix('A ')}](#{title.lower().replace(' ', '-')})"


def _simple_name(annotation: Any, metadata: Iterable[Any]) -> str:
    if annotation is bool:
        return "`true` or `false`"
    if annotation is int:
        return f"number, {_bound('ge', metadata)} to {_bound('le', metadata)}"
    return str(annotation.__name__)


def _bound(kind: Literal["ge", "le"], metadata: Iterable[Any]) -> int:
    return next(int(getattr(item, kind)) for item in metadata if hasattr(item, kind))


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required():
        return "required"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if _type(field) == "percent" and not value:
        return _NOTHING
    if isinstance(value, float):
        return f"`{written_seconds(value)}`"
    if isinstance(value, tuple) and value:
        return f"`{json.dumps(value)}`"
    if value in (None, "", (), {}) or isinstance(value, Section):
        return _NOTHING
    return f"`{value}`"


def cause_tables() -> str:
    """The table of causes, and the names of the Q.850 causes."""
    rows = ((f"`{cause}`", _statuses(cause), _q850(cause), _retried(cause)) for cause in Cause)
    names = ((f"`{name}`", str(number)) for name, number in Q850_NAMES.items())
    return (
        f"{_table(('class', 'SIP status', 'Q.850 cause', 'the next gateway is tried'), rows)}\n"
        f"The Reason header is heard where the status is one of {_refined()}.\n\n"
        f"{_table(('Q.850 cause', 'number'), names)}"
    )


def _statuses(cause: Cause) -> str:
    special = [str(status) for status in _STATUSES if classify(Failure(status)) is cause and not _is_usual(status)]
    usual = [_rest(group) for group in _GROUPS if classify(_usual(group)) is cause]
    return ", ".join((*special, *usual)) or _NOTHING


def _rest(group: int) -> str:
    special = any(not _is_usual(status) for status in _STATUSES if status // 100 == group)
    return f"{'every other' if special else 'every'} {group}xx"


def _usual(group: int) -> Failure:
    # x99 is assigned in no class, so it shows what becomes of statuses that the table does not name.
    return Failure(group * 100 + 99)


def _is_usual(status: int) -> bool:
    return classify(Failure(status)) is classify(_usual(status // 100))


def _q850(cause: Cause) -> str:
    parts = [_named(number) for number in _CAUSES if _of_q850(number) == {cause}]
    rejected = {"U": "21 from the user, or with no location", "LN": "21 from the network"}
    parts += [
        text for location, text in rejected.items() if classify(Failure(480, q850=21, location=location)) is cause
    ]
    return ", ".join(parts) or _NOTHING


def _of_q850(number: int) -> set[Cause]:
    # A cause the table names leads to one class whatever the status and location were.
    return {classify(Failure(status, q850=number, location=place)) for status in (480, 500) for place in ("", "LN")}


def _named(number: int) -> str:
    return f"{number} {_NAMES[number]}" if number in _NAMES else str(number)


def _retried(cause: Cause) -> str:
    treatment = TREATMENTS[cause]
    if not treatment.retry:
        return "no"
    return "yes" if treatment.same_gateway else "yes, and this one never again in the call"


def _refined() -> str:
    special = [str(status) for status in _STATUSES if not _is_usual(status) and _is_refined(Failure(status))]
    usual = [_rest(group) for group in _GROUPS if _is_refined(_usual(group))]
    return ", ".join(special + usual)


def _is_refined(failure: Failure) -> bool:
    found = {classify(Failure(failure.status, q850=number)) for number in _CAUSES}
    return found != {classify(failure)}


def main(path: str) -> None:
    """Bring the page at ``path`` up to date."""
    page = Path(path)
    page.write_text(updated(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
