"""Why a licence is refused: one cause, one sentence. Pages translate the sentence, the command line prints it."""

from __future__ import annotations


def N_(text: str) -> str:
    """Marks a text for extraction (Babel)."""
    return text


MISSING, EXPIRED, EARLY, UNTESTED = "missing", "expired", "not yet valid", "cannot be checked"

TEXTS: dict[str, str] = {
    MISSING: N_("No licence is installed on this server: upload its IPSFT_lic.xml."),
    EXPIRED: N_("The licence of this server expired on %(day)s: ask the vendor for a new one."),
    EARLY: N_("The licence is not valid before %(day)s. Today is %(today)s: is the clock of this server right?"),
    UNTESTED: N_(
        "A licence cannot be checked here: install the package '%(package)s' (pip install 'ftplugin[licence]')."
    ),
    "unreadable": N_("The licence file %(path)s cannot be read: %(error)s"),
    "too large": N_("The file is larger than %(limit)s bytes; a licence never is."),
    "empty": N_("The file is empty."),
    "not XML": N_("The file is not XML: %(error)s"),
    "forbidden XML": N_("The file holds a DTD, entities or references to other files; no licence does."),
    "wrong root": N_("The file is no licence: its root element is '%(found)s', not '%(wanted)s'."),
    "missing element": N_("The licence has no element '%(name)s', or an empty one."),
    "unknown element": N_("The licence holds '%(name)s', which does not belong there or is there twice."),
    "bad value": N_("The licence's element '%(name)s' has the value '%(value)s'; %(wanted)s is needed."),
    "other vendor": N_("The licence is signed with another vendor's key (%(found)s; FT_LICENCE_KEY is %(wanted)s)."),
    "changed": N_("The licence was changed after it was signed, or its signature is damaged."),
    "other node": N_("The licence is for server %(found)s; this one is %(own)s (FT_OWN_ADDRESS)."),
}


class LicenceRefused(ValueError):
    """A licence is not accepted. ``cause`` is a key of TEXTS, ``facts`` fill its sentence."""

    def __init__(self, cause: str, **facts: object) -> None:
        self.cause = cause
        self.facts = {name: str(value)[:200] for name, value in facts.items()}
        super().__init__(TEXTS[cause] % self.facts)
