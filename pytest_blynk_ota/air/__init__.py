"""What Blynk.Air would show, and when it sends a URL. Pure: no sockets, no clock.

=========  =================================================================
status     the twelve statuses, and which of them end a shipment
versions   what devices and images call themselves; what is compared
rules      a shipment's options, checked; what the documents leave open
table      the transitions and the gates, each with its source
machine    one device in one shipment
follow     the machine on evidence: the judge's, and that of a running one
fleet      one shipment to many devices
=========  =================================================================
"""

from pytest_blynk_ota.air.fleet import Fleet, Target
from pytest_blynk_ota.air.follow import Follower, air_history, air_status, is_whole_file
from pytest_blynk_ota.air.machine import Shipment
from pytest_blynk_ota.air.rules import AirRules
from pytest_blynk_ota.air.status import CLOSED, AirStatus
from pytest_blynk_ota.air.versions import Named, names

__all__ = [
    "CLOSED",
    "AirRules",
    "AirStatus",
    "Fleet",
    "Follower",
    "Named",
    "Shipment",
    "Target",
    "air_history",
    "air_status",
    "is_whole_file",
    "names",
]
