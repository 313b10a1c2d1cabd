"""FHIR R4 as it is read: tolerant, typed, exact.

Every element is optional and unknown elements are skipped, because hospitals send resources that strict
models reject (https://hl7.org/fhir/R4/datatypes.html names the elements). Attribute names are FHIR's own.

Numbers: ``Quantity.value`` and its like are :class:`~decimal.Decimal`, made by msgspec from the source's
characters and never by way of a binary float: ``8.000000000000000001`` survives and ``1.10`` keeps its
digits. A number sent as a JSON string (``"1.10"``) is read as that number. ``1e400`` is read as a Decimal
but is further than any laboratory goes, and a string ``"NaN"`` is a Decimal that is no number: use
:func:`usable` before arithmetic. A bare ``NaN`` is not JSON and costs the resource (``MALFORMED_JSON``),
as a wrong type does (``WRONG_TYPE``). A resource with duplicate keys never gets
here: :mod:`adapter.mappers.soundness` refuses it, because every JSON parser would silently take the last.

What is decoded is a tree, so no struct here takes part in the search for cycles (``gc=False``).
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeVar

import msgspec
from msgspec import field

R = TypeVar("R", bound="Resource")
S = TypeVar("S", bound=msgspec.Struct)

_LARGEST_EXPONENT = 60
_LONGEST_NUMBER = 80


class Element(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What every datatype may carry."""

    id: str | None = None
    extension: tuple[Extension, ...] = ()


class Coding(Element, frozen=True, kw_only=True):
    system: str | None = None
    version: str | None = None
    code: str | None = None
    display: str | None = None
    userSelected: bool | None = None


class CodeableConcept(Element, frozen=True, kw_only=True):
    coding: tuple[Coding, ...] = ()
    text: str | None = None


class Identifier(Element, frozen=True, kw_only=True):
    use: str | None = None
    type: CodeableConcept | None = None
    system: str | None = None
    value: str | None = None


class Reference(Element, frozen=True, kw_only=True):
    """``display`` may be a person's name: read it only for organisations, and never into an issue."""

    reference: str | None = None
    type: str | None = None
    identifier: Identifier | None = None
    display: str | None = None


class Period(Element, frozen=True, kw_only=True):
    start: str | None = None
    end: str | None = None


class Quantity(Element, frozen=True, kw_only=True):
    """Quantity, SimpleQuantity, Age and Duration."""

    value: Decimal | None = None
    comparator: str | None = None
    unit: str | None = None
    system: str | None = None
    code: str | None = None


class Range(Element, frozen=True, kw_only=True):
    low: Quantity | None = None
    high: Quantity | None = None


class Ratio(Element, frozen=True, kw_only=True):
    numerator: Quantity | None = None
    denominator: Quantity | None = None


class TimingRepeat(Element, frozen=True, kw_only=True):
    boundsDuration: Quantity | None = None
    boundsRange: Range | None = None
    boundsPeriod: Period | None = None
    count: int | None = None
    duration: Decimal | None = None
    durationUnit: str | None = None
    frequency: int | None = None
    frequencyMax: int | None = None
    period: Decimal | None = None
    periodMax: Decimal | None = None
    periodUnit: str | None = None
    dayOfWeek: tuple[str, ...] = ()
    timeOfDay: tuple[str, ...] = ()
    when: tuple[str, ...] = ()


class Timing(Element, frozen=True, kw_only=True):
    event: tuple[str, ...] = ()
    repeat: TimingRepeat | None = None
    code: CodeableConcept | None = None


class DoseAndRate(Element, frozen=True, kw_only=True):
    type: CodeableConcept | None = None
    doseRange: Range | None = None
    doseQuantity: Quantity | None = None
    rateRatio: Ratio | None = None
    rateRange: Range | None = None
    rateQuantity: Quantity | None = None


class Dosage(Element, frozen=True, kw_only=True):
    sequence: int | None = None
    text: str | None = None
    patientInstruction: str | None = None
    timing: Timing | None = None
    asNeededBoolean: bool | None = None
    asNeededCodeableConcept: CodeableConcept | None = None
    site: CodeableConcept | None = None
    route: CodeableConcept | None = None
    method: CodeableConcept | None = None
    doseAndRate: tuple[DoseAndRate, ...] = ()
    dose: Quantity | None = None
    """MedicationAdministration.dosage.dose (a different backbone element with the same role)."""
    rateQuantity: Quantity | None = None


class Annotation(Element, frozen=True, kw_only=True):
    text: str | None = None
    time: str | None = None


class Extension(Element, frozen=True, kw_only=True):
    """An extension with the value types that any mapper reads."""

    url: str | None = None
    valueBoolean: bool | None = None
    valueCode: str | None = None
    valueString: str | None = None
    valueUri: str | None = None
    valueDate: str | None = None
    valueDateTime: str | None = None
    valueDecimal: Decimal | None = None
    valueInteger: int | None = None
    valueCoding: Coding | None = None
    valueCodeableConcept: CodeableConcept | None = None
    valueQuantity: Quantity | None = None
    valuePeriod: Period | None = None
    valueReference: Reference | None = None
    valueIdentifier: Identifier | None = None


class Meta(Element, frozen=True, kw_only=True):
    versionId: str | int | None = None
    lastUpdated: str | None = None
    source: str | None = None
    profile: tuple[str, ...] = ()
    tag: tuple[Coding, ...] = ()
    security: tuple[Coding, ...] = ()


class Resource(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What every resource may carry; ``contained`` stays undecoded until its owner asks."""

    resourceType: str = ""
    id: str | None = None
    meta: Meta | None = None
    implicitRules: str | None = None
    contained: tuple[msgspec.Raw, ...] = ()
    extension: tuple[Extension, ...] = ()
    modifierExtension: tuple[Extension, ...] = ()
    identifier: tuple[Identifier, ...] | Identifier = ()

    @property
    def identifiers(self) -> tuple[Identifier, ...]:
        """All business identifiers, for types that allow many and for those that allow one."""
        return (self.identifier,) if isinstance(self.identifier, Identifier) else self.identifier

    @property
    def reference(self) -> str:
        """``Type/id``, or ``Type/`` where the source gave no id."""
        return f"{self.resourceType}/{self.id or ''}"

    @property
    def version(self) -> str:
        """``meta.versionId``, else ``meta.lastUpdated``, else nothing."""
        if self.meta is None:
            return ""
        if self.meta.versionId is not None:
            return str(self.meta.versionId)
        return self.meta.lastUpdated or ""


class Head(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The part of any resource that says what it is."""

    resourceType: str | None = None
    id: str | None = None


class PatientLink(Element, frozen=True, kw_only=True):
    other: Reference | None = None
    type: str | None = None


class Patient(Resource, frozen=True, kw_only=True):
    """Without names, addresses and telecom: nobody here needs them, so nobody can leak them."""

    active: bool | None = None
    gender: str | None = None
    birthDate: str | None = None
    birthDate_: Element | None = field(default=None, name="_birthDate")
    deceasedBoolean: bool | None = None
    deceasedDateTime: str | None = None
    link: tuple[PatientLink, ...] = ()


class MedicationIngredient(Element, frozen=True, kw_only=True):
    itemCodeableConcept: CodeableConcept | None = None
    itemReference: Reference | None = None
    isActive: bool | None = None
    strength: Ratio | None = None


class Medication(Resource, frozen=True, kw_only=True):
    code: CodeableConcept | None = None
    status: str | None = None
    form: CodeableConcept | None = None
    ingredient: tuple[MedicationIngredient, ...] = ()


class SpecimenCollection(Element, frozen=True, kw_only=True):
    collectedDateTime: str | None = None
    collectedPeriod: Period | None = None
    duration: Quantity | None = None
    quantity: Quantity | None = None
    method: CodeableConcept | None = None
    bodySite: CodeableConcept | None = None


class Specimen(Resource, frozen=True, kw_only=True):
    accessionIdentifier: Identifier | None = None
    status: str | None = None
    type: CodeableConcept | None = None
    subject: Reference | None = None
    receivedTime: str | None = None
    collection: SpecimenCollection | None = None


class ObservationReferenceRange(Element, frozen=True, kw_only=True):
    low: Quantity | None = None
    high: Quantity | None = None
    type: CodeableConcept | None = None
    appliesTo: tuple[CodeableConcept, ...] = ()
    age: Range | None = None
    text: str | None = None


class Observation(Resource, frozen=True, kw_only=True):
    """A reading; its components are read as Observations that inherit what they do not say."""

    status: str | None = None
    category: tuple[CodeableConcept, ...] = ()
    code: CodeableConcept | None = None
    subject: Reference | None = None
    focus: tuple[Reference, ...] = ()
    effectiveDateTime: str | None = None
    effectivePeriod: Period | None = None
    effectiveInstant: str | None = None
    effectiveTiming: Timing | None = None
    issued: str | None = None
    performer: tuple[Reference, ...] = ()
    valueQuantity: Quantity | None = None
    valueCodeableConcept: CodeableConcept | None = None
    valueString: str | None = None
    valueBoolean: bool | None = None
    valueInteger: int | None = None
    valueRange: Range | None = None
    valueRatio: Ratio | None = None
    valueDateTime: str | None = None
    valuePeriod: Period | None = None
    valueTime: str | None = None
    valueSampledData: msgspec.Raw = msgspec.Raw(b"")
    dataAbsentReason: CodeableConcept | None = None
    interpretation: tuple[CodeableConcept, ...] | CodeableConcept = ()
    method: CodeableConcept | None = None
    specimen: Reference | None = None
    referenceRange: tuple[ObservationReferenceRange, ...] = ()
    hasMember: tuple[Reference, ...] = ()
    component: tuple[Observation, ...] = ()


class DiagnosticReport(Resource, frozen=True, kw_only=True):
    status: str | None = None
    category: tuple[CodeableConcept, ...] = ()
    code: CodeableConcept | None = None
    subject: Reference | None = None
    effectiveDateTime: str | None = None
    effectivePeriod: Period | None = None
    issued: str | None = None
    performer: tuple[Reference, ...] = ()
    specimen: tuple[Reference, ...] = ()
    result: tuple[Reference, ...] = ()
    conclusion: str | None = None
    conclusionCode: tuple[CodeableConcept, ...] = ()
    presentedForm: tuple[msgspec.Raw, ...] = ()


def usable(value: Decimal | None) -> Fraction | None:
    """The exact number, or None if it is absent, not finite, or of a size nobody measures.

    The bound keeps ``1E+999999999`` from being written out digit by digit.
    """
    if value is None or not value.is_finite():
        return None
    if value and abs(value.adjusted()) > _LARGEST_EXPONENT:
        return None
    if len(str(value)) > _LONGEST_NUMBER and len(value.as_tuple().digits) > _LONGEST_NUMBER:
        return None
    return Fraction(*value.as_integer_ratio())


_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {}
_UNTYPED: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float_hook=Decimal)
_REWRITE = msgspec.json.Encoder(decimal_format="number")


def decode(data: bytes | msgspec.Raw, wanted: type[R]) -> R:
    """Read one resource; ``null`` members and items, which FHIR forbids, count as absent.

    Raises ``msgspec.DecodeError`` (not JSON), its subclass ``msgspec.ValidationError`` (another type than
    FHIR's), ``UnicodeDecodeError`` (not UTF-8) or ``RecursionError`` (nested too deep).
    """
    return decode_struct(data, wanted)


def decode_struct(data: bytes | msgspec.Raw, wanted: type[S]) -> S:
    """:func:`decode` for any struct, such as the few elements that say what a resource is."""
    decoder = _DECODERS.get(wanted)
    if decoder is None:
        decoder = _DECODERS[wanted] = msgspec.json.Decoder(wanted)
    try:
        return decoder.decode(data)  # type: ignore[no-any-return]
    except msgspec.ValidationError:
        if b"null" not in bytes(data):
            raise
        pruned = _without_nulls(_UNTYPED.decode(data))
        return decoder.decode(_REWRITE.encode(pruned))  # type: ignore[no-any-return]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value if item is not None]
    return value


def display(concept: CodeableConcept | None) -> str:
    """The words of a concept: its text, else the first display, else nothing."""
    if concept is None:
        return ""
    return concept.text or next((coding.display for coding in concept.coding if coding.display), "")


def first_code(concept: CodeableConcept | None) -> str:
    """The first code there is, for value sets of which one binding is required (status and the like)."""
    if concept is None:
        return ""
    return next((coding.code for coding in concept.coding if coding.code), "")
