# SPDX-License-Identifier: Apache-2.0
"""Mutated picture files: what comes out is pixels, or a FireforgeError, soon and in little memory.

A run is a function of its seed, which a failure prints with the input; FIREFORGE_FUZZ_SEED repeats it, and
FIREFORGE_FUZZ_SECONDS makes it longer. Half of the PNGs have their checksums mended after the mutation, so that damage
lies behind the first check too.
"""

from __future__ import annotations

import base64
import io
import os
import random
import resource
import struct
import time
import warnings
import zlib
from collections import Counter

import numpy as np
from PIL import Image

from fireforge.base.errors import FireforgeError
from fireforge.base.picture.notes import NOTES
from fireforge.base.pixels import to_pixels
from fireforge.base.preprocess import ImageSteps
from fireforge.data.check import look

SECONDS = float(os.environ.get("FIREFORGE_FUZZ_SECONDS", "4"))
SEED = int(os.environ.get("FIREFORGE_FUZZ_SEED", "445323"))
MOST_SECONDS = 2.0  # of processor time for one input
MOST_BYTES = 2**30  # of resident memory for all
STEPS = ImageSteps(channels=3, resize=(9, 7), crop=(9, 7), background=128)
NUMBERS = (0, 1, 2, 7, 0x10, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
MARKS = (
    *(bytes((0xFF, mark)) for mark in (0xC0, 0xC2, 0xC4, 0xD9, 0xDA, 0xDB, 0xDD, 0xE1, 0xEE)),
    *(b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"zTXt", b"iCCP"),
    *(b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"EXIF", b"\x21\xf9\x04", b"\x21\xff\x0b", b"\x2c"),
)
CODES = ("CORRUPT", "EMPTY", "FORMAT", "NOT_IMAGE", "SHAPE", "TOO_LARGE", "TOO_SLOW", "TRUNCATED")


def pictures() -> list[Image.Image]:
    """One of each mode and several sizes, from noise to one colour."""
    rng = np.random.default_rng(1)
    found = []
    for high, wide in ((1, 1), (5, 3), (17, 40), (33, 16)):
        noise = rng.integers(0, 256, (high, wide, 4), dtype=np.uint8)
        ramp = np.broadcast_to(np.linspace(0, 255, wide).astype(np.uint8)[None, :, None], (high, wide, 4)).copy()
        for array in (noise, ramp):
            colour = Image.fromarray(np.ascontiguousarray(array[..., :3]))
            found += [colour, colour.convert("L"), colour.convert("1"), colour.convert("P"), Image.fromarray(array)]
            found += [Image.fromarray(array).convert("LA"), colour.convert("CMYK")]
            found.append(Image.fromarray(array[..., 0].astype(np.uint16) * 257))
    return found


def variants(image: Image.Image) -> list[tuple[str, dict[str, object]]]:
    """Kinds and options that can hold a picture of this mode."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "somebody"
    frames = {"save_all": True, "append_images": [image.transpose(Image.Transpose.ROTATE_180)]}
    kinds: dict[str, list[tuple[str, dict[str, object]]]] = {
        "JPEG": [("JPEG", {}), ("JPEG", {"progressive": True, "exif": exif}), ("JPEG", {"restart_marker_blocks": 1})],
        "PNG": [("PNG", {}), ("PNG", {"exif": exif, "dpi": (72, 72), "icc_profile": bytes(200)}), ("PNG", frames)],
        "GIF": [("GIF", {}), ("GIF", {"transparency": 0, "interlace": 1, **frames})],
        "WEBP": [("WEBP", {}), ("WEBP", {"lossless": True, "exif": exif}), ("WEBP", frames)],
        "BMP": [("BMP", {})],
    }
    taken = {
        "RGB": ("JPEG", "PNG", "GIF", "WEBP", "BMP"),
        "L": ("JPEG", "PNG", "GIF", "BMP"),
        "1": ("PNG", "BMP"),
        "P": ("PNG", "GIF", "BMP"),
        "RGBA": ("PNG", "WEBP", "BMP"),
        "LA": ("PNG",),
        "CMYK": ("JPEG",),
        "I;16": ("PNG",),
    }[image.mode]
    return [variant for kind in taken for variant in kinds[kind]]


def seeds() -> list[bytes]:
    """Some 300 valid files of all five formats."""
    found = [run_length_bmp(), colour_16_bit(2, 6), colour_16_bit(6, 8), colour_16_bit(4, 4)]
    for image in pictures():
        for kind, options in variants(image):
            stream = io.BytesIO()
            image.save(stream, kind, **options)
            found.append(stream.getvalue())
    return found


def run_length_bmp() -> bytes:
    body = b"\x08\7\0\0\4\x09\4\1\0\0\0\3\1\2\3\0\5\6\0\1"
    head = struct.pack("<IiiHHIIiiII", 40, 8, 3, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078 + len(body), 0, 0, 1078) + head + bytes(range(256)) * 4 + body


def colour_16_bit(colour: int, width_bytes: int) -> bytes:
    rows = b"".join(b"\0" + bytes(range(width_bytes * 5)) for _ in range(4))
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", 5, 4, 16, colour, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    chunks = (struct.pack(">I", len(body)) + name + body + bytes(4) for name, body in parts)
    return mend(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def mend(png: bytes) -> bytes:
    """Every chunk of a PNG gets the checksum that it should have, as far as lengths lead from one to the next."""
    out, at = bytearray(png), 8
    while at + 12 <= len(out):
        stop = at + 12 + int.from_bytes(out[at : at + 4], "big")
        if stop > len(out):
            break
        out[stop - 4 : stop] = struct.pack(">I", zlib.crc32(out[at + 4 : stop - 4]))
        at = stop
    return bytes(out)


def mutate(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """One to eight random edits: bits, bytes, numbers, cuts, copies, marks, and pieces of another file."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        near = rng.random() < 0.5  # heads are where most is decided
        at = rng.randrange(min(len(out), 64) + 1 if near else len(out) + 1)
        length = rng.choice((1, 2, 4, 8, 16, rng.randrange(1, 300)))
        kind = rng.randrange(8)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at : at + length] = rng.randbytes(length)
        elif kind == 2:
            width = rng.choice((1, 2, 2, 4))
            number = rng.choice((*NUMBERS, rng.randrange(len(out) + 1), rng.randrange(20_000))) % 2 ** (8 * width)
            out[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))
        elif kind == 3:
            del out[at : at + length]
        elif kind == 4:
            out[at:at] = out[at : at + length] * rng.choice((1, 1, 2, 50))
        elif kind == 5 and rng.random() < 0.3:
            del out[at:]
        elif kind == 6:
            other = rng.choice(others)
            start = rng.randrange(len(other))
            out[at : at + rng.choice((0, length))] = other[start : start + length]
        else:
            mark = rng.choice(MARKS)
            out[at : at + rng.choice((0, len(mark)))] = mark
    return bytes(out)


def outcome(data: bytes) -> str:
    """ "pixels", or the code of the error; anything else that is raised goes through, warnings included."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            pixels = to_pixels(data, STEPS)
            seen = look(data, where="x.png", full=True)
        except FireforgeError as error:
            return error.code
    assert pixels.shape == (3, 9, 7)
    assert pixels.dtype == np.uint8
    assert set(seen.notes) <= set(NOTES)
    return "pixels"


def grown(before_kb: int) -> int:
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) * 1024


def test_mutated_pictures_end_in_pixels_or_in_a_named_error() -> None:
    rng, files = random.Random(SEED), seeds()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert [data for data in files if outcome(data) != "pixels"] == []
    outcomes: Counter[str] = Counter()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        data = mutate(rng, rng.choice(files), files)
        if data.startswith(b"\x89PNG") and rng.random() < 0.5:
            data = mend(data)
        told = f"FIREFORGE_FUZZ_SEED={SEED}, input {sum(outcomes.values())}: {base64.b64encode(data).decode()}"
        start = time.process_time()
        try:
            result = outcome(data)
            outcomes[result] += 1
            assert result == "pixels" or result.removeprefix("IMG_") in CODES
        except BaseException as error:
            raise AssertionError(told) from error
        assert time.process_time() - start < MOST_SECONDS, told
        assert grown(before) < MOST_BYTES, told
    print(f"FIREFORGE_FUZZ_SEED={SEED}", dict(outcomes))
    assert len(files) > 200
    assert outcomes["pixels"] > 20
    assert len(outcomes) > 4
