"""Writes the pictures of this folder: what cameras, phones and drawing programs write.

    python3 -m venv venv && venv/bin/pip install pillow==13.0.0 && venv/bin/python make.py

Each is small, and has whatever its kind can have besides pixels. `4711-secret` stands for what
nobody may read; the position is of no place in particular.
"""

import pathlib
import struct
import zlib

from PIL import Image, ImageCms, PngImagePlugin

HERE = pathlib.Path(__file__).parent
SECRET = "4711-secret"
SIZE = (24, 16)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def drawing(mode="RGB", shift=0):
    picture = Image.new("RGB", SIZE)
    for x in range(SIZE[0]):
        for y in range(SIZE[1]):
            picture.putpixel((x, y), ((x * 10 + shift) % 256, y * 15, (x * y + shift) % 256))
    return picture.convert(mode)


def exif(orientation=6):
    notes = Image.Exif()
    notes[0x0112] = orientation
    notes[0x010F] = SECRET  # who made the camera
    notes[0x8825] = {1: "N", 2: (48.0, 8.0, 14.0), 3: "E", 4: (11.0, 34.0, 31.0)}
    return notes


def xmp():
    return f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{SECRET}</x:xmpmeta>".encode()


def chunk(name, payload):
    named = name + payload
    return struct.pack(">I", len(payload)) + named + struct.pack(">I", zlib.crc32(named))


def segment(code, payload):
    return bytes([0xFF, code]) + struct.pack(">H", len(payload) + 2) + payload


def png():
    drawing().save(HERE / "plain.png")
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", SECRET)
    text.add_text("workflow", '{"1": "%s"}' % SECRET, zip=True)
    text.add_itxt("XML:com.adobe.xmp", xmp().decode(), zip=True)
    text.add(b"tIME", bytes(7))
    text.add(b"caBX", SECRET.encode())
    text.add(b"prVt", SECRET.encode())
    drawing().save(HERE / "notes.png", pnginfo=text, exif=exif(), icc_profile=PROFILE)
    behind = (HERE / "notes.png").read_bytes()
    end = behind.index(b"IEND") - 4
    late = chunk(b"tEXt", b"late\0" + SECRET.encode())
    (HERE / "notes.png").write_bytes(behind[:end] + late + behind[end:])
    drawing("P").save(HERE / "palette.png", transparency=0)
    Image.new("I;16", SIZE, 40000).save(HERE / "deep.png")
    frames = [drawing(shift=shift) for shift in (0, 60, 120)]
    frames[0].save(HERE / "film.png", save_all=True, append_images=frames[1:], duration=50)
    interlaced()


def interlaced():
    """Pillow reads these and does not write them."""
    pixels, rows = drawing("L"), b""
    for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4),
                           (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        for y in range(y0, SIZE[1], dy):
            row = bytes(pixels.getpixel((x, y)) for x in range(x0, SIZE[0], dx))
            rows += b"\0" + row
    header = struct.pack(">IIBBBBB", *SIZE, 8, 0, 0, 0, 1)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    (HERE / "interlaced.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    assert list(Image.open(HERE / "interlaced.png").tobytes()) == list(pixels.tobytes())


def jpeg():
    drawing().save(HERE / "plain.jpg")
    drawing().save(HERE / "progressive.jpg", progressive=True, quality=90)
    drawing("CMYK").save(HERE / "cmyk.jpg")
    drawing("L").save(HERE / "grey.jpg", restart_marker_rows=1)
    # As phones do: notes with a small picture, a profile, an index of further pictures, Adobe's
    # and other notes, and a second picture and a film's bytes behind the end.
    notes = exif().tobytes()
    drawing().save(HERE / "phone.jpg", exif=notes, icc_profile=PROFILE, xmp=xmp(), comment=SECRET)
    bytes_ = (HERE / "phone.jpg").read_bytes()
    more = segment(0xE2, b"MPF\0" + SECRET.encode())
    more += segment(0xEB, b"JP\0\1" + SECRET.encode())
    more += segment(0xED, b"Photoshop 3.0\0" + SECRET.encode())
    at = bytes_.index(b"\xff\xdb")
    behind = (HERE / "plain.jpg").read_bytes() + b"\0\0\0\x18ftypmp42" + SECRET.encode()
    (HERE / "phone.jpg").write_bytes(bytes_[:at] + more + bytes_[at:] + behind)


def webp():
    drawing().save(HERE / "plain.webp")
    drawing("RGBA").save(HERE / "lossless.webp", lossless=True)
    drawing().save(HERE / "notes.webp", exif=exif().tobytes(), icc_profile=PROFILE, xmp=xmp())
    frames = [drawing(shift=shift) for shift in (0, 60, 120)]
    frames[0].save(HERE / "film.webp", save_all=True, append_images=frames[1:], duration=50,
                   xmp=xmp())


def gif():
    frames = [drawing(shift=shift).convert("P") for shift in (0, 60, 120)]
    frames[0].save(HERE / "film.gif", save_all=True, append_images=frames[1:], duration=50, loop=0,
                   comment=SECRET)
    bytes_ = (HERE / "film.gif").read_bytes()
    # As Adobe writes it: text outside of the blocks, which a table of all bytes leads out of.
    ramp = b"\1" + bytes(range(255, -1, -1)) + b"\0"
    (HERE / "film.gif").write_bytes(bytes_[:-1] + b"!\xff\x0bXMP DataXMP" + xmp() + ramp + b";")


def avif():
    drawing().save(HERE / "plain.avif")
    drawing("RGBA").save(HERE / "notes.avif", exif=exif(1).tobytes(), xmp=xmp(),
                         icc_profile=PROFILE)


for make in (png, jpeg, webp, gif, avif):
    make()
