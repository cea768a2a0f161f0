import json
import time

import numpy as np
import pytest

from ppm_tf.config import TextSettings, describe
from ppm_tf.encoders.text_cleaning import RuleCleaner, load_cleaner
from ppm_tf.encoders.text_start import start_cleaner

cleaner = RuleCleaner()


def cleaned(text):
    return cleaner.clean([text])[0]


# === Taken out ===


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # markup
        ("<p>A <b>red</b> shoe.</p><p>Size&nbsp;9</p>", "A red shoe. Size 9"),
        ("Salt &amp; pepper &#39;mill&#39; &#x2013; steel", "Salt & pepper 'mill' – steel"),
        ("&lt;b&gt;Bold&lt;/b&gt; claim", "Bold claim"),
        ("&amp;amp;lt;br&amp;amp;gt; twice escaped", "twice escaped"),
        ('<a href="https://shop.example/x?y=1">Oak table</a><br/>solid', "Oak table solid"),
        ("<script>var a = '<b>';</script>Lamp<style>p {color: red}</style><!-- hidden <p> -->", "Lamp"),
        ("[User guide](https://shop.example/guide.pdf) included", "User guide included"),
        # control characters and white space
        ("Soft\u200b case\u00ad,\ttwo\r\n  colours\x00\u00a0here\ufeff", "Soft case, two colours here"),
        # addresses
        ("Kettle. Write to help.desk+eu@shop-mail.co.uk for parts.", "Kettle. Write to for parts."),
        ("Kettle. E-mail: sales@shop.example", "Kettle."),
        ("See https://www.shop.example/a_(b)?c=d#e, or www.shop.example.", "See, or."),
        ("Manual at shop.com/manuals/12.pdf inside", "Manual at inside"),
        # telephone numbers
        ("Fan. Call 555-010-0199 now", "Fan. now"),
        ("Fan. Call us at 1-800-555-0199.", "Fan."),
        ("Fan (555) 010-0199", "Fan"),
        ("Fan 555.210.0199, Fax: 555.210.0198", "Fan"),
        ("Fan +44 20 7946 0958 London", "Fan London"),
        ("Fan +420 601 123 456", "Fan"),
        ("Fan +1 (555) 010-0199", "Fan"),
        ("Fan. Tel.: 020 7946 0958", "Fan."),
        ("Fan. Phone 555 010 0199", "Fan."),
        ("Fan. Call toll-free 555-0199", "Fan."),
    ],
)  # fmt: skip
def test_taken_out(text, expected):
    assert cleaned(text) == expected


# === Not taken for anything ===


@pytest.mark.parametrize(
    "text",
    [
        # sizes and measures
        "Door 3-1/2 in. x 88-3/4 in. x 1/4 in.",
        "72 in. x 80 in. 200 Series Patio Door",
        "Board 1920 x 1080, 10-20-10, 100-240V 50-60Hz 2.4-2.5 GHz",
        "Range -40 to +85 C, +12 or -12 V, +5 +10 +15",
        "Screws #8 x 1-1/4 in. (100-Pack)",
        "Cable 100 ft. 12-2-2 AWG, 16-14-12-10",
        "Screen 5 ft < 6 ft and 7 > 6, a<b and c>d",
        # prices
        "Was $1,299.99, now $999.00 - save 300.99",
        "EUR 1.299.999,00 or 12 345 678,90 Kč",
        # dates and years
        "Made 2016-11-22, 11/22/2016, 22.11.2016 or 2016/11/22",
        "Phone: 2015-2016 edition",
        "Films 1999-2000 2001 2002",
        # numbers of parts and articles
        "UPC 012345678905, ISBN 978-3-16-148410-0, model 123-456-78",
        "Part 100-200-3000 and 4711-0815, DCB205-2, 555-0199",
        "Phone 12 128 256 GB, iPhone 14, mobile 4000 mAh",
        "Call of Duty 4: 2007",
        # words and signs
        "AT&T R&D Q&A &unknown; 50% off! Use @home, 3 @ $5",
        "Amazon.com gift card, Node.js in/out and/or",
        "Crème brûlée 👩\u200d🍳 100 µF ½ in. 日本語",
        "Rated 4.5/5 [new] (2 pieces) * Best | Oak",
    ],
)  # fmt: skip
def test_left_alone(text):
    assert cleaned(text) == text


def test_texts_of_nothing_else_stay():
    texts = ["", "   ", "<br/>", "help@shop.example", "Call 555-210-0199!", "<p>x</p>"]
    assert cleaner.clean(texts) == ["", "", "<br/>", "help@shop.example", "Call 555-210-0199!", "x"]


# === Boilerplate ===

OFFER = "Free shipping on all orders over $50."


def catalog(count=200, times=60):
    rng = np.random.default_rng(0)
    texts = [f"Product {number} of {rng.choice(['oak', 'pine', 'steel'])} with {rng.integers(2, 9)} drawers." for number in range(count)]
    return [f"{text} {OFFER}" if number < times else text for number, text in enumerate(texts)]


def test_recurring_sentences_go():
    fitted = RuleCleaner.fit(catalog())
    assert fitted.boilerplate == {"free shipping on all orders over $50"}
    assert fitted.clean(["Blue chair. FREE shipping\n on all orders over $50! Sturdy.", f"{OFFER}"]) == ["Blue chair. Sturdy.", OFFER]
    assert fitted.clean([f"<li>Blue chair</li><li>{OFFER}</li>"]) == ["Blue chair"]


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        ([f"A chair. {OFFER}"] * 3, "three items"),
        (catalog(200, 49), "49 items"),
        ([f"Board {number} in. Cut to X 88-3/4 in. Made of steel." for number in range(500)], "a size and a short attribute"),
        (catalog(2000, 99), "less than a twentieth of the items"),
        ([f"{OFFER} {OFFER} {OFFER}" if number < 30 else "" for number in range(300)], "three times in each of few items"),
    ],
)  # fmt: skip
def test_what_says_too_little_to_be_boilerplate(texts, why):
    assert RuleCleaner.fit(texts).boilerplate == frozenset(), why


def test_titles_that_recur_stay():
    """A text that is one sentence in many items, such as the title of variants, is all that these items have."""
    fitted = RuleCleaner.fit(["Solid oak table with drawers"] * 100)
    assert fitted.boilerplate and fitted.clean(["Solid oak table with drawers"]) == ["Solid oak table with drawers"]


def test_refused_shares():
    with pytest.raises(ValueError, match="max_share must lie between 0 and 1, and min_items be at least 2. Received: 1.0, 50"):
        RuleCleaner.fit([], max_share=1.0)


# === Properties ===

PIECES = [
    "oak", "Free shipping on all orders over $50.", "<b>", "</b>", "&amp;", "&lt;", "&#62;", "b", "&", "amp;", "555-210-0199", "Tel.:",
    "call us at", "a@b.example",
    "http://x.example/y", "\n", "  ", ".", "(", ")", "[", "]", "3-1/2 in.", "x", "\u200b", "&nbsp;", "1-800-", "+", "44", "20 7946 0958", "!", "•",
    "A", "<!--", "-->", "\x00",
]  # fmt: skip


def test_cleaning_twice_is_cleaning_once_and_never_leaves_nothing():
    fitted, rng = RuleCleaner([OFFER, "A oak oak"]), np.random.default_rng(1)
    texts = ["".join(rng.choice(PIECES, size=rng.integers(1, 12))) for _ in range(3000)]
    texts += [" ".join(rng.choice(PIECES, size=rng.integers(1, 12))) for _ in range(3000)]
    once = fitted.clean(texts)
    assert fitted.clean(once) == once
    assert all(after or not before.strip() for before, after in zip(texts, once, strict=True))


@pytest.mark.parametrize(
    "text",
    [
        "a" * 50_000,
        "a." * 20_000,
        "1 " * 20_000,
        "<b " * 20_000,
        "+" + "12 " * 20_000,
        "(" * 20_000,
        "<b a=" * 10_000,
        "555-210-" * 5_000,
        "<!--" * 10_000,
        "<!doctype" * 5_000,
        "&amp;" * 10_000,
        "&" + "amp;" * 10_000,
        "call " * 10_000,
        "www.a" * 10_000,
        "http://" * 8_000,
    ],
)
def test_long_texts_take_no_longer_for_their_form(text):
    """A text of 50 kB takes well under a second; with backtracking it would be minutes."""
    start = time.process_time()
    cleaned(text)
    assert time.process_time() - start < 5


# === Files ===


def test_load_cleans_alike(tmp_path):
    fitted = RuleCleaner.fit(catalog())
    fitted.save(tmp_path / "cleaner")
    loaded = load_cleaner(tmp_path / "cleaner")
    assert loaded.clean(catalog()) == fitted.clean(catalog())
    assert loaded.version == fitted.version != RuleCleaner().version
    assert fitted.version.startswith("rules-") and len(fitted.version) == len("rules-") + 12


def test_refuses_a_cleaner_that_is_not_there_or_cleans_otherwise(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must hold a saved cleaner \(cleaner.json\)"):
        load_cleaner(tmp_path)
    RuleCleaner().save(tmp_path)
    about = json.loads((tmp_path / "cleaner.json").read_text()) | {"boilerplate": ["something else"]}
    (tmp_path / "cleaner.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match=r"must clean as when it was saved, rules-.* Received: rules-.* Remedy: make the encoder again"):
        load_cleaner(tmp_path)


# === Hint ===


def test_markup_in_raw_texts_is_hinted_at(caplog):
    caplog.set_level("INFO")
    texts = ["Salt &amp; pepper", "<b>Bold</b> lamp", "A <br> &#39;line&#39;", "AT&T, 3 < 4 and a<b", "", "plain"]
    start_cleaner(TextSettings(), texts)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("3 of 6 texts hold HTML: 2 with tags, 2 with entities, such as 'Salt &amp; pepper'") and line.endswith(
        "text.cleaning=rules takes both out"
    )
    caplog.clear()
    assert start_cleaner(TextSettings(), ["AT&T", "3 < 4", ""]) is None and start_cleaner(TextSettings(), []) is None
    assert start_cleaner(TextSettings(cleaning="rules"), texts).kind == "rules"
    assert not caplog.records


def test_the_values_of_cleaning_are_in_the_help():
    (line,) = [line for line in describe(("text",)).splitlines() if line.startswith("  text.cleaning ")]
    assert all(f"{value}:" in line for value in ("none", "rules", "language_model"))
