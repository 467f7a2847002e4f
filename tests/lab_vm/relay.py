"""A port on one address that leads to one on loopback: ``relay.py ADDRESS URL PORT``."""

import asyncio
import sys
from urllib.parse import urlsplit


async def pour(source, sink):
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    except OSError:
        pass
    finally:
        sink.close()


async def main(address, url, own):
    port = urlsplit(url).port

    async def came(reader, writer):
        try:
            there, back = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pour(reader, back), pour(there, writer))

    server = await asyncio.start_server(came, address, int(own) or port)
    await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
