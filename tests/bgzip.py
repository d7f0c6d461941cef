"""Writing bgzip files: gzip in blocks that tell their own size."""

import struct
import zlib

END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def bgzip(content, block=0xFF00, level=6):
    """Compress bytes in blocks of ``block`` bytes, and add the empty block that ends a file."""
    blocks = (content[at : at + block] for at in range(0, len(content), block))
    return b"".join(_block(part, level) for part in blocks) + END


def _block(part, level):
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    packed = packer.compress(part) + packer.flush()
    head = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(packed) + 25)
    return head + packed + struct.pack("<II", zlib.crc32(part), len(part))
