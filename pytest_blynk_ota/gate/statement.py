"""What is attested: in-toto Statements v1, a test result for each run and a summary of the gate.

Types: https://in-toto.io/Statement/v1, https://in-toto.io/attestation/test-result/v0.1 and
https://in-toto.io/attestation/svr/v0.2 (in-toto attestation framework 1.2). What they do not have
is in fields of our own, which begin with ``blynkOta``. Pure.

A statement is read strictly. in-toto lets a reader pass over fields that it does not know; one
that decides on a release had better not.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pytest_blynk_ota.evidence.event import shown
from pytest_blynk_ota.gate.envelope import canonical, strict_json

STATEMENT = "https://in-toto.io/Statement/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
SUMMARY = "https://in-toto.io/attestation/svr/v0.2"
PASSED = "BLYNKOTA_GATE"
"""The property of each summary: the gate let this binary pass by the policy named there."""
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1, max_length=4096)]
TIME = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"
Time = Annotated[str, Field(pattern=TIME)]
"""RFC 3339 in UTC, as in-toto's Timestamp."""
VERIFIER = "^pkg:pypi/pytest-blynk-ota@[0-9A-Za-z.+!-]+$"
Count = Annotated[int, Field(ge=0)]


class Strict(BaseModel):
    """No unknown field, no converted value."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Digest(Strict):
    """A DigestSet with the one algorithm that is used here."""

    sha256: Sha256


class TiedBy(Strict):
    """In how many tests what ran was told to be the subject, by witnesses that cannot be talked
    into it. Two zeros: nothing but the firmware's word ties the subject to what ran.

    Attributes:
        slot: the slot that was booted held it, by its hash read back over the loader.
        elf: at boot or in a panic the hash of its ELF file was printed, which no other image of
            the test has.
    """

    slot: Count
    elf: Count


class SubjectNotes(Strict):
    """What is said of the subject.

    Attributes:
        tied_by: what ties it to what ran.
        derived_from: the image that it was made from; it does not pass for that one.
        stand_ins: images derived from it whose evidence the policy let count for it.
    """

    tied_by: TiedBy = Field(alias="blynkOtaTiedBy")
    derived_from: Sha256 | None = Field(None, alias="blynkOtaDerivedFrom")
    stand_ins: list[Sha256] | None = Field(None, alias="blynkOtaStandIns", min_length=1)


class Binary(Strict):
    """The subject: one binary, by the SHA-256 of its file."""

    name: Text
    digest: Digest
    annotations: SubjectNotes


class RigNotes(Strict):
    """Which rig, and what its boards are made of by what they say themselves."""

    rig: Text = Field(alias="blynkOtaRig")
    kind: Text = Field(alias="blynkOtaKind")


class RigFile(Strict):
    """The rig; ``uri`` instead of a digest where the digest of its file is not on record."""

    name: Literal["rig"]
    digest: Digest | None = None
    uri: Text | None = None
    annotations: RigNotes

    @model_validator(mode="after")
    def _one_of_them(self) -> RigFile:
        if (self.digest is None) == (self.uri is None):
            raise ValueError("expected either digest or uri")
        return self


class PolicyFile(Strict):
    """The policy."""

    name: Literal["policy"]
    digest: Digest


class RunNotes(Strict):
    """Which run, when (ISO 8601, as run.json has it), and what the subject was in it."""

    run: Text = Field(alias="blynkOtaRun")
    started: Text = Field(alias="blynkOtaStarted")
    finished: Text = Field(alias="blynkOtaFinished")
    roles: list[Literal["new", "old"]] = Field(alias="blynkOtaAs", min_length=1, max_length=2)


class Evidence(Strict):
    """The manifest of the run's evidence, which has the digest of each of its files."""

    name: Literal["evidence"]
    digest: Digest
    annotations: RunNotes


class TestResults(Strict):
    """What the tests of one run came to."""

    __test__ = False

    result: Literal["PASSED", "WARNED", "FAILED"]
    configuration: tuple[RigFile, PolicyFile, Evidence] = Field(strict=False)
    passed: list[Text] = Field(alias="passedTests")
    warned: list[Text] = Field(alias="warnedTests")
    failed: list[Text] = Field(alias="failedTests")

    @property
    def rig(self) -> RigFile:
        """The rig."""
        return self.configuration[0]

    @property
    def policy(self) -> PolicyFile:
        """The policy."""
        return self.configuration[1]

    @property
    def evidence(self) -> Evidence:
        """The evidence."""
        return self.configuration[2]


class Verifier(Strict):
    """Who decided, in which version, by which policy."""

    id: Annotated[str, Field(pattern=VERIFIER)]
    policies: list[PolicyFile] = Field(min_length=1, max_length=1)


class Input(Strict):
    """A statement that the summary rests on, by the SHA-256 of its text."""

    name: Literal["test-result"]
    digest: Digest


class Summary(Strict):
    """That the gate let the subject pass."""

    verifier: Verifier
    time: Time = Field(alias="timeCreated")
    properties: list[Text] = Field(min_length=1)
    inputs: list[Input] = Field(alias="blynkOtaInputs", min_length=1)

    @property
    def policy(self) -> PolicyFile:
        """The policy."""
        return self.verifier.policies[0]

    @model_validator(mode="after")
    def _passed(self) -> Summary:
        if PASSED not in self.properties:
            raise ValueError(f"expected {PASSED} among the properties")
        return self


class _Statement(Strict):
    type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: list[Binary] = Field(min_length=1, max_length=1)

    @property
    def binary(self) -> Binary:
        """Its one subject."""
        return self.subject[0]

    def text(self) -> bytes:
        """The statement as it is signed: JSON in one form."""
        return canonical(self.model_dump(by_alias=True, exclude_none=True))


class TestResultStatement(_Statement):
    """The test result of one run."""

    __test__ = False

    predicate_type: Literal["https://in-toto.io/attestation/test-result/v0.1"] = Field(
        alias="predicateType"
    )
    predicate: TestResults


class SummaryStatement(_Statement):
    """The gate's pass."""

    predicate_type: Literal["https://in-toto.io/attestation/svr/v0.2"] = Field(
        alias="predicateType"
    )
    predicate: Summary


Statement = TestResultStatement | SummaryStatement
KINDS: dict[str, type[TestResultStatement] | type[SummaryStatement]] = {
    TEST_RESULT: TestResultStatement,
    SUMMARY: SummaryStatement,
}


def parsed(text: bytes) -> Statement:
    """A statement, from the text that was signed.

    Raises:
        ValueError: it is none of ours, or was written in another way; in words.
    """
    row = strict_json(text)
    kind = row.get("predicateType") if isinstance(row, dict) else None
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise ValueError(f"predicateType: expected {' or '.join(KINDS)}, got {shown(kind)}")
    try:
        found = model.model_validate(row)
    except ValidationError as error:
        raise ValueError(_first(error)) from None
    if found.text() != text:
        raise ValueError("it was written in another way than statements are here")
    return found


def _first(error: ValidationError) -> str:
    one: Any = error.errors(include_url=False, include_input=True)[0]
    place = ".".join(str(part) for part in one["loc"])
    return f"{place}: {one['msg']}, got {shown(one['input'])}"
