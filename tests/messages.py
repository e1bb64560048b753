"""``make messages``: finds the texts of the pages, brings ``ftplugin/translations`` up to date and compiles it.

A text is found where it stands as a plain literal in ``_()``, ``ngettext()``, ``translate()``, ``translate_plural()`` or in the
mark ``N_()``, in templates and in Python; and every sentence in the files of SENTENCES. What is new or changed stays empty
until somebody translates it, since a guess of the tool would be read as right: this prints what is left, and
``tests/integration/web/test_translations.py`` fails until it is done.
"""

from __future__ import annotations

import ast
import datetime
import io
import pathlib
import re
from collections.abc import Iterator

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

PACKAGE = pathlib.Path(__file__).parent.parent / "ftplugin"
FOLDER = PACKAGE / "translations"
DOMAIN = "ftplugin"
LANGUAGES = ("fr",)  # English is the language of the texts themselves
METHODS = [("**.py", "python"), ("**/templates/**.html", "jinja2")]
KEYWORDS = {"_": None, "N_": None, "Said": None, "translate": None, "ngettext": (1, 2), "translate_plural": (1, 2), "_n": (1, 2)}
KEYWORDS |= {"InputRequired": None}
SENTENCES = (
    "prechecks.py",
    "switching/story.py",
)  # their tables hold sentences that pages translate and commands print plain
COMMENT = "Translators:"
NOISE = rb'^"(POT-Creation-Date|PO-Revision-Date|Report-Msgid-Bugs-To|Last-Translator|Language-Team|Generated-By):.*\n'


def found() -> Catalog:
    """Every text of the code as it is now."""
    catalog = Catalog(charset="utf-8")
    texts = extract_from_dir(str(PACKAGE), METHODS, keywords=KEYWORDS, comment_tags=(COMMENT,), strip_comment_tags=True)
    for file, _line, message, comments, context in sorted(texts, key=lambda text: (text[0], text[1])):
        catalog.add(message, locations=[(f"ftplugin/{file}", None)], auto_comments=comments, context=context)
    for name in SENTENCES:
        for text in sentences((PACKAGE / name).read_text()):
            catalog.add(text, locations=[(f"ftplugin/{name}", None)])
    return catalog


def sentences(source: str) -> list[str]:
    """Every literal of a program that is a sentence: it has blanks, ends with a stop, and is no docstring."""
    tree = ast.parse(source)
    left_out: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) or isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            left_out |= {id(part) for part in ast.walk(node)}
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in left_out]
    return [text for text in texts if isinstance(text, str) and " " in text.strip() and text.endswith(".")]


def po_file(language: str) -> pathlib.Path:
    return FOLDER / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def kept(language: str) -> Catalog:
    """What is translated."""
    with open(po_file(language), "rb") as file:
        return read_po(file, locale=language, domain=DOMAIN)


def compiled(catalog: Catalog) -> bytes:
    """The .mo of a catalogue."""
    catalog.creation_date = catalog.revision_date = datetime.datetime(2026, 1, 1)  # the same file from the same texts
    out = io.BytesIO()
    write_mo(out, catalog)
    return out.getvalue()


def texts_of(message: Message) -> list[tuple[str, str]]:
    """(text, translation) of every form of a message; a plural's forms are compared with the plural text."""
    if isinstance(message.id, str):
        return [(message.id, str(message.string or ""))]
    forms = message.string if isinstance(message.string, (tuple, list)) else ()
    return [(message.id[1], form) for form in forms] or [(message.id[0], "")]


def names_in(text: str) -> list[str]:
    """The placeholders of a text, as ``%(name)s``, sorted."""
    return sorted(re.findall(r"%(?:\(\w+\))?[-+ #0]*\d*(?:\.\d+)?[a-zA-Z]", text.replace("%%", "")))


def problems(catalog: Catalog) -> Iterator[str]:
    """What is missing, unsure, or broken by its placeholders."""
    for message in catalog:
        if not message.id:
            continue
        for text, translation in texts_of(message):
            if not translation.strip():
                yield f"not translated: {text!r}"
            elif message.fuzzy:
                yield f"marked as unsure: {text!r}"
            elif "%(" in text and names_in(text) != names_in(translation):
                yield f"placeholders differ: {text!r} and {translation!r}"


def update(language: str) -> list[str]:
    """Bring the files of ``language`` up to date; the texts that are left to translate."""
    path = po_file(language)
    path.parent.mkdir(parents=True, exist_ok=True)
    catalog = kept(language) if path.exists() else Catalog(locale=language, domain=DOMAIN, project=DOMAIN, fuzzy=False)
    template = found()
    catalog.update(template, no_fuzzy_matching=True)
    catalog.obsolete.clear()
    catalog.header_comment = f"# Texts of the pages, language {language}. 'make messages' keeps this file up to date."
    out = io.BytesIO()
    write_po(out, catalog, width=110, sort_output=True, omit_header=False, include_lineno=False)
    path.write_bytes(re.sub(NOISE, b"", out.getvalue(), flags=re.M))
    path.with_suffix(".mo").write_bytes(compiled(kept(language)))
    return list(problems(kept(language)))


def main() -> None:
    for language in LANGUAGES:
        left = update(language)
        print("\n".join([f"{language}: {po_file(language)}", *left, f"{len(left)} texts are left"]))


if __name__ == "__main__":
    main()
