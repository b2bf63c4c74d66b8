"""The report in a real browser: every interaction, no message on the console, nothing that axe finds, inert text.

Takes Debian's `chromium`, and Playwright without a browser of its own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evidence_factory import FULL, report, rule, verdict
from port25lab.model.outcome import Outcome
from port25lab.report.html.page import page
from port25lab.report.json_file import document

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("Chromium is not installed", allow_module_level=True)

HOSTILE = "<img src=x onerror=\"document.title='run'\">\u202e\x1b[31m"


def results(*verdicts: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(document(report(*verdicts)), default=str))
    return data


def some() -> dict[str, Any]:
    blocked = verdict(Outcome.DROPPED, expected=Outcome.DELIVERED, ref="S3", blame=rule("isp-edge"))
    untold = verdict(Outcome.ERROR, expected=Outcome.DROPPED, ref="S4", reason="the lab broke", name=HOSTILE)
    delivered = verdict(ref="S5")
    taken = verdict(Outcome.INTERCEPTED, ref="S6", expected=Outcome.INTERCEPTED, answered_by="isp-edge")
    data = results(blocked, untold, delivered, taken, FULL)
    for number, one in enumerate(data["verdicts"]):
        one["path"] += f"#{number}"
        one["route"] = ["pc", "isp-edge", "mx"]
    data["topologies"] = [
        {
            "name": "town",
            "file": "town.py",
            "parameters": {},
            "nodes": [
                {"name": name, "forward": name == "isp-edge", "services": [], "policies": [], "interfaces": []}
                for name in ("pc", "isp-edge", "mx", "dns")
            ],
            "links": [[{"node": "isp-edge"}, {"node": name}] for name in ("pc", "mx", "dns")],
        }
    ]
    blame = data["verdicts"][0]["blame"]
    data["inputs"] = [{"file": blame["file"], "sha256": "0" * 64, "text": f"# one\n{HOSTILE}\n" + "-A x\n" * 20}]
    return data


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Shown:
    """A page, and what it said on the console or wanted from elsewhere."""

    def __init__(self, browser: Any, file: Path, text: str, **more: Any) -> None:
        file.write_text(text, encoding="utf-8")
        self.tab = browser.new_page(**more)
        self.said: list[str] = []
        self.tab.on("console", lambda message: self.said.append(message.text))
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.on("request", lambda request: request.url.startswith("file:") or self.said.append(request.url))
        self.tab.goto(file.as_uri())
        self.tab.wait_for_selector("html[data-ready]")


@pytest.fixture
def shown(browser: Any, tmp_path: Path) -> Iterator[Shown]:
    one = Shown(browser, tmp_path / "report.html", page(some(), some()))
    yield one
    assert [text for text in one.said if not text.startswith("blob:")] == []
    one.tab.close()


def test_failures_come_first_then_what_could_not_be_told(shown: Shown) -> None:
    headings = shown.tab.locator("h2").all_text_contents()
    first = [text for text in headings if text][:2]
    assert first[0].startswith("Not as expected (")
    assert first[1].startswith("Could not be told (")


def test_the_table_is_filtered_by_text_outcome_node_and_version(shown: Shown) -> None:
    tab = shown.tab
    rows = tab.locator("#table tbody tr")
    everything = rows.count()
    assert everything == 5
    tab.fill("#f-text", "s6")
    assert rows.count() == 1
    tab.fill("#f-text", "")
    tab.select_option("#f-outcome", "delivered")
    assert rows.count() == 1
    tab.select_option("#f-outcome", "")
    tab.select_option("#f-node", "isp-edge")
    assert 0 < rows.count() < everything
    tab.select_option("#f-node", "")
    tab.select_option("#f-ip", "6")
    assert 0 < rows.count() < everything
    assert "of 5" in str(tab.text_content("#count"))


def test_a_path_shows_its_way_and_has_an_address_of_its_own(shown: Shown) -> None:
    tab = shown.tab
    tab.locator("#table tbody tr a").first.click()
    chosen = tab.locator("#chosen")
    chosen.wait_for(state="visible")
    assert "#v=" in tab.url
    assert chosen.locator(".node.decider").get_attribute("data-node") == "isp-edge"
    assert chosen.locator(".wires path.on").count() == 1
    assert chosen.locator(".wires path.off").count() == 1
    tab.reload()
    tab.wait_for_selector("html[data-ready]")
    assert tab.locator("#chosen").is_visible()
    tab.keyboard.press("Escape")
    assert not tab.locator("#chosen").is_visible()


def test_a_path_without_a_rule_is_green_as_far_as_it_was_seen_alone(browser: Any, tmp_path: Path) -> None:
    data = some()
    lost, unknown = data["verdicts"][0], data["verdicts"][1]
    ended = {"how": "no-answer", "packet": {"node": "isp-edge"}}
    lost |= {"outcome": "unreachable", "blame": None, "answered_by": None, "ended": ended, "packets": []}
    unknown |= {"blame": None, "answered_by": None, "ended": None, "packets": []}
    one = Shown(browser, tmp_path / "report.html", page(data))
    one.tab.locator("#table tbody tr a").nth(0).click()
    chosen = one.tab.locator("#chosen")
    assert chosen.locator(".node.on").evaluate_all("all => all.map((one) => one.dataset.node)") == ["isp-edge", "pc"]
    assert chosen.locator(".node.off").get_attribute("data-node") == "mx"
    one.tab.locator("#table tbody tr a").nth(1).click()
    assert chosen.locator(".wires .on, .wires .off").count() == 0
    assert "how far it came is not known" in str(chosen.text_content())
    one.tab.close()


def test_an_address_that_the_page_did_not_make_is_left_alone(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page(some()), encoding="utf-8")
    tab = browser.new_page()
    tab.goto(f"{file.as_uri()}#v=%")
    tab.wait_for_selector("html[data-ready]")
    tab.close()


def test_the_keyboard_alone_opens_a_path(shown: Shown) -> None:
    tab = shown.tab
    tab.locator("#table tbody tr a").nth(2).focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#chosen").is_visible()


def test_the_rule_leads_to_its_line_and_the_line_back_to_a_path(shown: Shown) -> None:
    tab = shown.tab
    tab.locator("#first .card a[href^='#r-']").first.click()
    line = tab.locator("#rules .ruleline.hit").first
    assert line.is_visible()
    line.locator("button").click()
    assert tab.locator("#chosen").is_visible()


def test_a_figure_and_a_table_are_saved(shown: Shown) -> None:
    tab = shown.tab
    with tab.expect_download() as table:
        tab.locator("#paths .tools button").click()
    assert table.value.suggested_filename == "paths.csv"
    assert table.value.path().read_bytes().count(b"\r\n") == 6
    tab.locator("#table tbody tr a").first.click()
    with tab.expect_download() as figure:
        tab.locator("#chosen .tools button").first.click()
    assert "<svg" in figure.value.path().read_text()


def test_hostile_text_is_inert_and_visible(shown: Shown) -> None:
    tab = shown.tab
    tab.locator("#table tbody tr a").nth(1).click()
    text = str(tab.text_content("#chosen"))
    assert "<img src=x" in text
    assert "\\u202e\\u001b[31m" in text
    assert tab.title() != "run"
    assert tab.locator("img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(
    browser: Any, tmp_path: Path, scheme: str, width: int
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    more = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}, "bypass_csp": True}
    one = Shown(browser, tmp_path / "report.html", page(some()), **more)
    one.tab.locator("#table tbody tr a").first.click()
    found = axe.Axe().run(one.tab).response["violations"]
    assert [(each["id"], [node["html"][:120] for node in each["nodes"]]) for each in found] == []
    assert one.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    one.tab.close()


def test_ten_thousand_verdicts_are_small_and_filtered_at_once(browser: Any, tmp_path: Path) -> None:
    data = some()
    originals = data["verdicts"]
    data["verdicts"] = [originals[n % 5] | {"path": f"{originals[n % 5]['path']}-{n}"} for n in range(10_000)]
    text = page(data)
    assert len(text) < 8_000_000
    one = Shown(browser, tmp_path / "report.html", text)
    took = one.tab.evaluate(
        """() => {
            const box = document.getElementById("f-text"), started = performance.now();
            box.value = "s6";
            box.dispatchEvent(new Event("input"));
            document.body.getBoundingClientRect();
            return performance.now() - started;
        }"""
    )
    assert one.tab.locator("#table tbody tr").count() == 200
    assert one.tab.text_content("#count") == "2000 of 10000"
    print(f"{len(text)} bytes, filtered in {took:.0f} ms")
    one.tab.close()
