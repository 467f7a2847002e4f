"""Files that are no ESP image: what to say of them."""

from __future__ import annotations


def what_else(data: bytes, header_bytes: int) -> str:
    """Why this cannot be an image whose header alone has ``header_bytes``: for the message."""
    if not data:
        return "the file is empty; expected an ESP image (.bin)"
    if data.startswith(b"\x7fELF"):
        return "an ELF file; expected the .bin made from it (esptool elf2image)"
    if data[:1] == b"\xe9":
        return f"cut: {len(data)} bytes, the header of an ESP image alone has {header_bytes}"
    if len(data) > 0x8000 and len(data) % 16 == 0 and _is_noise(data[:0x8000]):
        return (
            f"no ESP image: it begins with 0x{data[0]:02x}, not 0xe9, and looks encrypted; "
            "give the image as it was before encryption"
        )
    return f"no ESP image: it begins with 0x{data[0]:02x}, expected 0xe9"


def _is_noise(data: bytes) -> bool:
    """Whether each byte value comes about equally often, as code and text never do."""
    share = len(data) / 256
    return all(0.5 * share < data.count(value) < 1.5 * share for value in range(256))
