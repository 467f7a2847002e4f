"""A device on paper, driven in front of the machine of one shipment."""

from __future__ import annotations

from pytest_blynk_ota.air import AirRules, Named, Shipment

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
OLD = Named("1.0.0", "Nov 2 2026 09:14:05", "TMPL", "1.3.2")
NEW = Named("2.0.0", "Nov 23 2026 17:29:49", "TMPL", "1.4.0")


class Device:
    """Its verbs are what it does; ``air`` is what Air makes of it. The keywords are the rules."""

    def __init__(self, **rules) -> None:
        made = AirRules(**rules)
        self.now = made.starts(1_795_000_000.0)
        self.air = Shipment(NEW, made, board="a", now=self.now)
        self.session = self.attempt = 0

    def later(self, seconds: float) -> Device:
        self.now += seconds
        self.air.advance(self.now)
        return self

    def logs_in(self, runs: Named) -> Device:
        self.session += 1
        self.air.on_login(self.session, runs, self.now)
        return self

    def leaves(self) -> Device:
        self.air.on_gone(self.session, self.now)
        return self

    def is_sent(self) -> Device:
        assert self.air.wants_url
        self.air.on_sent(self.session, self.now)
        return self

    def gets(self, *, whole: bool = False) -> Device:
        self.attempt += 1
        self.air.on_get(self.attempt, self.now)
        if whole:
            self.air.on_whole(self.now)
        return self

    def takes(self, *, whole: bool = False) -> Device:
        """Login on Old, the URL, a download: whole or without an end."""
        return self.logs_in(OLD).is_sent().gets(whole=whole)
