"""Every mistake of a policy file as a sentence with its key. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from pytest_blynk_ota.evidence.event import shown
from pytest_blynk_ota.firmware.words import did_you_mean


def sentences(rows: Sequence[ErrorDetails], tables: Mapping[str, type[BaseModel]]) -> list[str]:
    """One sentence for each mistake that pydantic found.

    Args:
        tables: the model of each table, by its key without numbers, for what was mistyped.
    """
    told: dict[str, str] = {}
    for row in rows:
        key = _key(row["loc"])
        told.setdefault(key, _message(row, key, tables))
    return [f"{key}: {message}" if key else message for key, message in told.items()]


def _key(loc: Sequence[int | str]) -> str:
    key = ""
    for part in loc:
        if isinstance(part, int):
            key += f"[{part}]"
        elif part != "[key]":
            key += f".{part}" if key else part
    return key


def _message(row: ErrorDetails, key: str, tables: Mapping[str, type[BaseModel]]) -> str:
    if row["type"] == "extra_forbidden":
        table, _, word = re.sub(r"\[\d+\]", "", key).rpartition(".")
        known = list(tables[table].model_fields) if table in tables else []
        return f"unknown key{did_you_mean(word, known)}; known are {', '.join(known)}"
    if row["type"] == "missing":
        return "is missing"
    if row["type"] == "too_short":
        return "expected at least one, got none"
    text = re.sub(r"^Value error, ", "", row["msg"])
    if row["type"] == "value_error":
        return text
    text = re.sub(r"^Input should be ", "", text)
    text = re.sub(r"^a valid dictionary or instance of \w+$", "a table", text)
    return f"expected {text[0].lower()}{text[1:]}, got {shown(row['input'])}"
