"""What the HTTPS device API is asked and what it answers; no I/O.

Sources: Blynk documentation, device-https-api; "ours" where it is silent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pytest_blynk_ota.cloud.device import MAX_KEPT
from pytest_blynk_ota.cloud.protocol import HEADER_BYTES, Cmd, frame

Query = Sequence[tuple[str, str]]
"""Names and values in the order in which they stand in the URL."""
Values = tuple[str, ...]
"""Of one datastream: most have one, a location has two."""
MAX_PIN: Final = 255
"""The last virtual pin (Blynk documentation, virtual-pins)."""
MAX_FILE_BYTES: Final = 5 << 20
"""Of an upload (upload-a-file.md: "up to 5MB")."""

INVALID_TOKEN: Final = "Invalid token."
WRONG_PIN: Final = "Wrong pin format."
NO_DATASTREAM: Final = "Requested dataStream doesn't exist in the product."
WRONG_VALUE: Final = "Value doesn't match the Datastream data type."
NO_CODE: Final = "Event code is not provided."
NO_TEMPLATE: Final = "Template id is not provided."  # ours: the documentation has no words for it
WRONG_TEMPLATE: Final = "Wrong template id format."  # ours
NO_FILE: Final = "No upfile in the request."  # ours
TOO_LARGE: Final = f"The file is larger than {MAX_FILE_BYTES} bytes."  # ours
NO_ROOM: Final = f"No more than {MAX_KEPT} datastreams of a device are kept."  # ours
NOT_READABLE: Final = "The body is no multipart form that can be read."  # ours

PROVISIONED: Final[Mapping[str, str]] = {
    # Parameter of `provision` (provision-device.md): what the binary protocol calls it.
    "templateId": "tmpl",
    "build": "build",
    "ver": "mcu",
    "type": "type",
    "fwType": "fw-type",
    "blVer": "blynk",
    "boType": "dev",
}

_PIN = re.compile(r"[vV](0|[1-9][0-9]{0,2})", re.ASCII)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?", re.ASCII)


class Refusal(Exception):
    """Raised when the API does not do what it is asked; the text is what it answers.

    Args:
        status: of the answer.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        self.status = status
        super().__init__(message)


def first(query: Query, name: str) -> str:
    """The value of a parameter; "" if it is not there."""
    return next((value for key, value in query if key == name), "")


def pin_of(name: str) -> str:
    """``v5`` as the device knows it: ``5``.

    Raises:
        Refusal: it is no virtual pin.
    """
    found = _PIN.fullmatch(name)
    if found is None or int(found[1]) > MAX_PIN:
        raise Refusal(WRONG_PIN)
    return found[1]


def wanted(query: Query) -> list[str]:
    """The pins that a ``get`` asks for, as ``v1&v2``.

    Raises:
        Refusal: none, or something else; a datastream's id, which only a template has.
    """
    names = [name for name, _ in query if name != "token"]
    if "dataStreamId" in names:
        raise Refusal(NO_DATASTREAM)
    if not names:
        raise Refusal(WRONG_PIN)
    return [pin_of(name) for name in names]


def updates(query: Query) -> dict[str, Values]:
    """The values that an ``update`` sets, by pin: ``v1=5``, or ``pin=V1&value=3&value=4``.

    Raises:
        Refusal: no pin, no value, or what no device can be told; a datastream's id.
    """
    found: dict[str, list[str]] = {}
    names = [name for name, _ in query]
    if "dataStreamId" in names:
        raise Refusal(NO_DATASTREAM)
    named = pin_of(first(query, "pin")) if "pin" in names else None
    for name, value in query:
        if name in ("token", "pin"):
            continue
        if "\0" in value:
            raise Refusal(WRONG_VALUE)
        pin = named if named is not None and name == "value" else pin_of(name)
        found.setdefault(pin, []).append(value)
    if not found:
        raise Refusal(WRONG_VALUE if named is not None else WRONG_PIN)
    return {pin: tuple(values) for pin, values in found.items()}


def fits(pin: str, values: Values, buff_in: int) -> None:
    """A message larger than its ``buff-in`` makes a device drop the connection.

    Raises:
        Refusal: this would be one.
    """
    size = HEADER_BYTES + len(frame(Cmd.HARDWARE, 1, "vw", pin, *values).body)
    if size > buff_in:
        raise Refusal(
            f"v{pin} would be a message of {size} bytes, and the device receives at most {buff_in}"
        )


def shown(values: Values) -> object:
    """Values of a datastream as JSON has them.

    Without a template nothing has a type: what looks like a number is one.
    """
    items = [_item(value) for value in values]
    return items[0] if len(items) == 1 else items


def _item(text: str) -> object:
    if not _NUMBER.fullmatch(text):
        return text
    return float(text) if "." in text else int(text)


def name_of(key: str) -> str:
    """How the API calls a datastream: a pin by ``v5``, one of an MQTT device by its name."""
    return f"v{key}" if key.isascii() and key.isdigit() else key


def known(values: Mapping[str, Values], keys: Iterable[str]) -> dict[str, object]:
    """Those of the datastreams that have a value, by the name that the API has for them."""
    return {name_of(key): shown(values[key]) for key in keys if key in values}


def provisioned(query: Query) -> dict[str, str]:
    """What a ``provision`` says of the device, in the words of the binary protocol.

    Raises:
        Refusal: no template, or what cannot be one.
    """
    template = first(query, "templateId")
    if not template:
        raise Refusal(NO_TEMPLATE)
    if not template.startswith("TMPL"):  # as both Edgents want it
        raise Refusal(WRONG_TEMPLATE)
    given = dict(reversed(query))
    return {word: given[name] for name, word in PROVISIONED.items() if given.get(name)}
