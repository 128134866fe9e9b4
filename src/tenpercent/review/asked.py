"""What a request may carry: the parameters of each call, from which it is checked and described alike."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import TenpercentError

MOST_IMAGES = 1000  # that one decision names
LONGEST_NOTE = 2000
LONGEST_TEXT = 500
NUMBER = re.compile(r"[-+.0-9eE]{1,40}")
LARGEST = 2**53  # whole numbers beyond are not exact in JavaScript


class RefusedError(TenpercentError):
    """A request that can't be answered as it is.

    Attributes:
        status: of the answer.
        more: what the answer holds beside the line.
    """

    def __init__(self, status: int, line: str, **more: Any) -> None:
        super().__init__(line)
        self.status, self.more = status, more


@dataclass(frozen=True)
class Parameter:
    """One value of a request.

    Attributes:
        name: as it is sent.
        kind: int, float, str, or list for several whole numbers.
        about: what it means, for the description.
        low, high: the range of a number, or the length of a text or list.
        choices: the texts there are; empty for any.
        default: where it is not sent.
        required: it must be sent.
    """

    name: str
    kind: type
    about: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    default: Any = None
    required: bool = False

    def from_text(self, text: str | None) -> Any:
        """Return the value of what stands in an address.

        Raises:
            RefusedError: it is no such value.
        """
        if text is None or (text == "" and self.kind is not str):
            return self._absent()
        if self.kind is str:
            return self.checked(text)
        if not NUMBER.fullmatch(
            text
        ):  # Python's own reading takes spaces, underscores and the digits of any script
            raise self._refused(text)
        try:
            return self.checked(int(text) if self.kind is int else float(text))
        except ValueError:
            raise self._refused(text) from None

    def checked(self, value: Any) -> Any:
        """Return a value of the parameter's kind.

        Raises:
            RefusedError: another kind, or out of its range.
        """
        if value is None:
            return self._absent()
        if self.kind is list:
            return self._list(value)
        if self.kind is str:
            if not isinstance(value, str) or (self.choices and value not in self.choices):
                raise self._refused(value)
            if len(value) > (self.high or LONGEST_TEXT) or not _printable(value):
                raise self._refused(value)
            return value
        return self._number(value)

    def _number(self, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int if self.kind is int else int | float):
            raise self._refused(value)
        low = -LARGEST if self.low is None else self.low
        high = LARGEST if self.high is None else self.high
        if not low <= value <= high:  # before anything else is done with it: nan, or too large for a float
            raise self._refused(value)
        return self.kind(value)

    def _list(self, value: Any) -> list[int]:
        most = int(self.high or MOST_IMAGES)
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            raise self._refused(value)
        if not all(type(entry) is int and 0 <= entry <= LARGEST for entry in value):
            raise self._refused(value)
        return value

    def _absent(self) -> Any:
        if self.required:
            raise RefusedError(400, f"{self.name} is missing; give {self.wanted()}")
        return self.default

    def _refused(self, value: Any) -> RefusedError:
        shown = (
            "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)
        )
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        return RefusedError(400, f"{self.name} is {shown}; give {self.wanted()}")

    def wanted(self) -> str:
        """Return what the value must be, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.kind is list:
            return f"a list of 1 to {int(self.high or MOST_IMAGES):,} positions of images"
        if self.kind is str:
            return f"a text of at most {int(self.high or LONGEST_TEXT):,} letters"
        what = "a whole number" if self.kind is int else "a number"
        if self.low is not None and self.high is not None:
            return f"{what} from {self.low:g} to {self.high:g}"
        return what if self.low is None else f"{what} of at least {self.low:g}"


@dataclass(frozen=True)
class Asked:
    """The checked values of one request, by name."""

    values: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @classmethod
    def of_address(
        cls, parameters: Sequence[Parameter], path: Mapping[str, Any], query: Mapping[str, str]
    ) -> Asked:
        """Check what an address holds; what nobody asked for is passed over.

        Raises:
            RefusedError: a value is missing, of another kind, or out of its range.
        """
        texts = {**query, **path}
        return cls({one.name: one.from_text(texts.get(one.name)) for one in parameters})

    @classmethod
    def of_body(cls, parameters: Sequence[Parameter], body: bytes, content_type: str) -> Asked:
        """Check what a body of JSON holds; what nobody asked for is passed over.

        Raises:
            RefusedError: it is no JSON object, or a value is missing, of another kind, or out of its range.
        """
        if content_type.partition(";")[0].strip().lower() != "application/json":
            raise RefusedError(415, f"the body is {content_type or 'of no type'!r}; send application/json")
        try:
            content = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            raise RefusedError(400, "the body is no JSON; send an object") from None
        if not isinstance(content, dict):
            raise RefusedError(400, f"the body is a {type(content).__name__}; send an object")
        return cls({one.name: one.checked(content.get(one.name)) for one in parameters})


def _printable(text: str) -> bool:
    """Whether a text is proper Unicode: half a surrogate pair can be neither stored nor sent."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
