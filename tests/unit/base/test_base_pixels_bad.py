# SPDX-License-Identifier: Apache-2.0
"""Bad and odd picture files, each made by hand: what is accepted, with which note, and what is refused, and why."""

from __future__ import annotations

import functools
import io
import os
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from fireforge.base.errors import FireforgeError
from fireforge.base.picture.decode import decode_noted, read_head
from fireforge.base.picture.exif import read_orientation, write_orientation
from fireforge.base.picture.notes import NOTES
from fireforge.base.picture.sniff import FORMATS
from fireforge.base.pixels import decode, open_picture, orient, to_channels, to_pixels
from fireforge.base.preprocess import ImageSteps

R = np.random.default_rng(20)
NOISE = R.integers(0, 256, (40, 60, 3), dtype=np.uint8)
SMOOTH = np.stack([60 + np.add.outer(2 * np.arange(40), np.arange(60))] * 3, axis=2).astype(np.uint8)
RGB = ImageSteps(channels=3, resize=None, crop=(1, 1))


def saved(image: Image.Image | np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(head: tuple[int, int, int, int], rows: bytes, *between: bytes, interlace: int = 0) -> bytes:
    """A PNG of (width, height, depth, colour type), its unfiltered rows, and chunks before the pixels."""
    ihdr = struct.pack(">IIBBBBB", *head, 0, 0, interlace)
    parts = (chunk(b"IHDR", ihdr), *between, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def with_chunk(data: bytes, *chunks: bytes) -> bytes:
    """A PNG with more chunks right behind its head."""
    return data[:33] + b"".join(chunks) + data[33:]


def with_segment(data: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with one more segment right behind its first mark."""
    return data[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body + data[2:]


def code_of(data: bytes, **options: object) -> str:
    with pytest.raises(FireforgeError) as caught:
        decode(data, where="dir/cat.jpg", **options)  # type: ignore[arg-type]
    assert "dir/cat.jpg" in caught.value.line()
    assert "\n" not in caught.value.line()
    return caught.value.code


def seen(data: bytes, background: int = 255) -> np.ndarray:
    """(H, W, 3) as a network would see it."""
    return np.asarray(to_channels(open_picture(data), RGB.replace(background=background)))


JPEG, PNG, GIF, WEBP, BMP = (saved(NOISE, kind) for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP"))


# --- what is no picture ----------------------------------------------------------------------------------------------


def test_no_bytes() -> None:
    assert code_of(b"") == "IMG_EMPTY"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"Hello, I am no picture.\r\n" * 9, "text"),
        ("naïve ünïcode".encode() * 60, "text"),
        (b"<!doctype html><title>404</title>", "HTML"),
        (b"\xef\xbb\xbf <html>", "HTML"),
        (b'<?xml version="1.0"?><rss/>', "XML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n", "Git LFS"),
        (b"PK\x03\x04" + bytes(30), "zip"),
        (b"\x1f\x8b\x08" + bytes(30), "gzip"),
        (b"\0\0\0\x20ftypisom" + bytes(30), "video"),
        (b"BMW is a maker of cars and motorcycles.", "text"),
        (R.bytes(200), "not an image"),
    ],
)
def test_other_files_are_told_by_what_they_look_like(data: bytes, says: str) -> None:
    with pytest.raises(FireforgeError, match=f"IMG_NOT_IMAGE: cat.jpg: .*{says}"):
        decode(data, where="cat.jpg")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "EPS"),
        (b"\xc5\xd0\xd3\xc6" + bytes(30), "EPS"),
        (b"%PDF-1.7", "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "SVG"),
        (b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg/>", "SVG"),
        (saved(NOISE, "TIFF"), "TIFF"),
        (b"SIMPLE  =                    T", "FITS"),
        (saved(NOISE, "ICO"), "ICO"),
        (b"8BPS\0\1" + bytes(20), "Photoshop"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "AVIF"),
        (saved(NOISE, "PPM"), "PPM"),
        (saved(NOISE, "JPEG2000"), "JPEG 2000"),
        (saved(NOISE, "DDS"), "DDS"),
    ],
)
def test_other_picture_formats_are_named_and_the_accepted_five_too(data: bytes, says: str) -> None:
    with pytest.raises(FireforgeError, match=f"IMG_FORMAT.*{says}.*JPEG, PNG, WEBP, BMP, GIF"):
        decode(data)
    assert len(FORMATS) == 5


# --- cut off and damaged ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.99])
def test_a_jpeg_that_is_cut_off(share: float, progressive: bool) -> None:
    data = saved(NOISE, "JPEG", progressive=progressive, exif=write_orientation(1))
    assert code_of(data[: max(4, int(len(data) * share))]) == "IMG_TRUNCATED"


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("lost", [1, 2])
def test_a_jpeg_that_lost_its_end_mark_alone_is_whole(lost: int, progressive: bool) -> None:
    data = saved(NOISE, "JPEG", progressive=progressive)
    image, notes = decode_noted(data[:-lost])
    assert np.array_equal(np.asarray(image), np.asarray(decode(data)))
    assert notes == ("IMG_NO_END",)


def test_a_jpeg_with_overwritten_scan_data_decodes() -> None:
    """Nothing in the file can tell: 400 bytes in the middle become others."""
    data = bytearray(saved(R.integers(0, 256, (200, 200, 3), dtype=np.uint8), "JPEG"))
    half = len(data) // 2
    data[half : half + 400] = bytes(R.integers(0, 255, 400, dtype=np.uint8))
    assert decode(bytes(data)).size == (200, 200)


def spoilt(data: bytes, name: bytes) -> bytes:
    """The checksum of a chunk of this name changed."""
    at = data.index(name) - 4
    stop = at + 12 + int.from_bytes(data[at : at + 4], "big")
    return data[: stop - 1] + bytes((data[stop - 1] ^ 1,)) + data[stop:]


@pytest.mark.parametrize("name", [b"IHDR", b"IDAT", b"IEND"])
def test_a_png_with_a_wrong_checksum(name: bytes) -> None:
    assert code_of(spoilt(saved(NOISE), name)) == "IMG_CORRUPT"


@pytest.mark.parametrize("left", [-12, -20, -60, 200, 40, 33, 20, 9])
def test_a_png_that_is_cut_off(left: int) -> None:
    """-12 takes the end chunk alone."""
    assert code_of(saved(NOISE)[:left]) == "IMG_CORRUPT"


@pytest.mark.parametrize(
    "data",
    [
        png((4, 4, 8, 2), bytes(52)).replace(chunk(b"IDAT", zlib.compress(bytes(52))), b""),
        png((4, 4, 8, 2), bytes(30)),  # too few rows
        png((4, 4, 7, 2), bytes(52)),
        png((4, 4, 8, 5), bytes(52)),
        png((4, 4, 16, 3), bytes(52)),
        with_chunk(png((4, 4, 8, 2), bytes(52)), chunk(b"IHDR", struct.pack(">IIBBBBB", 4000, 4000, 8, 2, 0, 0, 0))),
        b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""),
    ],
)
def test_a_png_that_contradicts_itself(data: bytes) -> None:
    assert code_of(data) == "IMG_CORRUPT"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_other_formats_that_are_cut_off(kind: str, share: float) -> None:
    data = saved(NOISE, kind)
    assert code_of(data[: int(len(data) * share)]) == "IMG_TRUNCATED"


def test_a_gif_that_lost_its_end_mark_alone_is_whole() -> None:
    data = saved(NOISE, "GIF")
    image, notes = decode_noted(data[:-1])
    assert notes == ("IMG_NO_END",)
    assert np.array_equal(np.asarray(image), np.asarray(decode(data)))


# --- sizes -----------------------------------------------------------------------------------------------------------


def jpeg_head(width: int, height: int) -> bytes:
    """A JPEG that promises this size and holds 800 bytes."""
    data = bytearray(saved(NOISE, "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data[:798]) + b"\xff\xd9"


def gif_head(width: int, height: int) -> bytes:
    data = saved(NOISE, "GIF")
    return data[:6] + struct.pack("<HH", width, height) + data[10:]


def bmp_head(width: int, height: int) -> bytes:
    data = saved(NOISE, "BMP")
    return data[:18] + struct.pack("<ii", width, height) + data[26:800]


HEADS = {
    "png": lambda w, h: png((w, h, 8, 2), bytes(300)),
    "jpeg": jpeg_head,
    "gif": gif_head,
    "bmp": bmp_head,
}


@pytest.mark.parametrize("kind", HEADS)
def test_a_promise_of_900_mpx_in_few_bytes(kind: str) -> None:
    assert code_of(HEADS[kind](30_000, 30_000)) == "IMG_TOO_LARGE"


@pytest.mark.parametrize("kind", HEADS)
def test_a_promise_within_the_limit_that_the_bytes_cannot_hold(kind: str) -> None:
    assert code_of(HEADS[kind](15_000, 15_000)) == "IMG_TRUNCATED"


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("size", [(0, 40), (60, 0)])
def test_a_side_of_nothing(kind: str, size: tuple[int, int]) -> None:
    assert code_of(HEADS[kind](*size)) == "IMG_CORRUPT"


CHILD = """
import resource, sys, time
from fireforge.base.pixels import decode
from fireforge.base.errors import FireforgeError
data = sys.stdin.buffer.read()
before, start, code = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time(), "accepted"
try:
    decode(data, max_pixels=int(sys.argv[1]))
except FireforgeError as error:
    code = error.code
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(code, grown // 1024, time.process_time() - start)
"""


def in_a_child(data: bytes, max_pixels: int = 250_000_000) -> tuple[str, int, float]:
    """Code, growth of the greatest resident memory in MiB, seconds of CPU."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(max_pixels)], input=data, capture_output=True, check=True, env=os.environ
    )
    code, grown, seconds = done.stdout.split()
    return code.decode(), int(grown), float(seconds)


@functools.cache
def bomb() -> bytes:
    """A real PNG of 13,000 x 13,000 px, one bit each, in 21 KB."""
    packer, parts = zlib.compressobj(9), []
    for _ in range(13_000):
        parts.append(packer.compress(bytes(1626)))
    body = b"".join([*parts, packer.flush()])
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 13_000, 13_000, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "max_pixels", "code"),
    [
        (lambda: HEADS["png"](30_000, 30_000), 250_000_000, "IMG_TOO_LARGE"),
        (lambda: HEADS["jpeg"](30_000, 30_000), 250_000_000, "IMG_TOO_LARGE"),
        (lambda: HEADS["jpeg"](15_000, 15_000), 250_000_000, "IMG_TRUNCATED"),
        (bomb, 25_000_000, "IMG_TOO_LARGE"),
    ],
)
def test_refused_before_memory_is_set_aside(data: object, max_pixels: int, code: str) -> None:
    """Less than 32 MiB more than before, where the pixels alone would take 160 to 2,700 MB."""
    got, grown, seconds = in_a_child(data(), max_pixels)  # type: ignore[operator]
    assert got == code
    assert grown < 32
    assert seconds < 1


def test_a_webp_of_160_mpx_in_a_few_bytes() -> None:
    """A real one, of one colour without loss: decoding takes 4 s and 2.5 GB."""
    bits = (15_999 | 9_999 << 14).to_bytes(4, "little")
    data = b"\x2f" + bits + b"\x07\xd0\xff\xfb\xff\xff\xff\xff\xff"
    riff = b"RIFF" + struct.pack("<I", 12 + len(data)) + b"WEBPVP8L" + struct.pack("<I", len(data)) + data
    assert code_of(riff) == "IMG_TOO_LARGE"
    assert decode(saved(np.zeros((3000, 3000, 3), np.uint8), "WEBP", lossless=True, method=0)).size == (3000, 3000)


def test_169_mpx_are_within_the_local_limit() -> None:
    assert read_head(bomb())[0].size == (13_000, 13_000)


def test_one_pixel_is_accepted_with_a_note_and_long_strips_are_not() -> None:
    assert decode_noted(saved(NOISE[:1, :1]))[1] == ("IMG_TINY",)
    for shape in ((1, 20_000), (20_000, 1), (1, 201)):
        assert code_of(saved(np.zeros(shape, np.uint8))) == "IMG_SHAPE"
    assert decode_noted(saved(np.zeros((4, 800), np.uint8)))[1] == ()


# --- metadata --------------------------------------------------------------------------------------------------------

BOMB_TEXT = zlib.compress(bytes(50_000_000), 9)


@pytest.mark.parametrize(
    "harm",
    [
        chunk(b"zTXt", b"Comment\0\0" + BOMB_TEXT),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BOMB_TEXT),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + BOMB_TEXT),
        chunk(b"iCCP", b"huge\0\0" + BOMB_TEXT),
        chunk(b"tEXt", b"transparency\0yes"),  # a name that Pillow would take for its own
        chunk(b"tEXt", b"\0"),
        chunk(b"zTXt", b"k\0\7broken"),
        chunk(b"iCCP", b"no end"),
        chunk(b"acTL", b"\0"),
        chunk(b"gAMA", b""),
        chunk(b"pHYs", b"\0"),
    ],
)
def test_metadata_of_a_png_never_costs_the_picture(harm: bytes) -> None:
    assert np.array_equal(seen(with_chunk(saved(NOISE), harm)), NOISE)


def test_text_bombs_are_not_unpacked() -> None:
    data = with_chunk(saved(NOISE), *[chunk(b"zTXt", b"k%d\0\0" % i + BOMB_TEXT) for i in range(40)])
    code, grown, seconds = in_a_child(data)
    assert code == "accepted"
    assert grown < 32
    assert seconds < 1


@pytest.mark.parametrize(
    "harm",
    [
        (0xED, b"Photoshop 3.0\x008BIM\x03\xed"),
        (0xE0, b"JFIF\0"),
        (0xEE, b"Adobe"),
        (0xE2, b"ICC_PROFILE\0"),
        (0xE2, b"MPF\0" + bytes(8)),
        (0xE2, b"FPXR\0"),
        (0xFE, bytes(60_000)),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta"),
    ],
)
def test_metadata_of_a_jpeg_never_costs_the_picture(harm: tuple[int, bytes]) -> None:
    data = saved(NOISE, "JPEG")
    assert np.array_equal(seen(with_segment(data, *harm)), seen(data))


def exif_bomb(order: str) -> bytes:
    """5,000 entries, each of which says that it is the 55,000 bytes from the beginning; the last one turns by 90."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 5001)
    entry = b"".join(struct.pack(order + "HHII", 1000 + i, 7, 55_000, 0) for i in range(5000))
    turn = struct.pack(order + "HHIHH", 0x0112, 3, 1, 6, 0)
    return b"Exif\0\0" + head + entry + turn


BROKEN_EXIF = [
    b"Exif\0\0MM\0*\xff\xff\xff\xff\x01",
    b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
    b"Exif\0\0",
    b"Exif\0\0II*\0",
    b"Exif\0\0XXXXXXXXXXXXX",
    # a value of 395,876,289 bytes
    b"Exif\0\0II*\0" + struct.pack("<IHHHII", 8, 1, 0x010F, 2, 395_876_289, 26) + bytes(4),
    # a directory whose next directory is itself, with a value that lies on the directory
    b"Exif\0\0II*\0" + struct.pack("<IHHHIII", 8, 1, 0x8769, 13, 9, 8, 8),
    exif_bomb("<"),
    exif_bomb(">"),
]


@pytest.mark.parametrize("exif", BROKEN_EXIF, ids=range(len(BROKEN_EXIF)))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_is_noted_and_costs_nothing(kind: str, exif: bytes) -> None:
    """No warning either: pytest makes errors of them."""
    plain = saved(SMOOTH, kind)
    if kind == "JPEG":
        data = with_segment(plain, 0xE1, exif)
    elif kind == "PNG":
        data = with_chunk(plain, chunk(b"eXIf", exif[6:]))
    else:
        data = saved(SMOOTH, kind, exif=exif + b" " * (len(exif) == 6))  # Pillow writes no empty block
    start = time.process_time()
    image, notes = decode_noted(data)
    turned = orient(image)
    assert time.process_time() - start < 1
    assert notes == ("IMG_EXIF",)
    assert turned.size == ((40, 60) if len(exif) > 1000 else (60, 40))
    assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(decode(plain).convert("RGB")))


@pytest.mark.parametrize("place", ["JPEG", "eXIf", "tEXt"])
def test_an_exif_bomb_takes_no_memory(place: str) -> None:
    """The reading of it by Pillow 10 copies 5,000 times 55,000 bytes, 262 MiB; later ones stop."""
    bomb = exif_bomb("<")
    if place == "JPEG":
        data = with_segment(saved(SMOOTH, "JPEG"), 0xE1, bomb)
    elif place == "eXIf":
        data = with_chunk(saved(SMOOTH), chunk(b"eXIf", bomb[6:]))
    else:
        text = f"\nexif\n{len(bomb):8}\n{bomb.hex()}\n".encode()
        data = with_chunk(saved(SMOOTH), chunk(b"tEXt", b"Raw profile type exif\0" + text))
    code, grown, seconds = in_a_child(data)
    assert code == "accepted"
    assert grown < 32
    assert seconds < 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_read_in_both_byte_orders(orientation: int, order: str) -> None:
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 1)
    block = head + struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0) + bytes(4)
    assert read_orientation(block) == (orientation, True)
    assert read_orientation(b"Exif\0\0" + block) == (orientation, True)
    assert read_orientation(write_orientation(orientation)) == (orientation, True)
    image = Image.new("L", (9, 9))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A] = orientation, "a maker", 72.0
    image.info["exif"] = exif.tobytes()
    assert read_orientation(image.info["exif"]) == (orientation, True)


def turned(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The stored picture that orientation makes upright, by the standard's table of where row 0 and column 0 lie."""
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    return np.ascontiguousarray(stored)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_of_a_jpeg(orientation: int) -> None:
    """Within 2 levels of the upright original: a smooth picture at quality 100, no colour subsampling."""
    stored = turned(SMOOTH, orientation)
    data = saved(stored, "JPEG", quality=100, subsampling=0, exif=write_orientation(orientation))
    assert np.abs(seen(data).astype(int) - SMOOTH).max() <= 2
    again = orient(open_picture(data))
    assert again.size == (60, 40)  # what was turned is not turned twice


def test_orientation_of_a_png_in_the_places_where_programs_put_it() -> None:
    stored, block = turned(NOISE, 8), write_orientation(8)
    digits = f"\nexif\n{len(block):8}\n{block.hex()}\n"
    xmp = '<x:xmpmeta><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
    texts = [PngImagePlugin.PngInfo() for _ in range(3)]
    texts[0].add_text("Raw profile type exif", digits, zip=True)
    texts[1].add_text("Raw profile type exif", digits)
    texts[2].add_itxt("XML:com.adobe.xmp", xmp, zip=True)
    for text in texts:
        assert np.array_equal(seen(saved(stored, pnginfo=text)), NOISE)
    assert np.array_equal(seen(saved(stored, exif=block)), NOISE)


# --- colours ---------------------------------------------------------------------------------------------------------


def with_transform(data: bytes, transform: int) -> bytes:
    """A JPEG whose Adobe segment names another transform of its colours."""
    at = data.index(b"Adobe")
    return data[: at + 11] + bytes((transform,)) + data[at + 12 :]


@pytest.mark.parametrize("ink", [(51, 0, 255, 0), (0, 0, 0, 128), (200, 100, 50, 25), (255, 255, 0, 0)])
def test_cmyk_jpeg(ink: tuple[int, int, int, int]) -> None:
    """Inverted as Adobe writes it; red is (1 - C)(1 - K), the mean within 8 of 255."""
    c, m, y, k = (part / 255 for part in ink)
    want = np.array([(1 - c) * (1 - k), (1 - m) * (1 - k), (1 - y) * (1 - k)]) * 255
    data = saved(Image.new("CMYK", (16, 16), ink), "JPEG", quality=95)
    assert b"Adobe" in data
    assert np.abs(seen(data).mean(axis=(0, 1)) - want).max() <= 8


@pytest.mark.parametrize("colour", [(200, 40, 90), (10, 250, 30), (128, 128, 128)])
def test_ycck_jpeg(colour: tuple[int, int, int]) -> None:
    """Stored are Y, Cb, Cr of the inks, which are 255 - colour, and 255 for no black; the mean within 8 of 255."""
    r, g, b = (255 - part for part in colour)
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    stored = (luma, 128 + 0.564 * (b - luma), 128 + 0.713 * (r - luma), 255)
    planes = tuple(255 - round(part) for part in stored)  # saving inverts them once
    data = with_transform(saved(Image.new("CMYK", (16, 16), planes), "JPEG", quality=100), 2)
    assert np.abs(seen(data).mean(axis=(0, 1)) - colour).max() <= 8


RAMP = (np.arange(64) * 1040).astype(np.uint16)  # 63 * 1040 = 65,520
SCALED = np.rint(RAMP / 257.0).astype(np.uint8)


def deep(values: np.ndarray, colour: int, *between: bytes) -> bytes:
    """A PNG of one row of 16-bit values (W, channels)."""
    return png((len(values), 1, 16, colour), b"\0" + values.astype(">u2").tobytes(), *between)


def test_16_bit_gray_and_colour_are_scaled_by_257() -> None:
    columns = np.stack([RAMP, RAMP[::-1], np.full(64, 40_000)], axis=1)
    got = seen(deep(columns, 2))[0]
    assert np.array_equal(got, np.stack([SCALED, SCALED[::-1], np.full(64, 156)], axis=1))  # 40,000 / 257 = 155.6
    assert np.array_equal(seen(deep(RAMP[:, None], 0))[0], np.stack([SCALED] * 3, axis=1))
    assert len(np.unique(seen(deep(RAMP[:, None], 0)))) == 64
    assert read_head(deep(columns, 2))[0].size == (64, 1)


def test_16_bit_with_alpha_over_the_background_by_hand() -> None:
    solid = np.stack([RAMP, np.full(64, 65_535)], axis=1)
    assert np.array_equal(seen(deep(solid, 4))[0], np.stack([SCALED] * 3, axis=1))
    clear = np.array([[25_700, 51_400, 0, 0], [25_700, 51_400, 0, 65_535], [0, 25_700, 51_400, 13_107]])
    # alpha 13,107 is a fifth: 0.2 * c + 0.8 * 250 = 200, 220, 240
    assert seen(deep(clear, 6), 250)[0].tolist() == [[250, 250, 250], [100, 200, 0], [200, 220, 240]]


def test_16_bit_with_a_transparent_colour() -> None:
    gray = deep(np.array([[1000], [1001]]), 0, chunk(b"tRNS", struct.pack(">H", 1000)))
    assert seen(gray, 9)[0].tolist() == [[9] * 3, [4] * 3]  # 1001 / 257 = 3.9
    values = np.array([[40_000, 1, 2], [40_000, 1, 3]])
    colour = deep(values, 2, chunk(b"tRNS", struct.pack(">HHH", 40_000, 1, 2)))
    assert seen(colour, 7)[0].tolist() == [[7, 7, 7], [156, 0, 0]]


def test_interlaced_16_bit_equals_the_plain_one() -> None:
    """Adam7 of a 2 x 1 picture: the first pass holds pixel 0, the sixth pixel 1, each with its filter byte."""
    row = np.array([[1000, 2000, 3000], [40_000, 50_000, 60_000]])
    rows = b"".join(b"\0" + pixel.astype(">u2").tobytes() for pixel in row)
    assert np.array_equal(seen(png((2, 1, 16, 2), rows, interlace=1)), seen(deep(row, 2)))


@pytest.mark.parametrize(("depth", "row", "levels"), [(1, 0b01000000, 1), (2, 0b00011011, 3), (4, 0x0F, 15)])
def test_gray_of_few_bits_with_a_transparent_level(depth: int, row: int, levels: int) -> None:
    """Level 1 of 2 bits is 85, of 4 bits 17; what is stored as the transparent level stands for the background."""
    width, key = 8 // depth if depth > 1 else 2, 1 if depth < 4 else 15
    data = png((width, 1, depth, 0), bytes((0, row)), chunk(b"tRNS", struct.pack(">H", key)))
    stored = [row >> (8 - depth * (i + 1)) & levels for i in range(width)]
    want = [77 if value == key else value * 255 // levels for value in stored]
    assert seen(data, 77)[0, :, 0].tolist() == want


def test_background_is_the_same_strip_by_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    rgba = R.integers(0, 256, (40, 30, 4), dtype=np.uint8)
    whole = seen(saved(rgba), 100)
    monkeypatch.setattr("fireforge.base.pixels.STRIP_PIXELS", 100)
    assert np.array_equal(seen(saved(rgba), 100), whole)


# --- accepted with a note --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
@pytest.mark.parametrize("tail", [b"PK\x03\x04" + bytes(50), b"<html>hello</html>", b"\0"])
def test_bytes_behind_the_picture(kind: str, tail: bytes) -> None:
    data = saved(NOISE, kind)
    image, notes = decode_noted(data + tail)
    assert notes == ("IMG_TRAILING",)
    assert np.array_equal(np.asarray(image), np.asarray(decode(data)))


@functools.cache
def long_animation(kind: str) -> bytes:
    frames = [Image.fromarray(np.full((200, 200), i % 256, np.uint8)) for i in range(1000)]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=20)


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_of_a_thousand_frames_the_first_is_used(kind: str) -> None:
    data = long_animation(kind)
    start = time.process_time()
    image, notes = decode_noted(data)
    assert time.process_time() - start < 1
    assert notes == ("IMG_FRAMES",)
    assert np.asarray(image.convert("RGB")).max() <= 3  # frame 0 is black, within the loss of WebP


def test_an_animated_png_is_its_first_frame() -> None:
    frames = [Image.fromarray(NOISE), Image.fromarray(SMOOTH)]
    image, notes = decode_noted(saved(frames[0], save_all=True, append_images=frames[1:]))
    assert notes == ("IMG_FRAMES",)
    assert np.array_equal(np.asarray(image), NOISE)


def test_a_name_of_another_format_changes_nothing(tmp_path) -> None:
    """Told by the content alone, as ImageNet's n02105855_2933.JPEG, which is a PNG, must be."""
    (tmp_path / "dog.JPEG").write_bytes(saved(NOISE))
    assert np.array_equal(to_pixels(tmp_path / "dog.JPEG", RGB.replace(crop=(40, 60))), NOISE.transpose(2, 0, 1))


def test_every_note_is_given_by_some_picture() -> None:
    assert all(len(text) > 10 for text in NOTES.values())


# --- slow on purpose -------------------------------------------------------------------------------------------------


def scans(count: int, side: int) -> bytes:
    """A progressive JPEG whose last scan is there many times over."""
    data = saved(np.full((side, side), 128, np.uint8), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * count + b"\xff\xd9"


def test_ten_thousand_scans_are_refused_at_once() -> None:
    data = scans(10_000, 1000)
    start = time.process_time()
    assert code_of(data) == "IMG_TOO_SLOW"
    assert time.process_time() - start < 0.5
    assert decode(scans(20, 500)).size == (500, 500)


def test_the_most_scans_that_are_accepted_decode_in_time() -> None:
    """390 scans of a megapixel; about a third of a nanosecond a pixel and scan, so 2 s is a wide bound."""
    data = scans(380, 1000)
    start = time.process_time()
    assert decode(data).size == (1000, 1000)
    assert time.process_time() - start < 2


def run_length_bmp(width: int, height: int, body: bytes) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0)
    palette = b"".join(bytes((i, i, i, 0)) for i in range(256))
    return b"BM" + struct.pack("<IHHI", 54 + 1024 + len(body), 0, 0, 54 + 1024) + head + palette + body


def test_run_length_bmp() -> None:
    assert seen(run_length_bmp(4, 2, b"\4\7\0\0\2\x09\2\x08\0\1"))[:, :, 0].tolist() == [[9, 9, 8, 8], [7, 7, 7, 7]]
    assert code_of(run_length_bmp(15_000, 15_000, b"\0\0" * 400)) == "IMG_TOO_SLOW"
    assert code_of(run_length_bmp(100, 100, b"\0\2\0\0" * 600_000)) == "IMG_TOO_SLOW"


def test_junk_and_metadata_before_the_pixels_do_not_hold_up() -> None:
    """20 MB before the picture, which Pillow would read byte by byte, or copy 300 times."""
    data = saved(NOISE, "JPEG")
    junk = data[:20] + bytes(20_000_000) + data[20:]  # behind the segment JFIF
    exif = data[:2] + (b"\xff\xe1\xff\xff" + b"Exif\0\0" + bytes(65_527)) * 300 + data[2:]
    for harmed in (junk, exif):
        start = time.process_time()
        assert np.array_equal(seen(harmed), seen(data))
        assert time.process_time() - start < 1


@pytest.mark.parametrize("filler", [b"\xff", b"\xff\0", b"\xff\xe5\0\2"])
def test_endless_marks_in_a_jpeg(filler: bytes) -> None:
    start = time.process_time()
    assert code_of(JPEG[:20] + filler * (12_000_000 // len(filler)) + JPEG[20:]) == "IMG_TOO_SLOW"
    assert time.process_time() - start < 1


@pytest.mark.parametrize("filler", [b"\0", b"!\xfe\0"])
def test_endless_parts_in_a_gif(filler: bytes) -> None:
    start = time.process_time()
    assert code_of(GIF[:781] + filler * 4_000_000 + GIF[781:]) == "IMG_TOO_SLOW"
    assert time.process_time() - start < 1


def test_a_gif_of_blocks_of_one_byte() -> None:
    start, data = time.process_time(), GIF[: GIF.index(b",", 781) + 11] + b"\1\0" * 6_000_000 + b"\0;"
    assert code_of(data) == "IMG_TOO_SLOW"
    assert time.process_time() - start < 1


# --- a set of files that decoders have stumbled over -----------------------------------------------------------------


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


SOF, SOS, DQT, DHT = (JPEG.index(mark) for mark in (b"\xff\xc0", b"\xff\xda", b"\xff\xdb", b"\xff\xc4"))
STUMBLES = {
    "two frames": JPEG[:SOF] + JPEG[SOF : SOF + 19] + JPEG[SOF:],
    "12 bits": patched(JPEG, SOF + 4, b"\x0c"),
    "lossless": patched(JPEG, SOF + 1, b"\xc3"),
    "hierarchical": patched(JPEG, SOF + 1, b"\xde"),
    "two channels": patched(JPEG, SOF + 9, b"\2"),
    "no tables": JPEG[:DQT] + JPEG[SOF:],
    "table too short": patched(JPEG, DQT + 2, b"\0\x10"),
    "codes too many": patched(JPEG, DHT + 5, b"\xff" * 16),
    "segment of length 0": patched(JPEG, DQT + 2, b"\0\0"),
    "scan of an absent channel": patched(JPEG, SOS + 5, b"\x77"),
    "sampling 0": patched(JPEG, SOF + 11, b"\0"),
    "end before the scan": JPEG[:SOS] + b"\xff\xd9",
    "length past the end": patched(PNG, 33, b"\xff\xff\xff\xff"),
    "filter 9": png((4, 4, 8, 0), b"\x09\0\0\0\0" * 4),
    "palette of 0 entries": png((4, 4, 8, 3), bytes(20), chunk(b"PLTE", b"")),
    "palette index past the end": png((2, 1, 8, 3), b"\0\0\xff", chunk(b"PLTE", bytes(6))),
    "transparency too long": png((2, 1, 8, 3), bytes(3), chunk(b"PLTE", bytes(6)), chunk(b"tRNS", bytes(9))),
    "transparency too short": png((2, 1, 8, 2), bytes(7), chunk(b"tRNS", b"\0")),
    "interlace 7": png((4, 4, 8, 0), bytes(20), interlace=7),
    "deflate that ends early": PNG[:33] + chunk(b"IDAT", zlib.compress(bytes(9))[:-6]) + chunk(b"IEND", b""),
    "frame outside the screen": patched(GIF, GIF.index(b",", 781) + 1, b"\xff\xff\xff\xff"),
    "code size 255": patched(GIF, GIF.index(b",", 781) + 10, b"\xff"),
    "frame of size 0": patched(GIF, GIF.index(b",", 781) + 5, b"\0\0\0\0"),
    "vp8 size 0": patched(WEBP, 26, b"\0\0\0\0"),
    "chunk longer than the file": patched(WEBP, 16, b"\xff\xff\xff\x7f"),
    "unknown kind": patched(WEBP, 12, b"VP9 "),
    "bits 3": patched(BMP, 28, b"\3\0"),
    "colours 2^31": patched(BMP, 46, b"\0\0\0\x80"),
    "offset past the end": patched(BMP, 10, b"\xff\xff\xff\x7f"),
    "height -2^31": patched(BMP, 22, b"\0\0\0\x80"),
    "JPEG inside": patched(BMP, 30, b"\4"),
}


@pytest.mark.parametrize("name", STUMBLES)
def test_files_that_decoders_stumble_over_end_in_an_error_or_a_picture(name: str) -> None:
    codes = ("IMG_CORRUPT", "IMG_TRUNCATED", "IMG_FORMAT", "IMG_TOO_LARGE", "IMG_SHAPE", "a picture")
    try:
        outcome = "a picture" if seen(STUMBLES[name]).shape[2] == 3 else "an array"
    except FireforgeError as error:
        outcome = error.code
    assert outcome in codes
