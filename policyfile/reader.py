"""The way from the text of a policy file to values that can be used."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from model.policy import Policy, Route
from policyfile.cross import check_parts
from policyfile.problems import Finding, PolicyFileError, Problem, field_of
from policyfile.resolve import policy_of, routes_of
from policyfile.shape import check_shape
from policyfile.tree import Tree, UnreadableError, read_tree


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy that is in order."""

    policy: Policy
    routes: tuple[Route, ...]
    "In the order of the file, prefixes normalised."
    text: str
    "As it was written, comments and all."


def load(text: str, *, name: str) -> LoadedPolicy:
    """The policy in YAML ``text``; ``name`` is the file's, for messages.

    Raises :class:`PolicyFileError`, which holds all problems found, and nothing else for any text.
    """
    try:
        tree = read_tree(text)
    except UnreadableError as error:
        raise PolicyFileError([Problem(name, error.line, "", str(error))]) from None
    shaped, findings = check_shape(tree)
    if shaped is not None:
        findings += check_parts(shaped, tree)
    if findings or shaped is None:
        raise PolicyFileError(_placed(findings, tree, name))
    return LoadedPolicy(policy=policy_of(shaped.document), routes=routes_of(shaped.document), text=text)


def _placed(findings: Iterable[Finding], tree: Tree, name: str) -> list[Problem]:
    problems = {
        Problem(name, finding.line or tree.line(finding.path), field_of(finding.path), finding.message)
        for finding in findings
    }
    return sorted(problems, key=lambda problem: (problem.line, problem.field, problem.message))
