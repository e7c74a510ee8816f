"""What the documents that people exchange have in common: which job they are about, and their JSON Schemas, shipped in
``schemas/``."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

from oracle.jobs.errors import InputError
from oracle.jobs.terms import Terms

VERSIONS = {"spec": 1, "result": 1, "receipt": 1}
"""The version of each schema in use: ``schemas/<name>-v<version>.json``."""


def job_reference(chain_id: int, contract: str, job_id: int, terms: Terms) -> dict[str, str]:
    """Which job a document is about."""
    return {
        "chain_id": str(chain_id),
        "contract": contract.lower(),
        "job_id": str(job_id),
        "spec": "0x" + terms.spec.hex(),
    }


def check_document(document: Any, name: str) -> None:
    """Raise :class:`InputError` for the first field of ``document`` that its schema does not accept."""
    error = min(_validator(name).iter_errors(document), key=_most_telling, default=None)
    if error is not None:
        raise _explained(error, name)


@cache
def _validator(name: str) -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    strict = extend(Draft202012Validator, {"pattern": _check_pattern})
    text = resources.files("oracle.jobs").joinpath(f"schemas/{name}-v{VERSIONS[name]}.json").read_text()
    return strict(json.loads(text))


def _check_pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    # Python's own `$` also matches before a newline at the end, which a digest or an address must not have.
    if isinstance(instance, str) and (instance.endswith("\n") or not re.search(pattern, instance)):
        yield ValidationError("is malformed")


def _most_telling(error: Any) -> tuple[int, str]:
    # A misspelt field is more useful to hear about than the required one it leaves missing.
    return (0 if error.validator == "additionalProperties" else 1, str(list(error.absolute_path)))


def _explained(error: Any, name: str) -> InputError:
    path = ".".join(_short(part) for part in error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        unknown = next(_short(key) for key in error.instance if key not in known)
        near = difflib.get_close_matches(unknown, known, 1)
        remedy = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return InputError("unknown field", field=f"{path}.{unknown}".lstrip("."), remedy=remedy)
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        return InputError("is missing", field=f"{path}.{missing}".lstrip("."))
    shown = json.dumps(error.instance, default=str)[:60]
    if error.validator == "enum":
        return InputError(f"{shown} is not one of {', '.join(map(str, error.validator_value))}", field=path)
    rule = _RULES.get(error.validator, "is not acceptable").format(error.validator_value)
    return InputError(f"{shown} {rule}", field=path or name)


def _short(part: Any) -> str:
    """A name somebody else chose, fit for a line."""
    text = str(part)[:60]
    return text if text.isprintable() else ascii(text)[1:-1][:60]


_RULES = {
    "type": "must be of type {}",
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "const": "must be {!r}",
    "maxLength": "is longer than {} characters",
    "maxItems": "has more than {} entries",
    "minItems": "has fewer than {} entries",
    "pattern": "is malformed",
}
