"""Cards of updates: what they say, in Markdown and in HTML that needs nothing else."""

from html.parser import HTMLParser

from PIL import Image

from ppm_tf.daily import judge
from ppm_tf.reports.model_card import verdict_markdown, write_card
from tests.daily.made_up import DAY, gate, rows
from tests.reports.made_up_updates import manifest


def row_of(text, start):
    """The cells of the first line of a Markdown table that begins so."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def size_of(path):
    with Image.open(path) as picture:
        return picture.size


class Page(HTMLParser):
    """The text, links and pictures of a page; its tags must be closed in order."""

    def __init__(self, text):
        super().__init__()
        self.words, self.links, self.open = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href")]
        self.open += [tag] if tag not in ("meta", "img") else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_a_published_version_has_its_figures_against_the_last_one(tmp_path):
    before, now = manifest(2), manifest(3)
    path = write_card(now, tmp_path, before)
    text = (tmp_path / "card.md").read_text()
    assert text.startswith("# urm-finetune, version 4: 2026-11-13\n\nPublished as version 4, made 2026-11-13T03:12:00Z.")
    assert "ALARM" not in text and "The last version before: 3, of 2026-11-12." in text
    click = next(one for one in now.verdict.figures if (one.metric, one.task) == ("auc", "click"))
    assert row_of(text, "AUC of click, all")[1:5] == [
        f"{click.value:.4f} [{click.low:.4f}, {click.high:.4f}]",
        f"{click.live:.4f}",
        f"{click.change:+.4f} [{click.change_low:+.4f}, {click.change_high:+.4f}]",
        "6,000",
    ]
    assert row_of(text, "held out") == ["held out", "2026-11-12 tail"]
    assert row_of(text, "encoder of title") == ["encoder of title", "b2", "made anew; was a1"]
    assert row_of(text, "items") == ["items", "5,060", "5,040"]
    assert row_of(text, "export ") == ["export", "12.1 MiB", "12.0 MiB"]
    assert row_of(text, "train ") == ["train", "90.0", "44%"] and row_of(text, "in all")[1] == "204.0"
    assert row_of(text, "PSI of the scores (click, all)")[4] == "passed"
    page = Page(path.read_text())
    assert "Gate of 2026-11-13: passed; bounds: 32 passed." in page.words
    assert page.links and all(link.startswith("data:image/png;base64,") for link in page.links)
    assert min(size_of(tmp_path / "plots" / "change.png")) > 200


def test_a_refused_update_says_first_what_broke(tmp_path):
    write_card(manifest(6, poisoned=True), tmp_path, manifest(5))
    text = (tmp_path / "card.md").read_text()
    assert text.startswith("# urm-finetune: 2026-11-16\n\nALARM: Refused, made")
    assert text.index("ALARM: AUC of the live model (click, all) must be at least 0.51") < text.index("## Data")
    gate_rows = text[text.index("## Gate") :].splitlines()
    assert [line.count("failed") for line in gate_rows if line.startswith("| ")][2:4] == [1, 1]  # what broke comes first


def test_the_first_version_says_that_nothing_was_compared(tmp_path):
    write_card(manifest(0), tmp_path)
    text = (tmp_path / "card.md").read_text()
    assert "first update: there is no live model" in text and not (tmp_path / "plots").exists()
    assert row_of(text, "AUC of click, all")[2:4] == ["-", "-"]


def test_a_pass_by_hand_and_a_rollback_stand_out(tmp_path):
    verdict = judge(rows(noise=0.7), rows(), gate(override=f"{DAY}: the owners agreed on this one"), day=DAY)
    live = {"served": False, "seconds": 60.0, "difference": None, "reason": "version 4 of m must be the one that answers", "rolled_back_to": 3}
    write_card(manifest(3, status="refused", verdict=verdict, live=live), tmp_path)
    page = Page((tmp_path / "card.html").read_text())
    assert "ALARM: passed by hand: the owners agreed on this one. What spoke against it:" in page.words
    assert any(words.startswith("ALARM: Change of AUC against the live model (click, all)") for words in page.words)
    assert "ALARM: version 4 of m must be the one that answers. Version 3 is published in its place." in page.words


def test_an_update_with_nothing_to_do_has_a_card(tmp_path):
    bare = type(manifest(0))("2026-11-20", "nothing", "the log has no day after 2026-11-18")
    write_card(bare, tmp_path)
    assert (tmp_path / "card.md").read_text() == "# Update: 2026-11-20\n\nNothing to do.\n\nthe log has no day after 2026-11-18\n"


def test_changed_settings_tell_what_they_were(tmp_path):
    before, now = manifest(2), manifest(3, settings={"seed": 4, "model.dim": 32})
    write_card(now, tmp_path, before)
    text = (tmp_path / "card.md").read_text()
    assert row_of(text, "seed") == ["seed", "4", "was 3"]
    assert row_of(text, "model.dim") == ["model.dim", "32", "was default"]
    assert row_of(text, "model.backbone.name") == ["model.backbone.name", "default", "was urm"]


def test_what_others_wrote_is_shown_as_text(tmp_path):
    write_card(manifest(3, reason="<script>x|y</script>", counts={"a|b<c>": 1}), tmp_path)
    assert "<script>" not in (tmp_path / "card.html").read_text()
    assert r"| a\|b<c>" in (tmp_path / "card.md").read_text()


def test_a_verdict_alone_in_markdown():
    text = verdict_markdown(manifest(6, poisoned=True).verdict)
    assert text.startswith("# Gate of 2026-11-16\n\n- AUC of the live model (click, all) must be")
    assert row_of(text, "fall of the live model's AUC")[4] == "failed"


def test_undefined_figures_say_so(tmp_path):
    one = rows(200)
    verdict = judge(one, one, gate(min_rows=10, min_positives=1), day=DAY)
    write_card(manifest(3, verdict=verdict, latency={"p50": 1.23456}), tmp_path)
    text = (tmp_path / "card.md").read_text()
    assert row_of(text, "largest change of a golden probability")[1] == "undefined"
    assert row_of(text, "p50")[1] == "1.23 ms"
