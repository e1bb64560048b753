"""Sentences of the product that commands print in English and pages show in the user's language."""

from __future__ import annotations


class Said(str):
    """An English sentence that still knows its format and its values, which may be such sentences themselves.

    It is a str, so JSON, log and command line have the English text; ``web.i18n.translate`` translates format and values.
    """

    text: str
    facts: dict[str, object]

    def __new__(cls, text: str, **facts: object) -> Said:
        self = super().__new__(cls, text % facts if facts else text)
        self.text, self.facts = text, facts
        return self
