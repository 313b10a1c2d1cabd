"""One small engine for every ladder: replay the whole history, in the order in which samples were taken.

Nothing is remembered between two calls, so a result that comes late, out of order or corrected gives the
states it would have given in its place; what that changed is in :mod:`adapter.protocol.ladder_history`.
"""

from __future__ import annotations

from datetime import date

from adapter.model.dates import counted
from adapter.model.decision import Evidence
from adapter.model.kleene import Truth
from adapter.model.ladder import Ladder, Measure, State, Transition
from adapter.model.monitoring import LadderState, LadderStep
from adapter.protocol.conditions import outcome_of
from adapter.protocol.context import Context
from adapter.protocol.ladder_days import Named, Reviewed, named_day, reviewed
from adapter.protocol.ladder_dose import Dose, dose_after, dose_before
from adapter.protocol.ladder_rounds import Round, Value, compare, evidence_for, rounds_of, worst_of
from adapter.protocol.ladder_trigger import Entry, Fired, pull
from adapter.protocol.outcome import merge_evidence, unique
from adapter.protocol.readings import collect, evidence_of, wanted


def replay(ladder: Ladder, context: Context) -> LadderState:
    """Where the ladder stands on the as-of day, by everything known now, with every step it took."""
    if context.subject.excluded:
        return LadderState(
            ladder.id,
            ladder.start.id,
            flags=("REVIEW", context.subject.excluded),
            settles=("one surviving patient record",),
        )
    for_whom = outcome_of(ladder.when, context) if ladder.when is not None else None
    if for_whom is not None and for_whom.truth is not Truth.TRUE:
        known = for_whom.truth is Truth.FALSE
        flags = ("NOT_APPLICABLE",) if known else for_whom.flags
        return LadderState(ladder.id, ladder.start.id, flags=flags, settles=() if known else for_whom.needs)
    return _Climb(ladder, context).run()


class _Climb:
    """One replay. What it holds is what has happened since the ladder began and since the last move."""

    def __init__(self, ladder: Ladder, context: Context) -> None:
        self.ladder = ladder
        self.context = context
        self.state: State = ladder.start
        self.entry: Entry | None = None
        self.seen: tuple[Round, ...] = ()
        self.steps: list[LadderStep] = []
        self.dose: Dose | None = None
        self.entry_flags: tuple[str, ...] = ()
        self.alerts: tuple[str, ...] = ()
        self.latest: tuple[str, ...] = ()
        self.needs: tuple[str, ...] = ()
        self.answered = False
        self.looked_at: tuple[Round, Fired | None] | None = None
        begin = context.resolve(ladder.begin) if ladder.begin is not None else None
        self.begun = begin.day if begin is not None else None

    def run(self) -> LadderState:
        main = rounds_of(self.ladder.measure, self.context)
        by_day = {found.day: found for found in main.rounds}
        watched = {
            alert.measure.name: {found.day: found for found in rounds_of(alert.measure, self.context).rounds}
            for alert in self.ladder.alerts
        }
        days = sorted({*by_day, *(day for rounds in watched.values() for day in rounds)})
        for day in days:
            self._follow_calendar(day)
            if self.state.terminal:
                break
            self._see(by_day.get(day, Round(day)), {name: days.get(day) for name, days in watched.items()})
        self._follow_calendar(self.context.as_of.last)
        return self._stand(main.flags, main.needs, any(found.values for found in main.rounds))

    # --- the calendar -------------------------------------------------------------------------------------

    @property
    def entered(self) -> date | None:
        return self.begun if self.entry is None else self.entry.day

    def _next_by_calendar(self) -> tuple[date, Transition] | None:
        """The first of the ways that are taken by the calendar, with its day."""
        if self.entered is None:
            return None
        entered = self.entered
        ways = [(way.after.after(entered), way) for way in self.state.next if way.after is not None]
        return min(ways, key=lambda pair: pair[0], default=None)

    def _follow_calendar(self, until: date) -> None:
        """Take every step whose day has come, before anything that was measured on that day."""
        while (found := self._next_by_calendar()) is not None and found[0] <= until:
            day, way = found
            said = f"{_length(way)} after {self.entered}"
            self._move(way, Fired(way, said), Round(day), Reviewed(answers=False), (), ())

    # --- one day ------------------------------------------------------------------------------------------

    def _see(self, found: Round, watched: dict[str, Round | None]) -> None:
        alerts, shown = self._alerts(watched)
        if not found.values:
            self.looked_at = found, None
            self._see_nothing_usable(found, alerts, shown)
            return
        review = self._review(found.day)
        ways = [way for way in self.state.next if not way.after and review.admits(way.trigger.timing)]
        fired = pull(ways, found, self.ladder.measure, self.entry, self.seen, self._named(found.day))
        self.looked_at = found, fired
        if fired.way is not None:
            self._move(fired.way, fired, found, review, alerts, shown)
        else:
            self._stay(fired, found, review, alerts, shown)

    def _move(
        self,
        way: Transition,
        fired: Fired,
        found: Round,
        review: Reviewed,
        alerts: tuple[str, ...],
        shown: tuple[Evidence, ...],
    ) -> None:
        target = self.ladder.state(way.target)
        beside, beside_flags = self._companion(found.day, self.state.review is not None and review.answers)
        late = (self.state.overdue.late_flag,) if review.late and self.state.overdue.late_flag else ()
        dose, dose_text, dose_flags, dose_evidence = self._dose(target, found.day)
        assumed = () if not review.answers else review.assumed
        flags = unique(
            (*way.flags, *late, *fired.flags, *assumed, *alerts, *beside_flags, *dose_flags, *_unused(found))
        )
        self.steps.append(
            LadderStep(
                source=self.state.id,
                target=target.id,
                on=found.day,
                trigger=fired.said,
                action=target.action,
                dose=dose_text,
                flags=flags,
                evidence=merge_evidence(
                    (
                        _evidence(found, fired.said, self.ladder.measure),
                        fired.evidence,
                        review.evidence,
                        dose_evidence,
                        beside,
                        shown,
                    )
                ),
            )
        )
        self.state, self.dose = target, dose
        self.entry = Entry(found.day, found, way.trigger.bounds)
        self.seen, self.entry_flags, self.alerts = (), flags, alerts
        self.latest, self.needs, self.answered = (), (), False

    def _stay(
        self,
        fired: Fired,
        found: Round,
        review: Reviewed,
        alerts: tuple[str, ...],
        shown: tuple[Evidence, ...],
    ) -> None:
        stored = self.state.review is not None
        waits, flags, needs = "", fired.flags, fired.needs
        if stored and not review.answers:
            waits = f"{worst_of(found.values, self.ladder.measure).said}, {review.place}: stored, no step"
        elif stored and not fired.unknown:
            otherwise = self.state.otherwise
            flags = (*flags, *otherwise.flags)
            needs = (otherwise.settles,) if otherwise.settles else ()
            self.answered = True
        self.seen = (*self.seen, found)
        self.alerts = unique((*self.alerts, *alerts))
        self.latest, self.needs = unique((*flags, *_unused(found))), needs
        if stored or flags or alerts or needs or found.unusable:
            beside, beside_flags = self._companion(found.day, False)
            said = waits or fired.said
            self._store(
                found,
                said or worst_of(found.values, self.ladder.measure).said,
                unique((*flags, *alerts, *beside_flags, *_unused(found))),
                (_evidence(found, said, self.ladder.measure), beside, shown),
            )

    def _see_nothing_usable(self, found: Round, alerts: tuple[str, ...], shown: tuple[Evidence, ...]) -> None:
        flags = _unused(found)
        if flags:
            self.latest = flags
            self.needs = (f"a usable reading of {self.ladder.measure.selection.label} of {found.day}",)
        self.alerts = unique((*self.alerts, *alerts))
        if flags or alerts:
            said = "no usable reading" if flags else "an alert beside the measure"
            self._store(
                found, said, unique((*flags, *alerts)), (_evidence(found, "", self.ladder.measure), shown)
            )

    def _store(
        self, found: Round, said: str, flags: tuple[str, ...], evidence: tuple[tuple[Evidence, ...], ...]
    ) -> None:
        """A result that moves nothing is shown as a step from a state to itself."""
        self.steps.append(
            LadderStep(
                source=self.state.id,
                target=self.state.id,
                on=found.day,
                trigger=said,
                flags=flags,
                evidence=merge_evidence(evidence),
            )
        )

    # --- what stands beside a day ---------------------------------------------------------------------------

    def _named(self, day: date) -> dict[str, Named]:
        if self.entry is None:
            return {}
        return {rule.name: named_day(rule, self.entry.day, day, self.context) for rule in self.state.days}

    def _review(self, day: date) -> Reviewed:
        return reviewed(self.state, None if self.entry is None else self.entry.day, day, self._named(day))

    def _alerts(self, watched: dict[str, Round | None]) -> tuple[tuple[str, ...], tuple[Evidence, ...]]:
        names: list[str] = []
        shown: list[Evidence] = []
        for alert in self.ladder.alerts:
            found = watched.get(alert.measure.name)
            if found is None or not found.values or (alert.states and self.state.id not in alert.states):
                continue
            compared = compare(found.values, False, alert.bounds, alert.measure)
            if compared.truth is Truth.TRUE:
                names.append(alert.name)
                shown += evidence_for(worst_of(found.values, alert.measure), compared.said)
        return tuple(names), tuple(shown)

    def _companion(self, day: date, wanted_here: bool) -> tuple[tuple[Evidence, ...], tuple[str, ...]]:
        rule = self.ladder.companion
        if rule is None:
            return (), ()
        rows = [
            row
            for row in collect(rule.selection, self.context).valid
            if row.when is not None and row.when.day is not None and row.value is not None
            if 0 <= (day - row.when.day).days <= rule.look_back
        ]
        if not rows:
            return (), (rule.missing,) if wanted_here and rule.missing else ()
        values = tuple(Value(row, row.value) for row in rows if row.value is not None)
        compared = compare(
            values, False, rule.bounds, Measure(name="", kind="level", selection=rule.selection)
        )
        high = bool(rule.bounds) and bool(rule.flag) and compared.truth is Truth.TRUE
        evidence = tuple(
            evidence_of(row, "support", compared=compared.said, why="beside the measure") for row in rows
        )
        return evidence, (rule.flag,) if high else ()

    def _dose(
        self, target: State, day: date
    ) -> tuple[Dose | None, str, tuple[str, ...], tuple[Evidence, ...]]:
        dosing = self.ladder.dosing
        if target.dose is None or dosing is None:
            return self.dose, "", (), ()
        before = dose_before(dosing, day, self.dose, self.context)
        after = dose_after(target.dose, dosing, before, day)
        return after, after.text(dosing.unit), after.flags, after.evidence

    # --- the end --------------------------------------------------------------------------------------------

    def _stand(self, flags: tuple[str, ...], needs: tuple[str, ...], any_value: bool) -> LadderState:
        today = self.context.as_of.last
        review = self._review(today)
        overdue = review.last is not None and today > review.last and not self.answered
        first, last = (review.first, review.last) if not self.answered else (None, None)
        label = self.ladder.measure.selection.label
        settles = [*needs, *self.needs]
        coming = self._next_by_calendar()
        if first is None and coming is not None:
            first, last = coming[0], coming[0]
        if self.ladder.begin is not None and self.begun is None:
            settles += self.context.missing(self.ladder.begin)
        watched = bool(self.ladder.measure.selection.concepts)
        if watched and not any_value and not self.state.terminal and not settles:
            settles += wanted(
                self.ladder.measure.selection, self.ladder.measure.selection.period, self.context
            )
        if overdue:
            settles.append(f"a result of {label}, due {first} to {last}")
        named = (
            ()
            if self.answered
            else tuple(
                day.flag for day in self._named(today).values() if day.flag and review.first is not None
            )
        )
        standing = (self.state.overdue.flag,) if overdue and self.state.overdue.flag else ()
        return LadderState(
            ladder=self.ladder.id,
            state=self.state.id,
            entered=self.entered if self.entered is not None and self.entered <= today else None,
            review_first=first,
            review_last=last,
            overdue=overdue,
            terminal=self.state.terminal,
            steps=tuple(self.steps),
            flags=unique((*self.entry_flags, *self.latest, *self.alerts, *flags, *named, *standing)),
            settles=() if self.state.terminal else unique(settles),
            latest=merge_evidence((self._latest(),)),
        )

    def _latest(self) -> tuple[Evidence, ...]:
        """The readings of the newest day that was looked at."""
        if self.looked_at is None:
            return ()
        found, fired = self.looked_at
        return _evidence(found, "" if fired is None else fired.said, self.ladder.measure)


def _length(way: Transition) -> str:
    if way.after is None or way.after.months:
        return str(way.after)
    return counted(way.after.days, "days")


def _unused(found: Round) -> tuple[str, ...]:
    return unique(why for _, why in found.unusable)


def _evidence(found: Round, said: str, measure: Measure) -> tuple[Evidence, ...]:
    """Every reading of the day: the one that makes the measure carries the comparison."""
    rows: list[Evidence] = []
    top = worst_of(found.values, measure) if found.values else None
    for value in found.values:
        rows += evidence_for(value, said if value is top else value.said)
    rows += [evidence_of(row, "ignored", why=why) for row, why in found.unusable]
    return tuple(rows)
