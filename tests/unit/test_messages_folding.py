"""What is found by which words."""

from __future__ import annotations

import pytest

from capture.messages.folding import fold, folded_variants

TURKISH = "İstanbul'da \u0131ş\u0131k ve ŞEKER"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Grüße aus München", "GRÜSSE"),
        ("Grüße aus München", "munchen"),
        ("Grüße aus München", "Muenchen"),
        ("Grüße aus München", "gru\u0308ße"),
        ("Straße", "strasse"),
        ("Zahnarzttermin", "TERMIN"),
        ("Das neue Feuer", "feuer"),
        (TURKISH, "istanbul"),
        (TURKISH, "ISTANBUL"),
        (TURKISH, "IŞIK"),
        (TURKISH, "isik"),
        (TURKISH, "şeker"),
        ("مُحَمَّد أحمد", "محمد"),
        ("مُحَمَّد أحمد", "احمد"),
        ("القهوة", "القهوه"),
        ("عـــيد", "عيد"),
        ("مصطفى", "مصطفي"),
        ("٢٠٢٦", "2026"),
        ("کتاب فارسی", "كتاب"),
        ("שָׁלוֹם", "שלום"),
        ("Crème brûlée à l'œuf", "creme brulee"),
        ("Łódź", "lodz"),
        ("Ёлка", "елка"),
        ("हिन्दी", "हिन्दी"),
        ("ﬁnal", "final"),
        ("Anna\u200e Bei\u00adspiel", "anna beispiel"),
        ("a\u00a0 \n b", "a b"),
    ],
)
def test_it_is_found(text: str, word: str) -> None:
    assert any(way in fold(text) for way in folded_variants(word))


@pytest.mark.parametrize(
    ("text", "word"), [("Poet", "Pot"), ("Rose", "Rosa"), ("हिन्दी", "हान्दी"), ("عيد", "عود")]
)
def test_it_is_not_found(text: str, word: str) -> None:
    assert not any(way in fold(text) for way in folded_variants(word))
