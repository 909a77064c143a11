"""The policy file: one YAML document that says where calls come from, and what becomes of them.

:func:`load` turns its text into the values of :mod:`model.policy`, or says everything that is wrong with it::

    PolicyFileError(ValueError)
        problems: tuple[Problem, ...]    each with file, line, field and message
"""

from __future__ import annotations

from policyfile.problems import PolicyFileError, Problem
from policyfile.reader import LoadedPolicy, load

__all__ = ["LoadedPolicy", "PolicyFileError", "Problem", "load"]
