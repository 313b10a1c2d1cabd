"""What each rule of analysis datasets says, as the gate names it; :mod:`conformance` beside it checks them.

All are errors: an analysis dataset is of our own making, whatever the hospital's data are.
"""

from __future__ import annotations

from typing import Literal

ADAM_RULES: dict[str, tuple[Literal["error", "warning"], str]] = {
    "AD01": ("error", "a variable that ADaMIG requires is missing, or an identifying one is empty"),
    "AD02": (
        "error",
        "ADSL has not exactly one row per subject of DM, or an analysis speaks of somebody else",
    ),
    "AD03": ("error", "PARAM, PARAMN and PARAMCD, or AVISIT and AVISITN, are not one to one"),
    "AD04": ("error", "a value of a parameter is told in several texts"),
    "AD05": ("error", "a subject and parameter have two baselines, or one after randomisation"),
    "AD06": ("error", "BASE, CHG or PCHG is not what its arithmetic says"),
    "AD07": ("error", "two records are analysed for one subject, parameter and visit"),
    "AD08": ("error", "a flag is no flag, or a population flag is empty"),
    "AD09": ("error", "a criterion flag has no criterion, or a criterion several wordings"),
    "AD10": ("error", "SRCDOM, SRCVAR and SRCSEQ lead to no record of the subject"),
    "AD11": ("error", "ASEQ is not 1 to n within the subject"),
    "AD12": ("error", "a time is not ADT - STARTDT + 1, or its event or censoring is not described"),
    "AD13": ("error", "treatment ends before it starts, or RANDFL and RANDDT disagree"),
    "AD14": ("error", "an imputed row looks observed"),
}
