"""The bootloaders and applications of the recorded transcripts, by the names of their boards."""

from __future__ import annotations

from dataclasses import replace

from vfw_recordings import App, Loader, elf

from pytest_blynk_ota.firmware.image import AppDesc

IDF_50 = Loader(
    "esp32", "v5.0.1-751-g96c4ec8df2", [(0x3FFF0030, 7000), (0x40078000, 15512),
    (0x40080400, 3864)], 0x40080650, "12:52:02", coloured=True,
)  # fmt: skip
IDF_60_C3 = Loader(
    "esp32c3", "v6.0-dev-2079-g3655d4cdca", [(0x3FCD5820, 0x15C4), (0x403CBF10, 0xC64),
    (0x403CE710, 0x2FCC)], 0x403CBF1A, "Sep  9 2025 12:54:33", header3=0x2F,
)  # fmt: skip
IDF_61 = Loader(
    "esp32", "v6.1-dev-1308-ga999f2cfae6", [(0x3FFF0040, 6344), (0x40078000, 15900),
    (0x40080400, 3896)], 0x40080640,
)  # fmt: skip
IDF_61_C3 = Loader(
    "esp32c3", "v6.1-dev-1308-ga999f2cfae6", [(0x3FCD5830, 0x15A4), (0x403CBF10, 0xCC0),
    (0x403CE710, 0x2FEC)], 0x403CBF1A, header3=0x2F,
)  # fmt: skip
UNITY = Loader(
    "esp32", "v6.1-dev-2896-g65c723da6bf", [(0x3FFF0040, 6272), (0x40078000, 15848),
    (0x40080400, 3920)], 0x40080644, "Mar  2 2026 10:54:14",
)  # fmt: skip
UNITY_C3 = Loader(
    "esp32c3", "v6.1-dev-2896-g65c723da6bf", [(0x3FCD5830, 0x155C), (0x403CBF10, 0xCE0),
    (0x403CE710, 0x2FC0)], 0x403CBF1A, "Mar  2 2026 10:54:43", header3=0x2F,
)  # fmt: skip
PY_120 = Loader(
    "esp32", "v4.4.4", [(0x3FFF0030, 4656), (0x40078000, 13284), (0x40080400, 3712)], 0x4008064C,
    verbose=False, rollback=True, coloured=True,
)  # fmt: skip
PY_123 = replace(
    PY_120, idf="v5.0.4", segments=[(0x3FFF0030, 4728), (0x40078000, 14888), (0x40080400, 3368)],
    entry=0x400805CC,
)  # fmt: skip
PY_126 = replace(
    PY_120, idf="v5.4.2", segments=[(0x3FFF0030, 4112), (0x40078000, 15072), (0x40080400, 4),
    (0x40080404, 3332)], entry=0x400805AC, coloured=False,
)  # fmt: skip
PY_C3 = Loader(
    "esp32c3", "v5.2.2", [(0x3FCD5820, 0xF28), (0x403CC710, 0x944), (0x403CE710, 0x2B1C)],
    0x403CC710, verbose=False, rollback=True, coloured=True, header3=0x2F,
)  # fmt: skip

HELLO = App(
    "esp32",
    AppDesc("qa-test-v5.0.2-20230428-283-g96", "hello_world", "12:51:54", "Jun  8 2023",
            "v5.0.1-751-g96c4ec8df2", elf_sha256=elf("07562ee9c224bd53")),
    [(0x3F400020, 0x88FC), (0x3FFB0000, 0x1E7C), (0x40080000, 0x5870), (0x400D0020, 0x15D6C),
     (0x40085870, 0x619C)],
)  # fmt: skip
HELLO_C3 = App(
    "esp32c3",
    AppDesc("qa-test-esp32c61-master-2025070", "hello_world", "12:54:31", "Sep  9 2025",
            "v6.0-dev-2079-g3655d4cdca", elf_sha256=elf("02aa67666")),
    [(0x3C020020, 0x638C), (0x3FC89C00, 0x13A8), (0x40380000, 0x88B4), (0x42000020, 0x10308),
     (0x403888B4, 0x12D4), (0x50000000, 0x20)],
)  # fmt: skip
CRASHES = {"crash": {"when": "start", "how": "store"}}
HELLO_DUMPS = App(
    "esp32",
    AppDesc("v2.4.0-9-g57b37fb-dirty", "hello_world", "", "", "v6.1-dev-1308-ga999f2cfae6",
            elf_sha256=elf("31e5f6d2f")),
    [(0x3F400020, 0x8468), (0x3FFB0000, 0x294C), (0x40080000, 0x5234), (0x400D0020, 0xD0F8),
     (0x40085234, 0x5B30), (0x50000000, 0x28)],
    behaviour={**CRASHES, "coredump": "flash"},
)  # fmt: skip
HELLO_PANICS_C3 = App(
    "esp32c3",
    AppDesc("v2.4.0-10-g4e11fa1-dirty", "hello_world", "", "", "v6.1-dev-1308-ga999f2cfae6",
            elf_sha256=elf("a511d501e")),
    [(0x3C010020, 0x5CCC), (0x3FC89000, 0x1360), (0x40380000, 0x8ED8), (0x50000000, 0x24),
     (0, 0xB0), (0x42000020, 0xCDA4)],
    behaviour=CRASHES,
)  # fmt: skip
UNITY_APP = App(
    "esp32",
    AppDesc("v2.6.0-14-g0014c47-dirty", "unit_test_app_idf", "10:54:05", "Mar  2 2026",
            "v6.1-dev-2896-g65c723da6bf", elf_sha256=elf("b43d1e6ea")),
    [(0x3F400020, 0x8D18), (0x3FFB0000, 0x2AFC), (0x40080000, 0x47D4), (0x400D0020, 0xCE38),
     (0x400847D4, 0x6354), (0x50000000, 0x28)],
)  # fmt: skip
UNITY_APP_C3 = App(
    "esp32c3",
    AppDesc("v2.6.0-14-g0014c47-dirty", "unit_test_app_idf", "10:54:33", "Mar  2 2026",
            "v6.1-dev-2896-g65c723da6bf", elf_sha256=elf("564bea7c5")),
    [(0x3C020020, 0x82E8), (0x3FC89A00, 0x19C4), (0x40380000, 0x633C), (0x42000020, 0x10E54),
     (0x4038633C, 0x35B4), (0x50000000, 0x24)],
)  # fmt: skip
ONCE = {"crash": {"when": "start", "how": "store", "times": 1}}


def micropython(chip: str, idf: str, digits: str, *segments: tuple[int, int], **behaviour) -> App:
    """MicroPython logs nothing at its start."""
    places = (
        segments
        or {
            "esp32": ((0x3F400020, 0x8000), (0x3FFB0000, 0x1000), (0x400D0020, 0x10000)),
            "esp32c3": ((0x3C020020, 0x8000), (0x3FC89C00, 0x1000), (0x42000020, 0x10000)),
        }[chip]
    )
    desc = AppDesc("v1", "micropython", "", "", idf, elf_sha256=elf(digits))
    return App(chip, desc, list(places), verbose=False, behaviour=behaviour)


PY = micropython("esp32", "v5.0.4", "aa")
PY_APP_C3 = micropython("esp32c3", "v5.2.2", "aa")
INFO_NEW = micropython(
    "esp32", "v5.4.2", "bb", (0x3F400020, 0x3DDAC), (0x3FF80064, 0x1C), (0x3FFBDB60, 0x2220),
    (0x400D0020, 0x1386D0), (0x3FFBFD80, 0x35D4), (0x40080000, 0x1C9A8), (0x400C0000, 0x64),
)  # fmt: skip
INFO_OLD = micropython(
    "esp32", "v5.0.4", "aa", (0x3F400020, 0x3EE40), (0x3FF80063, 8), (0x3FFBDB60, 0x11A0),
    (0x400D0020, 0x134F7C), (0x3FFBED00, 0x4104), (0x40080000, 0x1F520), (0x400C0000, 0x64),
)  # fmt: skip
