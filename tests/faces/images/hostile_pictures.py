"""Small files that keep a decoder busy for long, and other pictures that no camera makes."""

import base64
import io
import struct
import zlib

from PIL import Image


def encode(image, image_format, **options):
    """Bytes of a Pillow image."""
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def blank(image_format, side, **options):
    """A file of some hundred bytes for a grey picture of any side."""
    return encode(Image.new("RGB", (side, side), (90, 90, 90)), image_format, **options)


def _unpack(text):
    return zlib.decompress(base64.b64decode(text))


# `blank(..., 7000)` of these two, which Pillow takes half a minute to write.
JPEG_2000 = _unpack(
    "eNpjYGDgyQpQUODlaudiYGAQSSupLMgqMFIAshmgtC6QzgDSYpkZKUUMDNIRYMzMzg5Sw8CfnJ9TxAhmCjAwsDcBFSf/9/8fyKAPEoIqhgM0"
    "PjM7IyME/Q9i4AEKMDKwsrAwMP6PYRB2cPDwCEBG/1MYVBkYnYtSE0tSUxSSKhX8C1LzvAJc3RXKUouKM/PzFIz0TPVM/k9gAPmEge030JzJ"
    "H/+6zF8xGUQ0fxWqW+R/xfNXhz2Q6LQHswLZXyn8dZFfUSEYELL+f/3LzrgjfFCncXLW/1MxgjqUTUjofz111fyXqjEGi0l4eP/Ps18AZvOo"
    "qFLbnmHmlppqvYAzYLFERf3/Fv8awGyDCdOpJO/a5PMU5r5PDQIgJmNLy/7/9aMpaTQljaakUbcMppTUgAr+3wQA+Xk/qg=="
)
AVIF = _unpack(
    "eNpjYGBQSCupLEgsy0xjAAIQnZuZZpibmZjm62joBBR6nZtaksgAAYoZKTlFUDZDQWZyCQMa4CvILMkFsxiBWC4zJz8ZxHEB8RkhoozCDAws"
    "CkC2RmZmXhpcrRSQk8oE5SWWGRg65+fkg+3KyiwoKgDS3pkFyflAWiSzuCAVYp10BAQzCBRkVmSCRJg5ODiAFE9imaFzozwPSEg4OT+nKC85"
    "pwJoMi8DWwNQSDyzIBfmJ6DDWBiZmlmArtLITUksEWLg4pb/bLZ+a1kHR4aJglEfh+SR4+1tqUwcCvMcger9z58LXKvlIhoSxiT6me9Uz3Gm"
    "OTe5hKas/zQh4YWX8rIVtgz9NZkfjSPm31TjOr4i8cgDzZnxRwoLavjUJ4o2fNd+p1h/sT3Vq+vh2U3LFk/l0ZlsEHj+XEQ507dpr1oqe0uE"
    "e+9mSQst3hFVL837S/Ra5mIO/afvCkJfTymdc2SHDufEya3OWyaG3WK+wD7Nn3353Z8Ppy5wYDLuemh8JmSDZWdLoLuWRKRaAg2MnEfQyOJn"
    "Gsa/Cy+IVJz0+Z0nt339k6rzHcm6bZfn1Bj3BYo9uKKkVcjxLXzrX7Z3Cid6Ra9dW/EiafqWonN1dW+rrbcvOdAmtmSOPV+twP2C238zTzw4"
    "x77w1l/Bly4yea/ry91/8H9W1+y1E1gU8Mju3cNT3bwsTIembm3m4nDyvWy/fyOb9Kk+antZO+p0KpfJZ/k9M7iutwZULfGIqrLddffbt8LP"
    "rD6ro0olkwKi+BITS/5qyuTfKejn0951to81U7QnXi9RuT3lzINR9+B3z6BOTtoHZtc5X3uUyvnb4Y5WmJ+jpGNqhvK+Zn6HjvenAaY4Img="
)


def many_scans(side, scans):
    """A grey progressive JPEG of (side, side) pixels, without fault, whose every scan holds one coefficient."""
    blocks = (-(-side // 8)) ** 2
    # One code each: the DC difference 0 is the bit 0; the end of a band for 2^14 and more blocks is the bit 0, 14 bits.
    dc_table = _segment(0xC4, b"\x00" + bytes([1] + 15 * [0]) + b"\x00")
    ac_table = _segment(0xC4, b"\x10" + bytes([1] + 15 * [0]) + b"\xe0")
    frame = _segment(0xC2, struct.pack(">BHHBBBB", 8, side, side, 1, 1, 0x11, 0))
    parts = [b"\xff\xd8", _segment(0xDB, b"\0" + 64 * b"\1"), frame, dc_table, ac_table]
    parts += [_scan(0, 0, 0, 0), _bits(blocks * "0")]
    run = "0" + 14 * "1"  # 2^15 - 1 blocks
    band = _bits((blocks // (2**15 - 1) + 1) * run)
    for number in range(scans - 1):
        first = number < 63
        parts += [_scan(number % 63 + 1, number % 63 + 1, 0 if first else 1, 1 if first else 0), band]
    return b"".join([*parts, b"\xff\xd9"])


def _segment(marker, body):
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _scan(start, end, high, low):
    return _segment(0xDA, bytes([1, 1, 0x00, start, end, high << 4 | low]))


def _bits(text):
    text += -len(text) % 8 * "1"
    data = int(text, 2).to_bytes(len(text) // 8, "big")
    return data.replace(b"\xff", b"\xff\0")


def png_chunks(data):
    """[(kind, body, checksum)] of a PNG."""
    position, found = 8, []
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 8 + length
        found.append((data[position + 4 : position + 8], data[position + 8 : end], data[end : end + 4]))
        position = end + 4
    return found


def png_file(chunks):
    """The PNG of such chunks; a checksum of None is computed."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, body, checksum in chunks:
        right = struct.pack(">I", zlib.crc32(kind + body))
        parts.append(struct.pack(">I", len(body)) + kind + body + (right if checksum is None else checksum))
    return b"".join(parts)
