"""What comes in: JSON bodies of a known shape, and queries. Nothing of it is trusted.

A fault names the field, and never repeats a value: it may be a key.
"""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from twisted.web.iweb import IRequest

from gptload.core.errors import (
    BadRequest,
    BodyTooLarge,
    GptloadError,
    InvalidJson,
    ValidationFailed,
)

_DEEPEST: Final = 64
# What is decoded on the reactor's thread; five thousand keys fit.
_LARGEST_JSON: Final = 32 * 1024 * 1024
_LARGEST_ID: Final = 2**63 - 1
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1
_LONGEST_FILTER: Final = 1000
_PAGE_SIZE, _LARGEST_PAGE_SIZE = 15, 1000
# A `+` that nobody escaped arrives as a blank.
_BLANK_OFFSET: Final = re.compile(r"(T[0-9:.]+) (\d\d:\d\d)$", re.IGNORECASE)
_RFC3339: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.IGNORECASE
)
_LATEST: Final = 4_102_444_800.0  # 2100-01-01
_TRUE: Final = frozenset(["1", "t", "T", "TRUE", "true", "True"])
_FALSE: Final = frozenset(["0", "f", "F", "FALSE", "false", "False"])

M = TypeVar("M", bound=BaseModel)


def body(request: IRequest, schema: type[M]) -> M:
    """The request's JSON as that schema.

    Raises:
        InvalidJson: it is none, or not of that shape; the text names the field.
    """
    return checked(json_object(request), schema)


def body_or(request: IRequest, otherwise: M) -> M:
    """As `body`; `otherwise` when there is none.

    Raises:
        InvalidJson: it is none, or not of that shape; the text names the field.
    """
    is_empty = not request.content.read(1)
    request.content.seek(0)
    return otherwise if is_empty else body(request, type(otherwise))


def checked(found: dict[str, Any], schema: type[M]) -> M:
    """A decoded object as that schema.

    Raises:
        InvalidJson: it is not of that shape; the text names the field.
    """
    try:
        return schema.model_validate(found)
    except ValidationError as error:
        raise InvalidJson("; ".join(_fault(fault) for fault in error.errors()[:5])) from None


def _fault(fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"])[:200]
    if fault["type"] == "missing":
        return f"{where} is required"
    words = fault["msg"][:1].lower() + fault["msg"][1:]
    return f"{where}: {words}" if where else words


def json_object(request: IRequest) -> dict[str, Any]:
    """The request's JSON object, whatever its Content-Type says.

    Raises:
        InvalidJson: it is no JSON object that we could store and give back unchanged.
        BodyTooLarge: more than is decoded between two requests.
    """
    raw = request.content.read(_LARGEST_JSON + 1)
    if len(raw) > _LARGEST_JSON:
        limit = _LARGEST_JSON // 1024 // 1024
        raise BodyTooLarge(f"The body has more than {limit} MiB", hint="Send it in parts.")
    return decoded(raw)


def decoded(raw: bytes) -> dict[str, Any]:
    """As `json_object`, of bytes."""
    if not raw.strip():
        raise InvalidJson("The body is empty; a JSON object is expected")
    try:
        found = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InvalidJson("The body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise InvalidJson(f"Invalid JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise InvalidJson(f"The JSON is nested more than {_DEEPEST} levels deep") from None
    except ValueError:  # Python doesn't read a number of thousands of digits
        raise InvalidJson("The JSON holds a number that is too long") from None
    if not isinstance(found, dict):
        raise InvalidJson("The body must be a JSON object")
    _check(found)
    return found


def _check(found: Any) -> None:
    """Refuse what no database and no answer can hold, naming its place."""
    left: list[tuple[str, Any, int]] = [("", found, 1)]
    while left:
        where, value, depth = left.pop()
        if depth > _DEEPEST:
            raise InvalidJson(f"{where[:200]}: nested more than {_DEEPEST} levels deep")
        if isinstance(value, dict):
            for key, inner in value.items():
                _check_text(where or "the body", key)
                left.append((f"{where}.{key}" if where else key, inner, depth + 1))
        elif isinstance(value, list):
            left += [(f"{where}.{number}", inner, depth + 1) for number, inner in enumerate(value)]
        elif isinstance(value, str):
            _check_text(where, value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise InvalidJson(f"{where[:200]}: not a number that JSON can hold")
        elif isinstance(value, int) and not _SMALLEST <= value <= _LARGEST:
            raise InvalidJson(f"{where[:200]}: the number has more than 64 bits")


def _check_text(where: str, text: str) -> None:
    if "\0" in text:
        raise InvalidJson(f"{where[:200]}: a text with a NUL character can't be stored")
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidJson(f"{where[:200]}: half a surrogate pair is no character") from None


def query(request: IRequest, name: str) -> str:
    """The first value of a query parameter, without blanks around it; empty without one.

    Raises:
        ValidationFailed: it is too long for anything that we know.
    """
    return next(iter(queries_of(request, name)), "")


def queries_of(request: IRequest, name: str) -> list[str]:
    """All values of a query parameter, as `query` gives its first."""
    values: list[bytes] = request.args.get(name.encode("ascii"), [])
    return [_query_text(name, value) for value in values]


def _query_text(name: str, value: bytes) -> str:
    # As rows are written: what a column can't hold became the replacement character.
    text = value.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}").strip()
    if len(text) > _LONGEST_FILTER and name != "key_value":
        raise ValidationFailed(f"{name} is longer than {_LONGEST_FILTER} characters")
    return text


def paging(request: IRequest) -> tuple[int, int]:
    """Page number and size; what can't be used counts as absent."""
    number = whole_number(query(request, "page")) or 1
    size = whole_number(query(request, "page_size")) or _PAGE_SIZE
    # Past the last page nothing is found anyway, but an offset must fit the database.
    return min(number, 10**12), min(size, _LARGEST_PAGE_SIZE)


def whole_number(text: str) -> int | None:
    """A decimal number that isn't negative and fits an id; None for anything else."""
    if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) > _LARGEST_ID:
        return None
    return int(text)


def identifier(text: str, refusal: str, error: type[GptloadError] = BadRequest) -> int:
    """An id from a path or a query.

    Raises:
        error: it is none; with the text of `refusal`.
    """
    number = whole_number(text)
    if not number:
        raise error(refusal)
    return number


def truth(text: str) -> bool | None:
    """A boolean's text; None for anything else."""
    return True if text in _TRUE else False if text in _FALSE else None


def moment(text: str, name: str) -> float:
    """Epoch seconds of epoch milliseconds or of an RFC 3339 time.

    Raises:
        ValidationFailed: it is neither, or not within 1970 to 2100.
    """
    millis = whole_number(text)
    found = instant(text) if millis is None else millis / 1000
    if found is None or not 0 <= found <= _LATEST:
        raise ValidationFailed(f"{name} is neither epoch milliseconds nor an RFC 3339 time")
    return found


def instant(text: str) -> float | None:
    """Epoch seconds of an RFC 3339 time with any offset; None for anything else."""
    text = _BLANK_OFFSET.sub(r"\1+\2", text)
    if not _RFC3339.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.upper()).timestamp()
    except (ValueError, OverflowError):
        return None
