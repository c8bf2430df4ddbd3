"""The page in a real browser: nothing is asked for, complained of or sticks out; tables sort and filter."""

import re
import shutil
import subprocess

import pytest

WIDTHS = (375, 1280)
ROOMS = (False, True)

STICKING_OUT = """(() => {
  const edge = document.documentElement.clientWidth + 0.5;
  const boxed = (element) => element.closest('.scroll, .skip, caption, svg');
  return [...document.body.querySelectorAll('*')]
    .filter((element) => !boxed(element) && element.getClientRects().length)
    .filter((element) => element.getBoundingClientRect().right > edge)
    .map((element) => element.tagName + '#' + element.id);
})()"""

COLUMN = """((table, column) => [...document.querySelectorAll(`#${table} > tbody > tr`)]
  .filter((row) => !row.hidden).map((row) => row.cells[column].textContent.trim()))"""

CONTRAST = """(() => {
  const light = (colour) => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
      .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = {};
  for (const element of document.body.querySelectorAll('*')) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!text || element.closest('svg, math')) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(ground(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found[element.tagName + '.' + element.className] = ratio;
  }
  return found;
})()"""


def rows(browser, table, column):
    return browser.ask(f"{COLUMN}('{table}', {column})")


def press(browser, table, column):
    """Presses the button of a column's head as a keyboard does."""
    browser.ask(f"document.querySelector('#{table} th[data-column=\"{column}\"] button').focus()")
    for kind in ("keyDown", "keyUp"):
        enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        browser.call("Input.dispatchKeyEvent", type=kind, **enter)
    return browser.ask(f"document.querySelector('#{table} th[data-column=\"{column}\"]').getAttribute('aria-sort')")


def type_in(browser, field, text):
    """Types into a field, in place of what stood there."""
    browser.ask(f"(() => {{ const f = document.getElementById('{field}'); f.focus(); f.select(); }})()")
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="Delete", code="Delete", windowsVirtualKeyCode=46)
    browser.call("Input.insertText", text=text)


def changed(path, tmp_path, old, new):
    """A copy of a page with a fault planted."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    copy = tmp_path / "changed.html"
    copy.write_text(text.replace(old, new, 1), encoding="utf-8")
    return copy


def too_wide(browser):
    return browser.ask("document.documentElement.scrollWidth > innerWidth") or browser.ask(STICKING_OUT) != []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", ROOMS, ids=["light", "dark"])
def test_nothing_is_asked_for_complained_of_or_sticks_out(browser, written, width, dark):
    browser.open(written, width=width, dark=dark)
    assert browser.ask("innerWidth") == width
    assert browser.complaints() == []
    outside = [each for each in browser.requests() if not each.startswith("data:image/png;base64,")]
    assert outside == [written.resolve().as_uri()]
    browser.ask("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert not too_wide(browser)


def test_what_sticks_out_is_caught(browser, written, tmp_path):
    wide = changed(written, tmp_path, "</main>", '<div style="width: 2000px">x</div></main>')
    browser.open(wide, width=375)
    assert too_wide(browser)


def test_the_page_forbids_itself_to_ask(browser, written, tmp_path):
    asking = changed(written, tmp_path, "</main>", '<img alt="x" src="https://localhost:9/a.png"></main>')
    browser.open(asking)
    assert any("Content Security Policy" in str(each) for each in browser.complaints())


def test_a_script_that_is_not_the_page_s_own_does_not_run(browser, written, tmp_path):
    foreign = changed(written, tmp_path, "</main>", "<script>document.title = 'taken'</script></main>")
    browser.open(foreign)
    assert browser.ask("document.title") != "taken"
    assert browser.complaints() != []


def test_a_script_that_fails_is_caught(browser, written, tmp_path):
    broken = changed(
        written, tmp_path, re.search(r"script-src '[^']*'", written.read_text())[0], "script-src 'unsafe-inline'"
    )
    broken = changed(broken, tmp_path, '"use strict";', '"use strict"; nobody();')
    browser.open(broken)
    assert any("nobody" in str(each) for each in browser.complaints())


@pytest.mark.parametrize("width", WIDTHS)
def test_every_figure_is_there_and_seen(browser, written, contents, width):
    browser.open(written, width=width)
    browser.ask("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    boxes = browser.ask(
        "[...document.querySelectorAll('figure svg')].map((svg) => [svg.getBoundingClientRect().width, "
        "svg.getBoundingClientRect().height, svg.querySelectorAll('path, use').length])"
    )
    assert len(boxes) == sum(map(len, contents.pictures.drawn.values()))
    assert all(wide > 300 and tall > 50 and shapes > 5 for wide, tall, shapes in boxes)
    loaded = "Promise.all([...document.querySelectorAll('image')].map((each) => { const i = new Image(); i.src = "
    loaded += "each.href.baseVal; return i.decode().then(() => i.naturalWidth > 0, () => false); }))"
    assert all(browser.ask(loaded))


def test_text_is_readable_in_light_and_dark(browser, written, tmp_path):
    grounds = []
    for dark in ROOMS:
        browser.open(written, dark=dark)
        assert browser.ask(CONTRAST) == {}
        grounds.append(browser.ask("getComputedStyle(document.body).backgroundColor"))
        sheets = (
            "[...new Set([...document.querySelectorAll('.sheet')].map((s) => getComputedStyle(s).backgroundColor))]"
        )
        assert browser.ask(sheets) == ["rgb(255, 255, 255)"]
    assert grounds[0] != grounds[1]
    pale = changed(written, tmp_path, "--muted: #5b6470", "--muted: #9aa3ae")
    browser.open(pale)
    assert browser.ask(CONTRAST) != {}


def test_a_table_sorts_by_text_and_by_number(browser, written):
    browser.open(written)
    assert rows(browser, "verdicts", 4) == ["2.00", "10.50", "0.25"]
    assert press(browser, "verdicts", 4) == "ascending"
    assert rows(browser, "verdicts", 4) == ["0.25", "2.00", "10.50"]
    assert press(browser, "verdicts", 4) == "descending"
    assert rows(browser, "verdicts", 4) == ["10.50", "2.00", "0.25"]
    assert press(browser, "verdicts", 0) == "ascending"
    assert rows(browser, "verdicts", 0) == ["PROVED", "REFUTED", "REFUTED"]
    sorts = "[...document.querySelectorAll('#verdicts [aria-sort]')].map((each) => each.getAttribute('aria-sort'))"
    assert browser.ask(sorts) == ["ascending", *["none"] * 4]


def test_infinite_values_sort_and_what_is_no_number_stands_last(browser, written):
    browser.open(written)
    press(browser, "profiles", 5)
    shown = rows(browser, "profiles", 5)
    assert shown[-1].startswith(("∞", "cannot"))
    press(browser, "profiles", 5)
    assert rows(browser, "profiles", 5)[0].startswith("∞")
    table = "numbers-mlp-digits-tied-angle-degrees"
    browser.ask(f"document.querySelector('#{table}').closest('details').open = true")
    browser.ask(f"document.querySelector('#{table}').tBodies[0].rows[0].cells[1].textContent = 'undefined'")
    for _ in range(2):
        press(browser, table, 1)
        shown = rows(browser, table, 1)
        assert shown[-1] == "undefined"
        values = [float(each.split()[0]) for each in shown[:-1]]
    assert values == sorted(values, reverse=True)


def test_a_table_filters_by_every_word_and_says_how_much_it_shows(browser, written):
    browser.open(written)
    type_in(browser, "filter-verdicts", "refuted zeros")
    assert rows(browser, "verdicts", 0) == ["REFUTED"]
    assert browser.ask("document.querySelector('output[for=filter-verdicts]').textContent") == "1 of 3 shown"
    type_in(browser, "filter-verdicts", "no such claim")
    assert rows(browser, "verdicts", 0) == []
    type_in(browser, "filter-verdicts", " ")
    assert len(rows(browser, "verdicts", 0)) == 3
    assert browser.ask("document.querySelector('output[for=filter-verdicts]').textContent") == ""
    type_in(browser, "filter-cards", "superspike")
    cards = "[...document.querySelectorAll('.card')].filter((card) => !card.hidden).map((card) => card.id)"
    assert browser.ask(cards) == ["surrogate-fast_sigmoid"]


def test_everything_has_a_name_for_those_who_hear_it(browser, written, contents):
    browser.open(written)
    browser.ask("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    told = browser.names()
    wanted = {"button", "searchbox", "table", "image", "link", "region", "navigation", "columnheader", "rowheader"}
    assert wanted <= {role for role, _ in told}
    assert [(role, name) for role, name in told if role in wanted and not name.strip()] == []
    pictures = [name for role, name in told if role == "image"]
    titles = [each.title for every in contents.pictures.drawn.values() for each in every]
    assert sorted(pictures) == sorted(titles)
    assert {role for role, _ in told} >= {"banner", "main"}
    assert not any("\u2195" in name for _, name in told)


def test_the_page_reads_without_its_script(browser, written):
    browser.open(written, scripts=False)
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert browser.ask("document.querySelectorAll('button').length") == 0
    seen = "[...document.querySelectorAll('.tools')].every((each) => getComputedStyle(each).display === 'none')"
    assert browser.ask(seen)
    assert rows(browser, "verdicts", 4) == ["2.00", "10.50", "0.25"]


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="pdftotext (poppler) is not on the path")
def test_paper_has_the_figures_and_verdicts_and_none_of_the_controls(browser, written, contents, tmp_path):
    browser.open(written, dark=True)
    type_in(browser, "filter-verdicts", "refuted")
    printed = tmp_path / "report.pdf"
    printed.write_bytes(browser.pdf())
    text = subprocess.run(["pdftotext", "-layout", printed, "-"], capture_output=True, text=True, check=True).stdout
    flat = re.sub(r"\s+", " ", text)
    for every in contents.pictures.drawn.values():
        assert all(f"{each.title}." in flat for each in every)
    assert "2 of 3 shown" in flat
    assert "Show only rows" not in flat
    assert "All figures and tables" not in flat
    assert "Reproduce: downslope report --quick" in flat
    browser.open(written, dark=True, media="print")
    assert browser.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.ask("getComputedStyle(document.querySelector('nav')).display") == "none"
