"""Which tenant of a port a caller is for."""

import pytest

from pytest_blynk_ota.rig.ports.first import NOTHING, Told
from pytest_blynk_ota.rig.ports.tenants import ALONE, TURN, Tenant, choose, has_seen, hashed

HERE, THERE = "10.0.0.1", "10.0.0.2"


def tenant(number: int, *, token: str = "", **what) -> Tenant:
    tokens = {hashed(token)} if token else set()
    return Tenant(number, is_open=what.pop("is_open", True), tokens=tokens, **what)


def chosen(tenants, told=NOTHING, address=HERE, turn=0):
    choice = choose(tenants, told, address, turn)
    return None if choice is None else (choice.tenant.number, choice.by)


def test_without_a_tenant_nobody_gets_it():
    assert chosen([]) is None


def test_who_is_alone_gets_everybody():
    assert chosen([tenant(1, token="a")], Told(True, token="b")) == (1, ALONE)


@pytest.mark.parametrize(
    ("mine", "told", "by"),
    [
        (tenant(2, token="t"), Told(True, token="t"), "token"),
        (tenant(2, addresses={HERE}), NOTHING, "address"),
        (tenant(2, names={"b.rig.test"}), Told(True, name="b.rig.test"), "name"),
        (tenant(2, seen={HERE}), NOTHING, "seen"),
    ],
)
def test_a_caller_goes_to_the_one_that_knows_it(mine, told, by):
    others = [tenant(1, token="u", addresses={THERE}, names={"a.rig.test"}, seen={THERE})]
    assert chosen([*others, mine], told) == (2, by)
    assert chosen([mine, *others], told) == (2, by)


def test_a_token_goes_before_an_address_that_was_somebody_elses():
    tenants = [tenant(1, addresses={HERE}), tenant(2, token="t")]
    assert chosen(tenants, Told(True, token="t")) == (2, "token")


def test_a_token_that_two_have_is_told_apart_by_the_address():
    tenants = [tenant(1, token="t"), tenant(2, token="t", addresses={HERE}), tenant(3)]
    assert chosen(tenants, Told(True, token="t")) == (2, "address")


def test_an_address_that_two_have_decides_nothing_but_leaves_the_others_out():
    tenants = [tenant(1), tenant(2, addresses={HERE}), tenant(3, addresses={HERE})]
    assert [chosen(tenants, turn=turn) for turn in range(3)] == [(2, TURN), (3, TURN), (2, TURN)]


def test_about_whom_nothing_is_known_goes_by_turns_to_those_who_take_callers():
    tenants = [tenant(1, is_open=False), tenant(2), tenant(3)]
    assert [chosen(tenants, turn=turn) for turn in range(3)] == [(2, TURN), (3, TURN), (2, TURN)]
    assert choose(tenants, NOTHING, HERE, 0).is_sure is False


def test_who_is_known_gets_its_callers_though_it_takes_none():
    tenants = [tenant(1, token="t", is_open=False), tenant(2)]
    assert chosen(tenants, Told(True, token="t")) == (1, "token")


def test_an_address_is_of_the_board_that_logged_in_last():
    tenants = [tenant(1, seen={HERE}), tenant(2)]
    has_seen(tenants, tenants[1], HERE)
    assert chosen(tenants) == (2, "seen")
