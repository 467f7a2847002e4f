"""Runs blynk-library-python 0.2.0 from the package index, unmodified, until it is told to update.

Prints what the library logs, one JSON list a line. Its handler for INTERNAL is named after the
second string of the message, so the URL is taken from its own log instead.
"""

import json
import sys

import BlynkLib


def main(host: str, port: str, token: str) -> None:
    urls: list[str] = []

    def log(*words: object) -> None:
        print(json.dumps([str(word) for word in words if word != token]), flush=True)
        if words[:2] == (">", BlynkLib.MSG_INTERNAL) and str(words[-1]).startswith("ota,"):
            urls.append(str(words[-1]).removeprefix("ota,"))

    blynk = BlynkLib.Blynk(token, server=host, port=int(port), heartbeat=10, log=log)
    blynk.on("connected", lambda **_: blynk.log_event("sys_ota", "hello"))
    while not urls and blynk.state != BlynkLib.DISCONNECTED:
        blynk.run()
    print(json.dumps({"urls": urls}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
