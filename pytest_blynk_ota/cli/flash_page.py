"""How ``blynk-ota flash explain`` looks on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pytest_blynk_ota.firmware.explain import AppSeen, Boot, Explanation
from pytest_blynk_ota.firmware.explain_reasons import Reason, reasons, state_text
from pytest_blynk_ota.firmware.explain_settings import Setting
from pytest_blynk_ota.firmware.otadata import ERASED, Entry
from pytest_blynk_ota.firmware.partitions import APP, DATA, Partition, PartitionTable

GOOD, BAD, QUIET, HEAD = "green", "red", "dim", "bold"
PLAIN_WIDTH = 200
"""Where the output is no terminal: log lines should not be wrapped for the next tool."""
KINDS = {
    (DATA, 0x00): "otadata",
    (DATA, 0x01): "phy",
    (DATA, 0x02): "nvs",
    (DATA, 0x03): "coredump",
    (DATA, 0x04): "nvs_keys",
    (DATA, 0x05): "efuse",
    (DATA, 0x81): "fat",
    (DATA, 0x82): "spiffs",
    (DATA, 0x83): "littlefs",
    (APP, 0x00): "factory",
    (APP, 0x20): "test",
}
"""Subtypes by their names in partition tables (gen_esp32part.py)."""


def page(name: str, explained: Explanation) -> str:
    """The page of one dump, in colour for a terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    with console.capture() as captured:
        for part in _page(name, explained):
            console.print(part, soft_wrap=isinstance(part, Text))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _page(name: str, explained: Explanation) -> Iterator[Text | Table]:
    yield _headline(name, explained)
    if explained.table is not None and explained.table.rows:
        yield Text()
        yield _partitions(explained, explained.table)
    if explained.first.entries is not None:
        yield Text()
        yield _otadata(explained.first.entries, explained)
    yield from _boot("This boot", explained.first, explained)
    if explained.first.loaded is not None:
        yield from _next(explained)
    yield from _other(explained)
    yield from _untouched(explained)
    for note in explained.notes:
        yield Text.assemble(("! ", "yellow"), note)


def _headline(name: str, explained: Explanation) -> Text:
    chip, idf = explained.chip, explained.idf
    state = "on" if explained.rollback.value else "off"
    anti = explained.secure_version
    facts = [
        _size(explained.size),
        f"{chip.value} ({chip.said_by})",
        f"ESP-IDF {idf}" if idf else "",
        f"rollback {state} ({_said_by(explained.rollback)})",
        f"table at 0x{explained.table_offset:x} {'with' if explained.has_md5 else 'without'} MD5",
        f"anti-rollback, eFuses at {anti.value} ({_said_by(anti)})" if anti else "",
    ]
    return Text.assemble((name, HEAD), "\n", (", ".join(fact for fact in facts if fact), QUIET))


def _said_by(setting: Setting) -> str:
    return setting.said_by if setting.known else f"not known: {setting.said_by}"


def _partitions(explained: Explanation, table: PartitionTable) -> Table:
    apps = {app.partition: app for app in explained.apps}
    grid = _grid("partition", "type", "offset", "size", "what stands there")
    for row in table.rows:
        app = apps.get(row)
        boots = row == explained.first.loaded
        found = _app(app) if app else Text()
        grid.add_row(
            Text(f"{row.label} <-" if boots else row.label, HEAD if boots else ""),
            Text(_kind(row)),
            f"0x{row.offset:x}",
            _size(row.size),
            found,
        )
    return grid


def _app(app: AppSeen) -> Text:
    """An application and whether it can be started, with the bootloader's own line."""
    what = []
    if app.desc is not None:
        version = app.tag.version if app.tag and app.tag.version else app.desc.version
        what.append(f"{app.desc.project} {version}")
        built = app.tag.build if app.tag else f"{app.desc.date} {app.desc.time}"
        what.append(f"built {built}" if built and built.strip() else "")
    if app.length is not None:
        what.append(_size(app.length))
    known = ", ".join(text for text in what if text)
    if app.problem is None:
        return Text.assemble(("good ", GOOD), known)
    if app.problem.what == "flash_read":
        return Text.assemble(("?    ", "yellow"), str(app.problem))
    return Text.assemble(("bad  ", BAD), str(app.problem), (f"  {known}" if known else "", QUIET))


def _otadata(entries: tuple[Entry, Entry], explained: Explanation) -> Table:
    grid = _grid("otadata", "number", "state", "CRC", "selects")
    decision = explained.first.decision
    for number, entry in enumerate(entries):
        if entry.seq == ERASED:
            grid.add_row(str(number), Text("-", QUIET), Text("erased", QUIET), "", "")
            continue
        crc = Text("right", GOOD) if entry.crc_ok else Text("wrong", BAD)
        style = HEAD if decision and decision.active == number else ""
        grid.add_row(
            Text(str(number), style),
            str(entry.seq),
            state_text(entry),
            crc,
            _selects(entry, explained),
        )
    return grid


def _selects(entry: Entry, explained: Explanation) -> str:
    slots = explained.table.ota_slots if explained.table else ()
    if not slots:
        return "no slots"
    index = entry.slot(len(slots))
    return next((row.label for row in slots if row.slot == index), f"slot {index}, not there")


def _boot(title: str, boot: Boot, explained: Explanation) -> Iterator[Text]:
    yield Text.assemble("\n", (f"{title}: ", HEAD), _outcome(boot))
    for reason in reasons(boot, explained.table_problem):
        yield _reason(reason)


def _reason(reason: Reason, indent: str = "  ") -> Text:
    return Text.assemble(indent, (f"[rule {reason.rule}] ", QUIET), reason.text)


def _outcome(boot: Boot) -> Text:
    if boot.loaded is None:
        return Text("nothing starts", f"{HEAD} {BAD}")
    return Text(f"{boot.loaded.label} at 0x{boot.loaded.offset:x}", f"{HEAD} {GOOD}")


def _next(explained: Explanation) -> Iterator[Text]:
    first, second = explained.first, explained.second
    same = first.loaded == second.loaded and second.after == second.before
    title = "Next boot, if it does not confirm itself"
    if same:
        yield Text.assemble("\n", (f"{title}: ", HEAD), "the same, and nothing is written")
        return
    yield from _boot(title, second, explained)


def _other(explained: Explanation) -> Iterator[Text]:
    """What the other rollback setting would do, where it is not known."""
    if explained.other is None:
        return
    mine, others = (explained.first, explained.second), explained.other
    state = "off" if explained.rollback.value else "on"
    if all(_ends_alike(boot, other) for boot, other in zip(mine, others, strict=True)):
        yield Text.assemble("\n", f"With rollback {state} it is the same, at both boots.")
        return
    yield Text(
        f"\nThe dump does not say whether the bootloader has rollback; with --rollback {state}:"
    )
    for title, boot in zip(("This boot", "Next boot"), others, strict=True):
        yield Text.assemble(f"  {title}: ", _outcome(boot))
        yield from (_reason(reason, "    ") for reason in reasons(boot, explained.table_problem))


def _ends_alike(boot: Boot, other: Boot) -> bool:
    return boot.loaded == other.loaded and boot.after == other.after


def _untouched(explained: Explanation) -> Iterator[Text]:
    table = explained.table
    rest = [row.label for row in (table.rows if table else ()) if row.type == DATA and row.subtype]
    if rest:
        yield Text(f"\nNot touched: {', '.join(rest)}.", QUIET)


def _grid(*columns: str) -> Table:
    grid = Table(box=None, padding=(0, 2, 0, 0), header_style=QUIET, pad_edge=False)
    for column in columns:
        grid.add_column(column, justify="right" if column in ("size", "number") else "left")
    return grid


def _kind(row: Partition) -> str:
    if row.slot is not None:
        return f"ota_{row.slot}"
    return KINDS.get((row.type, row.subtype), f"{row.type:02x} {row.subtype:02x}")


def _size(size: int) -> str:
    if size % (1 << 20) == 0:
        return f"{size >> 20} MB"
    return f"{size >> 10} KB" if size % 1024 == 0 else f"{size} bytes"
