"""The control port of a virtual rack, seen from outside: what a hand or a test asks of it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from pytest_blynk_ota.errors import RigError, UsageError

ANSWER_TIMEOUT_S = 10.0
"""Wall seconds; whoever asks for something that takes longer says so."""


class RackControl:
    """Speaks to one rack. Each call is a connection of its own, so any thread may make it.

    Args:
        url: what the rack announced as its outlet, without a board's name.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def __repr__(self) -> str:
        return f"<control of the rack at {self.url}>"

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Mapping[str, Any] | None = None,
        *,
        timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> Any:
        """Ask, and return the answer: JSON as objects, octets as bytes, else a str.

        Args:
            path: below the rack's URL, as ``/c3-a/reset``.
            body: octets as they are, or an object that becomes JSON.
            timeout_s: wall seconds.

        Raises:
            UsageError: the rack refused: no such board, a wrong body; nothing was done.
            RigError: it does not answer, or failed.
        """
        where = urlsplit(self.url)
        payload = json.dumps(body).encode() if isinstance(body, Mapping) else body
        asked = http.client.HTTPConnection(where.netloc, timeout=timeout_s)
        try:
            asked.request(method, quote(path), payload)
            answer = asked.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise RigError(
                f"no virtual rack answers at {self.url} ({method} {path}: "
                f"{error or type(error).__name__})"
            ) from error
        finally:
            asked.close()
        text = data.decode(errors="replace")
        if answer.status >= 500:
            raise RigError(f"the virtual rack failed at {method} {path}: {text.strip()}")
        if answer.status >= 400:
            raise UsageError(text.strip() or f"{method} {path}: {answer.status} {answer.reason}")
        kind = answer.headers.get_content_type()
        if kind == "application/json":
            return json.loads(text)
        return data if kind == "application/octet-stream" else text
