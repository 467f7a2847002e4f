"""What a device took though its digest or its certificate said no."""

from __future__ import annotations

import dataclasses

import pytest
from tale import SIZE, UNDEFINED, Tale, entry, names

from pytest_blynk_ota.delivery import faults
from pytest_blynk_ota.delivery.kinds import DIGESTS, TLS_WAYS
from pytest_blynk_ota.marks import FINDINGS
from pytest_blynk_ota.rig.profiles import PROFILES
from pytest_blynk_ota.verdict import Outcome
from pytest_blynk_ota.verdict.again import judge_again
from pytest_blynk_ota.verdict.fault_kinds import (
    CERTIFICATES,
    SAME_DIGESTS,
    WRONG_DIGESTS,
    certificate_way,
    wrong_digests,
)
from pytest_blynk_ota.verdict.outcome import FINDINGS_SINCE, RULES

WRONG_MD5, WRONG_SHA = "digest how=wrong header=x-MD5", "digest how=wrong"
DIGEST = "digest not checked"


def whole_file(tale: Tale, *texts: str) -> Tale:
    """The whole file, in an answer with these faults."""
    tale.asks()
    for index, text in enumerate(texts):
        tale.fault(text, at=0, index=index)
    return tale.wait(2).gets(SIZE).ends("server", "complete", SIZE)


def taken(*texts: str, **profile: object) -> Tale:
    """New came with these faults in its answer, and runs."""
    tale = whole_file(Tale(op="offer", info=True, **profile).offered(), *texts)  # type: ignore[arg-type]
    return tale.lands("new").wait(1).comes_back("new").over()


@pytest.mark.parametrize("how", sorted(WRONG_DIGESTS))
def test_a_file_that_its_digest_denies_and_that_runs_was_not_checked(how):
    verdict = taken(f"digest how={how} header=x-MD5").judged()
    assert (verdict.outcome, names(verdict)) == (Outcome.UPGRADED, {DIGEST})


def test_another_digest_header_that_was_right_and_is_looked_at_makes_it_an_info():
    verdict = taken(WRONG_SHA, digests=["x-md5"]).judged()
    assert (names(verdict), DIGEST in names(verdict, "info")) == (set(), True)


@pytest.mark.parametrize(("texts", "digests"), [
    ((WRONG_SHA,), []),  # it looks at none
    ((WRONG_SHA, WRONG_MD5), ["x-md5"]),  # the one it looks at was wrong too
    ((WRONG_SHA, "drop_header name=x-MD5"), ["x-md5"]),  # or not there
    ((WRONG_SHA, "digest how=upper"), ["x-sha256"]),  # other letters are the same digest
    ((WRONG_SHA,), ["x-sha256", "x-md5"]),
])  # fmt: skip
def test_where_no_right_digest_guards_the_file_it_is_an_error(texts, digests):
    assert names(taken(*texts, digests=digests).judged()) == {DIGEST}


@pytest.mark.parametrize("texts", [
    (),
    ("digest how=upper header=x-MD5",),
    ("digest how=short header=x-MD5",),
    ("digest how=missing header=x-MD5",),
    (WRONG_MD5, "drop_header name=X-md5"),
    (WRONG_MD5, "double_header name=x-MD5"),
    (WRONG_MD5, "digest how=quoted header=x-MD5"),
])  # fmt: skip
def test_a_header_that_may_not_have_said_another_digest_proves_nothing(texts):
    assert names(taken(*texts).judged()) == set()


def test_a_file_that_is_refused_for_its_digest_is_no_finding():
    tale = whole_file(Tale(op="offer", info=True).offered(), WRONG_MD5).wait(1)
    verdict = tale.comes_back("old").over().judged()
    assert (verdict.outcome, names(verdict)) == (Outcome.REJECTED, set())


def test_a_wrong_digest_of_a_try_before_the_one_that_was_taken_proves_nothing():
    tale = whole_file(Tale(info=True).offered(), WRONG_MD5).wait(1).comes_back("old")
    tale.offered().downloads().comes_back("new").closed("success").over()
    assert names(tale.judged()) == set()


def test_a_part_with_a_right_digest_proves_nothing_about_the_wrong_one_before():
    tale = Tale(op="offer", info=True).offered().asks().fault(WRONG_MD5, at=0).wait(1)
    tale.gets(SIZE // 2).ends("server", "fin", SIZE // 2)
    tale.asks(206, again=True, part=(SIZE // 2, SIZE, SIZE)).wait(1).gets(SIZE // 2)
    tale.ends("server", "complete", SIZE // 2, announced=SIZE // 2).lands("new").wait(1)
    verdict = tale.comes_back("new").over().judged()
    assert (verdict.outcome, names(verdict)) == (Outcome.UPGRADED, set())


def under(text: str, *, asks: bool = True) -> Tale:
    """A connection on which this fault fired, and a request on it unless the device left."""
    tale = Tale(op="offer", info=True).offered().knocks()
    tale.add("delivery", "fault", None, conn=tale.conn, index=0, fault=text, at=None, phase="fired",
             offer=None, attempt=None)  # fmt: skip
    if not asks:
        return tale.fails("the device refused the certificate").wait(12).logs_in().wait(12).over()
    tale.attempt += 1
    tale._deliver("request", method="GET", path="/f/new.bin", range=None).wait(0.1)
    tale._deliver("response", status=200, announced=SIZE).wait(2).gets(SIZE)
    return tale.ends("server", "complete", SIZE).lands("new").wait(1).comes_back("new").over()


@pytest.mark.parametrize(("how", "name", "severity"), [
    ("unknown-ca", "certificate not checked", "error"),
    ("self-signed", "certificate not checked", "error"),
    ("wrong-name", "certificate host not checked", "error"),
    ("expired", "certificate date not checked", "warn"),
    ("not-yet-valid", "certificate date not checked", "warn"),
])  # fmt: skip
def test_a_request_under_a_wrong_certificate_says_what_was_not_checked(how, name, severity):
    verdict = under(f"tls how={how}").judged()
    assert verdict.outcome is Outcome.UPGRADED
    assert name in names(verdict, severity)
    assert {one for one in names(verdict) if one.startswith("certificate")} <= {name}


def test_a_device_that_leaves_a_wrong_certificate_is_no_finding():
    verdict = under("tls how=unknown-ca", asks=False).judged()
    assert (verdict.outcome, names(verdict)) == (Outcome.DOWNLOAD_FAILED, set())


def test_tls_that_is_wrong_in_another_way_says_nothing_about_certificates():
    others = [how for how in TLS_WAYS if how not in CERTIFICATES]
    assert [certificate_way(str(faults.tls(how))) for how in others] == [""] * len(others)


def test_the_texts_that_are_read_are_those_that_the_faults_have():
    assert {how for how in CERTIFICATES if certificate_way(str(faults.tls(how))) == how} == set(
        CERTIFICATES
    )
    for header in ("X-SHA256", "x-MD5"):
        denied = {how for how in DIGESTS if wrong_digests([str(faults.digest(how, header))])}
        assert denied == WRONG_DIGESTS
        for how in SAME_DIGESTS:
            both = [str(faults.digest("wrong", header)), str(faults.digest(how, header))]
            assert wrong_digests(both) == {header.lower()}
    doubled = [str(faults.digest("wrong", "x-MD5")), str(faults.double_header("x-MD5"))]
    assert wrong_digests(doubled) == frozenset()


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_a_profile_that_looks_at_no_digest_is_known_for_it(name):
    profile = PROFILES[name]
    assert (DIGEST in profile.known) == (profile.digests == ())
    assert set(profile.known) <= set(FINDINGS)


def test_each_finding_of_a_later_version_is_one_that_there_is():
    assert max(FINDINGS_SINCE) == RULES
    assert frozenset().union(*FINDINGS_SINCE.values()) <= set(FINDINGS)


def stored_by(rules: int | None, tale: Tale) -> dict[str, object]:
    """The verdict as a judge that knew no such finding has stored it."""
    verdict = dataclasses.replace(tale.judged(), findings=())
    row = verdict.to_json() | {"operation": 1}
    return {key: value for key, value in row.items() if key != "rules"} | (
        {"rules": rules} if rules is not None else {}
    )


def test_a_finding_that_came_later_is_named_and_no_difference():
    tale = taken(WRONG_MD5)
    (again,) = judge_again(tale.events, [stored_by(None, tale)], ended=True)
    assert (again.same, again.later) == (True, (DIGEST,))
    assert names(tale.judged()) == {DIGEST}


@pytest.mark.parametrize("rules", [RULES, RULES + 1, 0, "1", True])
def test_a_finding_that_was_looked_for_and_is_not_stored_is_a_difference(rules):
    tale = taken(WRONG_MD5)
    (again,) = judge_again(tale.events, [stored_by(rules, tale)], ended=True)
    assert (again.same, again.later) == (False, ())
    assert "findings" in again.differs


def test_any_other_finding_that_an_older_verdict_lacks_is_a_difference():
    tale = taken(WRONG_MD5).flash("app1", otadata=[entry(1), entry(2, UNDEFINED)])
    assert "no rollback protection" in names(tale.judged())
    (again,) = judge_again(tale.events, [stored_by(None, tale)], ended=True)
    assert not again.same
    assert again.later == (DIGEST,)
