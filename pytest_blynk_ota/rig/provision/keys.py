"""Settings as keys of one NVS namespace, for firmware that reads them with ``nvs_get_…``."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_blynk_ota.errors import RigError
from pytest_blynk_ota.firmware.nvs import PAGE_BYTES, nvs_of
from pytest_blynk_ota.rig.extensions import Provisioning, Settings
from pytest_blynk_ota.rig.secret import Secret, is_reference
from pytest_blynk_ota.rig.words import near

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.partitions import PartitionTable

NAME_CHARS = 15
"""Of a namespace and of a key, as ESP-IDF has it."""
TEXT_BYTES = 3999
"""Of a string, without its NUL."""
TYPES = {"u8": 0xFF, "u16": 0xFFFF, "u32": 0xFFFFFFFF}
"""Numbers, and the largest of each."""
FIELDS = ("host", "port", "token", "ssid", "passphrase")


class NvsKeys(Provisioning):
    """Writes an NVS partition that holds these keys and nothing else.

    Args:
        namespace: of the keys.
        keys: names to texts, in which ``{host}``, ``{port}``, ``{token}``, ``{ssid}`` and
            ``{passphrase}`` stand for the settings; ``{ value = …, type = "u16" }`` is a number. A
            secret of the rig file is taken as it is.
        partition: its label.

    Raises:
        ValueError: a name does not fit, a key has no text, or there is no such setting or type.
    """

    def __init__(self, namespace: str, keys: Mapping[str, object], partition: str = "nvs") -> None:
        if not isinstance(keys, Mapping) or not keys:
            raise ValueError(f"keys: expected a table of names to texts, got {keys!r}")
        names = [("namespace", namespace), *((f"keys.{one}", one) for one in keys)]
        for what, name in [*names, ("partition", partition)]:
            if not isinstance(name, str) or not 0 < len(name.encode()) <= NAME_CHARS:
                raise ValueError(
                    f"{what}: expected a name of 1 to {NAME_CHARS} bytes, got {name!r}"
                )
        self._namespace, self._partition = namespace, partition
        self._keys = {name: _said(name, said) for name, said in keys.items()}

    def flash(self, settings: Settings, table: PartitionTable) -> Mapping[str, bytes]:
        """The partition. Raises RigError: a value is too long, is no number, or finds no room."""
        part = table.find(self._partition)
        if part is None or part.size < 3 * PAGE_BYTES:
            raise RigError(
                f"partition: expected an NVS partition of {3 * PAGE_BYTES} bytes or more, "
                f"got {self._partition!r}"
            )
        known = {name: getattr(settings, name) for name in FIELDS}
        entries = [(name, kind, _filled(text, known)) for name, (kind, text) in self._keys.items()]
        for name, kind, value in entries:
            if why := _misfit(kind, value):
                raise RigError(f"keys.{name}: {why}")
        return {part.label: nvs_of(self._namespace, entries, part.size)}


def _said(name: str, said: object) -> tuple[str, str]:
    """The type and the text of a key."""
    table = said if isinstance(said, Mapping) else {"value": said, "type": "string"}
    if set(table) != {"value", "type"} or not isinstance(table["value"], str):
        raise ValueError(f'keys.{name}: expected a text or {{ value = "…", type = "u16" }}')
    kind, text = table["type"], table["value"]
    if kind != "string" and kind not in TYPES:
        kinds = ["string", *TYPES]
        raise ValueError(
            f"keys.{name}: expected a type ({', '.join(kinds)}), got {kind!r}"
            f"{near(str(kind), kinds)}"
        )
    if isinstance(text, Secret) or is_reference(text):
        return kind, text
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"keys.{name}: {error}; a brace alone is written as two") from None
    for _, field, spec, conversion in parts:
        if field is not None and (field not in FIELDS or spec or conversion):
            raise ValueError(
                f"keys.{name}: expected a setting ({', '.join(FIELDS)}), got "
                f"{field!r}{near(field, FIELDS)}"
            )
    plain = all(field is None for _, field, _, _ in parts)
    if plain and (why := _misfit(kind, text.format())):
        raise ValueError(f"keys.{name}: {why}")
    return kind, text


def _filled(text: str, known: Mapping[str, object]) -> str:
    return text if isinstance(text, Secret) else text.format(**known)


def _misfit(kind: str, text: str) -> str:
    """Why a value does not fit, "" if it does. It is not told: it may be a secret."""
    if kind == "string":
        size = len(text.encode())
        return f"expected at most {TEXT_BYTES} bytes, got {size}" if size > TEXT_BYTES else ""
    if text.isascii() and text.isdigit() and int(text) <= TYPES[kind]:
        return ""
    return f"expected a number of 0 to {TYPES[kind]}"
