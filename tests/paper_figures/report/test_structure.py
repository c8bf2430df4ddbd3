"""The page as its markup says it, without a browser: one file, ids that are unique, everything with a name.

Each property is one function from a page to what is wrong with it; the same functions catch planted faults below.
"""

import dataclasses
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from downslope.paper_figures import drawing
from downslope.paper_figures.report import page, pictures

ADDRESSES = ("href", "src", "xlink:href", "data", "srcset", "action", "poster", "background")
REFERENCES = ("aria-controls", "aria-labelledby", "aria-describedby", "for", "headers")
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Element:
    """An element with its attributes, its text and what stands in it."""

    def __init__(self, tag, attributes, parent):
        self.tag, self.given, self.parent = tag, attributes, parent
        self.children, self.parts = [], []

    def all(self, *tags):
        """Every element below of these tags; of every tag where there are none."""
        for child in self.children:
            if not tags or child.tag in tags:
                yield child
            yield from child.all(*tags)

    def text(self):
        """What is said in it and below, spaces folded."""
        said = (part if isinstance(part, str) else part.text() for part in self.parts)
        return re.sub(r"\s+", " ", " ".join(said)).strip()

    def within(self, tag):
        parent = self.parent
        while parent is not None and parent.tag != tag:
            parent = parent.parent
        return parent


class Tree(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.root = self.here = Element("", {}, None)
        self.crossed = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        element = Element(tag, {name: value or "" for name, value in attributes}, self.here)
        self._put(element)
        if tag not in VOID:
            self.here = element

    def handle_startendtag(self, tag, attributes):
        self._put(Element(tag, {name: value or "" for name, value in attributes}, self.here))

    def _put(self, element):
        self.here.children.append(element)
        self.here.parts.append(element)

    def handle_endtag(self, tag):
        if tag != self.here.tag:
            self.crossed.append((self.here.tag, tag))
        elif self.here.parent is not None:
            self.here = self.here.parent

    def handle_data(self, data):
        self.here.parts.append(data)


def read(text):
    return Tree(text).root


def badly_nested(text):
    return Tree(text).crossed


def outside_addresses(text):
    """What is not in the page itself: every address is an anchor, or image data."""
    elements = list(read(text).all())
    given = [element.given[name] for element in elements for name in ADDRESSES if name in element.given]
    outside = [each for each in given if not each.startswith(("#", "data:image/png;base64,"))]
    outside += re.findall(r"(?:https?:|[\"'(=])//[a-z][^\s\"')]*", text)
    outside += re.findall(r"@import[^;]*", text)
    outside += [element.tag for element in elements if element.tag in ("link", "iframe", "object", "embed", "base")]
    outside += [each for each in re.findall(r"url\(([^)]*)\)", text) if not each.startswith("#")]
    return outside


def doubled_ids(text):
    ids = [element.given["id"] for element in read(text).all() if "id" in element.given]
    return sorted({each for each in ids if ids.count(each) > 1})


def dangling(text):
    """References to ids, anchors and paint servers that are nowhere."""
    elements = list(read(text).all())
    ids = {element.given.get("id") for element in elements}
    wanted = [
        each
        for element in elements
        for name in REFERENCES
        if name in element.given
        for each in element.given[name].split()
    ]
    wanted += [
        element.given[name][1:]
        for element in elements
        for name in ("href", "xlink:href")
        if element.given.get(name, "").startswith("#")
    ]
    wanted += re.findall(r"url\(#([^)]*)\)", text)
    return sorted(set(wanted) - ids)


def unnamed(text):
    """Controls, images, regions and tables without a name for those who cannot see them."""
    root = read(text)
    elements = list(root.all())
    by_id = {element.given["id"]: element for element in elements if "id" in element.given}
    labelled = {element.given["for"] for element in elements if element.tag == "label" and element.text()}

    def name(element):
        pointed = [by_id[each].text() for each in element.given.get("aria-labelledby", "").split() if each in by_id]
        return element.given.get("aria-label", "").strip() or " ".join(pointed).strip()

    found = []
    for element in elements:
        kind = element.given.get("role", element.tag)
        if element.tag in ("input", "select", "textarea"):
            named = element.given.get("id") in labelled or name(element)
        elif element.tag == "svg":
            titles = [child.text() for child in element.children if child.tag == "title"]
            described = by_id.get(element.given.get("aria-describedby", ""))
            named = (
                kind == "img" and name(element) and any(titles) and described is not None and len(described.text()) > 80
            )
        elif element.tag == "img":
            named = element.given.get("alt")
        elif element.tag == "table":
            named = any(child.tag == "caption" and child.text() for child in element.children)
        elif element.tag in ("a", "button", "summary"):
            named = element.text() or name(element)
        elif kind in ("section", "region", "nav", "group") or element.given.get("tabindex") == "0":
            named = name(element)
        else:
            named = True
        if not named:
            found.append((element.tag, element.given.get("id", "")))
    return found


def headless(text):
    """Header cells that do not say what they head."""
    return [element.text() for element in read(text).all("th") if "scope" not in element.given]


def levels_skipped(text):
    levels = [int(element.tag[1]) for element in read(text).all("h1", "h2", "h3", "h4", "h5", "h6")]
    return [(a, b) for a, b in pairwise(levels) if b > a + 1]


FAULTS = (badly_nested, outside_addresses, doubled_ids, dangling, unnamed, headless, levels_skipped)

MUTANTS = {
    "a picture from elsewhere": (outside_addresses, "</main>", '<img alt="x" src="https://example.org/a.png"></main>'),
    "a picture without a scheme": (outside_addresses, "</main>", '<img alt="x" src="//example.org/a.png"></main>'),
    "a file beside the page": (outside_addresses, "</main>", '<img alt="x" src="a.png"></main>'),
    "a link to a site": (outside_addresses, "</main>", '<a href="http://example.org">x</a></main>'),
    "a style from elsewhere": (outside_addresses, "</style>", "@import 'a.css';</style>"),
    "a font from elsewhere": (outside_addresses, "</style>", "body { background: url(a.png); }</style>"),
    "an id twice": (doubled_ids, "</main>", '<p id="answer"></p></main>'),
    "a reference to nothing": (dangling, 'aria-controls="verdicts"', 'aria-controls="verdict"'),
    "a link to nothing": (dangling, 'href="#provenance"', 'href="#provenence"'),
    "a field without a label": (unnamed, '<label for="filter-verdicts">', '<label for="verdicts">'),
    "a button without a name": (unnamed, "</main>", '<button type="button"></button></main>'),
    "a figure without a title": (unnamed, "<title>Training, tied against untied</title>", ""),
    "a figure without a description": (unnamed, ' aria-describedby="caption-training"', ""),
    "a table without a caption": (unnamed, '<caption id="accuracy-caption">Final test accuracy</caption>', ""),
    "a header of nothing": (headless, '<th scope="row">', "<th>"),
    "an element not closed": (badly_nested, "</main>", "<div></main>"),
    "a level of headings left out": (levels_skipped, "</h1>", "</h1><h4>x</h4>"),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_page_has_no_fault(rendered, fault):
    assert fault(rendered) == []


@pytest.fixture(scope="module")
def lean(rendered):
    """The page with its figures emptied: planted faults are looked for in less."""
    return re.sub(r"(<svg [^>]*><title>[^<]*</title>).*?</svg>", r"\1</svg>", rendered, flags=re.DOTALL)


@pytest.mark.parametrize("planted", MUTANTS)
def test_a_planted_fault_is_caught(lean, planted):
    fault, old, new = MUTANTS[planted]
    assert old in lean
    assert fault(lean) == []
    assert fault(lean.replace(old, new, 1)) != []


def test_the_landmarks_are_there_once(rendered):
    root = read(rendered)
    assert [len(list(root.all(tag))) for tag in ("header", "nav", "main", "h1")] == [1, 1, 1, 1]
    assert next(root.all("html")).given["lang"] == "en"
    sections = [element.given["id"] for element in next(root.all("main")).all("section")]
    assert sections == ["question", *page.SECTIONS]


def test_a_section_without_content_is_left_out(contents):
    bare = dataclasses.replace(contents, pictures=pictures.Pictures({}, ()))
    ids = {element.given.get("id") for element in read(page.render(bare, version="1")).all()}
    assert "answer" in ids
    assert not ids & {"more", "absent"}


def test_every_figure_that_can_be_drawn_is_on_the_page_and_every_other_is_named(rendered, contents):
    root, found = read(rendered), contents.pictures
    figures = {element.given["id"].removeprefix("figure-") for element in root.all("figure")}
    assert figures == {each.id for every in found.drawn.values() for each in every}
    assert {*found.drawn, *(each.name for each in found.absent)} == set(drawing.figures())
    (section,) = (element for element in root.all("section") if element.given["id"] == "absent")
    assert found.absent
    for each in found.absent:
        assert f"{each.title} ( {each.name} ) {each.reason}" in section.text()


def test_every_figure_says_its_data_and_its_command(rendered):
    for element in read(rendered).all("figcaption"):
        assert re.search(r"Data: (computed from the theory|\w+\.parquet: [\d,]+ rows)", element.text())
        assert re.search(r"Reproduce: downslope figures [\w-]+", element.text())


def test_every_table_has_a_command_near(rendered):
    sections = [table.within("details") or table.within("section") for table in read(rendered).all("table")]
    assert sections
    assert all("Reproduce: downslope" in each.text() for each in sections)


def test_without_a_script_there_is_no_dead_control(rendered):
    root = read(rendered)
    assert list(root.all("button")) == []
    assert all("hidden" in element.within("p").given for element in root.all("input"))


def test_text_of_a_table_cannot_become_markup(rendered):
    assert "A batch mixes &lt;signs&gt;" in rendered
