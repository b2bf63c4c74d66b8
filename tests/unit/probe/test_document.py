"""What ``probe --json`` and ``--html`` write."""

from __future__ import annotations

from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import jsonschema

from client_view_factory import HOST, session, silent, trace, view
from port25lab.probe.client_view import Answer, ClientView
from port25lab.probe.document import document, probed, schema
from port25lab.probe.hops_picture import pictures
from port25lab.probe.page import page

EVIL = '"><script>alert(1)</script>\x1b[2J'
VIEW = view(
    silent(), session(587, banner=EVIL, keywords_tls=("AUTH",)), traces=(trace(25, 2), trace(587, 5, Answer.ACCEPTED))
)
NAMELESS = ClientView(host="x.example", target="x.example", unresolved="'x.example' cannot be resolved")


def test_one_probe_and_many_have_the_schema() -> None:
    one = document([probed(VIEW, "now")], many=False).model_dump(mode="json")
    many = document([probed(VIEW, "now"), probed(NAMELESS, "now")], many=True).model_dump(mode="json")
    for data in (one, many):
        jsonschema.validate(data, schema())
    assert one["schema_version"] == 1
    assert {"view", "findings", "says", "ways_out", "working"} <= set(one)
    assert [probe["working"] for probe in many["probes"]] == [False, False]


def test_a_name_that_does_not_resolve_is_said() -> None:
    (said,) = probed(NAMELESS, "now").says
    assert "cannot be resolved" in said.what
    assert said.letter is None


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href") and value]


def test_the_page_is_whole_and_runs_nothing() -> None:
    text = page([probed(VIEW, "now"), probed(NAMELESS, "now")])
    tags = Tags()
    tags.feed(text)
    assert "script" not in tags.names
    assert tags.loads == []
    assert "alert(1)" in text
    assert "\x1b" not in text
    assert tags.names.count("svg") == 1
    assert HOST in text


def test_the_picture_is_xml_and_says_in_words_what_it_shows() -> None:
    (picture,) = pictures(probed(VIEW, "now"))
    svg = ET.fromstring(picture)  # made here
    assert svg.get("aria-label") == "IPv4, hop by hop: port 25: syn-drop at hop 2; port 587 reaches the server"
