"""Why a link cannot be shaped: what ``tc`` and ``ip`` say, in words that help. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pytest_blynk_ota.rig.network.commands import Command

MODULES = {"htb": "sch_htb", "netem": "sch_netem", "pfifo": "sch_fifo", "ingress": "sch_ingress"}
"""The kernel's modules by the words of command lines."""

NO_PRIVILEGE = (
    "{tool} may not change interface {device}: it takes root (CAP_NET_ADMIN); run pytest as root, "
    'or put [network] prefix = ["sudo", "-n"] into the rig file'
)
NO_MODULE = (
    "the kernel has no {module}: on Debian it comes with the package linux-image-amd64, on OpenWrt "
    "with kmod-netem; kernels of containers and small VMs are often built without"
)

ROWS: Sequence[tuple[str, str]] = (
    (r"Operation not permitted|a password is required|must be root", NO_PRIVILEGE),
    (r"qdisc kind is unknown", NO_MODULE),
    (r"Unknown device type", "the kernel has no ifb, which holding back what boards send takes"),
    (r"TC classifier not found", "the kernel has no cls_u32"),
    (r"[Ff]ailed to load TC action|TC action module", "the kernel has no act_mirred"),
    (
        r"cannot mix duplicating",
        "the kernel holds nothing else back on {device} where packets are duplicated: duplicate in "
        "one direction, and in one run at a time",
    ),
    (r"Cannot find device|does not exist", "there is no interface {device}"),
    (r"No such file or directory|not found", "there is no {tool} here (Debian: package iproute2)"),
)
"""What they say (iproute2 6.1, Linux 6.x), and what that means."""


def reason(command: Command, said: str) -> str | None:
    """Why a command that failed cannot work here; None: it could, and went wrong."""
    for pattern, text in ROWS:
        if re.search(pattern, said):
            return text.format(tool=command[0], device=device(command), module=_module(command))
    return None


def device(command: Command) -> str:
    """The device that a command line is about."""
    for key in ("dev", "name"):
        if key in command:
            return command[command.index(key) + 1]
    return "?"


def _module(command: Command) -> str:
    return next((MODULES[word] for word in command if word in MODULES), "queueing discipline")
