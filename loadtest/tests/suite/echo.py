"""An echo server on the websockets package, whose codec shares nothing with ours.

Without an argument it echoes; `corrupt` flips one bit of every hundredth message.
"""

import asyncio
import sys

import websockets

CORRUPT = sys.argv[1:] == ["corrupt"]


async def echo(connection):
    count = 0
    async for message in connection:
        count += 1
        if CORRUPT and count % 100 == 0:
            if isinstance(message, str):
                message = message[:-1] + chr(ord(message[-1]) ^ 1)
            else:
                message = message[:-1] + bytes([message[-1] ^ 1])
        await connection.send(message)


async def main():
    options = {"max_size": None, "compression": None, "ping_interval": 0.2}
    async with websockets.serve(echo, "127.0.0.1", 0, **options) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(port, flush=True)
        # Ends with the test that holds the other end.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
