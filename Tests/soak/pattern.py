"""What both ends of a soak know: the bytes of a transfer, and how it begins."""
import random
import socket
import struct

# Number of the transfer, offset into the pattern, bytes there, bytes back, bytes after which the server resets or 0.
HEADER = struct.Struct(">QQQQQ")


class Pattern:
    """Bytes that differ at each place and for each seed, so that one that is lost or moved shows."""

    SIZE = 1 << 20

    def __init__(self, seed):
        block = random.Random(seed).randbytes(self.SIZE)
        self.twice = block + block

    def bytes(self, place, count):
        start = place % self.SIZE
        return self.twice[start:start + count]


def linger(connection):
    """Has close(2) reset the connection."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
