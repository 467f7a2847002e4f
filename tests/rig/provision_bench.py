"""A rig of one virtual board, brought to Old in this process: how it learns its settings."""

from contextlib import contextmanager

from pytest_blynk_ota.restore import await_settled, restore
from pytest_blynk_ota.session import Options, Session

RIG = """[rig]
name = "bench"
speed = 20

[[board]]
name = "a"
chip = "esp32c3"
port = "virtual"
"""


@contextmanager
def opened(folder, board, more="", old=None, new=None):
    """A session on the rig file of this board; ``board`` is what the file says of it.

    Args:
        more: tables of the rig file behind it.
        old, new: firmware files.
    """
    path = folder / "bench.toml"
    path.write_text(f"{RIG}{board}\n{more}")
    run = folder / "run"
    run.mkdir(exist_ok=True)
    options = Options(root=folder, rig=str(path), board=None, old=old, new=new)
    session = Session(options, lambda: run)
    try:
        yield session
    finally:
        session.close()


def brought(session):
    """The board, reset into Old and told its settings."""
    place = session.place("a")
    restore(session.rig, place, session.firmware(place.config))
    return place


def logs_in(session):
    """Old comes to our cloud and stays. Raises OldNotSettled."""
    timeline = session.recorder.timeline
    cursor = timeline.cursor
    place = brought(session)
    firmware = session.firmware(place.config)
    await_settled(session.rig, place, firmware.old, after=cursor, settle_s=1.0)
    return place


def written(session):
    """All events, as evidence has them."""
    return str([event.to_json() for event in session.recorder.timeline.events()])
