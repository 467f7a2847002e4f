"""Headless Chromium over its DevTools protocol, by the websocket client that we have anyway.

A test drives it as a reader does: keys, mouse, size of the window; and asks the page what it shows.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
START_S = 30
ANSWER_S = 60
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # CI runs as root, and the page is ours
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--remote-debugging-port=0",
)
OWN = ("file:", "about:", "data:", "blob:")
KEYS = {"Escape": 27, "Enter": 13, "ArrowLeft": 37, "ArrowRight": 39}


def found() -> str | None:
    """The browser's path, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Chromium:
    """One browser with one page; usable from sync tests."""

    def __init__(self, path: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._folder = tempfile.mkdtemp(prefix="chromium-")
        self.events: list[dict[str, Any]] = []
        self._loaded = self._loop.create_future()
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._run(self._start(path))

    def _run(self, what: Any) -> Any:
        return self._loop.run_until_complete(what)

    async def _start(self, path: str) -> None:
        self._process = await asyncio.create_subprocess_exec(
            path,
            *FLAGS,
            f"--user-data-dir={self._folder}",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        door = await asyncio.wait_for(self._door(), START_S)
        self._drain = self._loop.create_task(self._process.stderr.read())
        self._session = aiohttp.ClientSession()
        async with self._session.put(f"http://{door}/json/new?about:blank") as answer:
            page = await answer.json()
        self._socket = await self._session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0)
        self._reader = self._loop.create_task(self._read())
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self._ask(f"{domain}.enable")

    async def _door(self) -> str:
        said = []
        async for line in self._process.stderr:
            said.append(line.decode(errors="replace"))
            if "DevTools listening on ws://" in said[-1]:
                return said[-1].split("ws://")[1].split("/")[0]
        raise RuntimeError(f"Chromium ended: {''.join(said[-5:])}")

    async def _read(self) -> None:
        async for message in self._socket:
            row = json.loads(message.data)
            if "id" in row:
                self._answers.pop(row["id"]).set_result(row)
            else:
                self.events.append(row)
                if row["method"] == "Page.loadEventFired" and not self._loaded.done():
                    self._loaded.set_result(None)

    async def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._answers[number] = answer = self._loop.create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        row = await asyncio.wait_for(answer, ANSWER_S)
        if "error" in row:
            raise RuntimeError(f"{method}: {row['error']}")
        return row["result"]

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """One DevTools command."""
        return self._run(self._ask(method, **params))

    def js(self, text: str) -> Any:
        """What an expression gives; promises are awaited."""
        row = self.ask("Runtime.evaluate", expression=text, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in row:
            raise AssertionError(str(row["exceptionDetails"])[:800])
        return row["result"].get("value")

    def open(self, path: Path, place: str = "", *, width: int = 1280, height: int = 900) -> None:
        """Open a page from a file and wait until it is drawn."""
        self.events.clear()
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.load("about:blank")  # a page that differs in its hash alone would not be loaded
        self.load(f"{path.absolute().as_uri()}{place}")
        self.drawn()

    def load(self, url: str) -> None:
        """Go to a page and wait for its load event."""
        self._loaded = self._loop.create_future()
        self.ask("Page.navigate", url=url)
        self._run(asyncio.wait_for(self._loaded, ANSWER_S))

    def drawn(self) -> None:
        """Wait until what was asked of the page is drawn."""
        self.js(
            "(async () => { await blynkOta.ready(); for (let i = 0; i < 3; i++)"
            " await new Promise((done) => requestAnimationFrame(done)); })()"
        )

    def key(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            text = {} if key in KEYS else {"text": key}
            code = KEYS.get(key, ord(key[0].upper()))
            for kind in ("keyDown", "keyUp"):
                more = text if kind == "keyDown" else {}
                self.ask(
                    "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more
                )
            self.drawn()

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """``mouseMoved``, ``mousePressed``, ``mouseReleased`` or ``mouseWheel``."""
        self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, x: float, y: float) -> None:
        """Press and release the left button."""
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=1)
        self.drawn()

    def pdf(self) -> bytes:
        """The page on paper."""
        row = self.ask("Page.printToPDF", printBackground=True, preferCSSPageSize=True)
        return base64.b64decode(row["data"])

    def media(self, **features: str) -> None:
        """Set media features, such as ``prefers_color_scheme="dark"``; ``media``: print."""
        kind = features.pop("media", "")
        rows = [
            {"name": name.replace("_", "-"), "value": value} for name, value in features.items()
        ]
        self.ask("Emulation.setEmulatedMedia", media=kind, features=rows)

    def troubles(self) -> list[str]:
        """Errors of scripts, violations of the policy, and requests that left the file."""
        found = []
        for event in self.events:
            params = event["params"]
            if event["method"] in ("Runtime.exceptionThrown", "Log.entryAdded"):
                found.append(str(params)[:400])
            if event["method"] == "Network.requestWillBeSent":
                url = params["request"]["url"]
                if not url.startswith(OWN):
                    found.append(f"request: {url}")
        return found

    def close(self) -> None:
        """End the browser and all its processes."""
        self._run(self._stop())
        self._loop.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _stop(self) -> None:
        await self._session.close()
        self._reader.cancel()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        await self._drain
