"""The web site: what goes into it, what its checker finds, and its pages in a real browser."""

from __future__ import annotations

import functools
import http.server
import json
import re
import sys
import threading

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "site"))
import book
import slides
from links import Page, problems

URL = "https://github.com/ann/fashion"
BADGE = "[![Open in Colab](https://elsewhere.example/b.svg)](https://elsewhere.example/x)"


def write(folder, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


# --------------------------------------------------------------------------- what goes into it


def test_every_notebook_and_document_is_a_page_once():
    pages = [page for of_part in book.parts().values() for page in of_part]
    assert len(pages) == len(set(pages))
    there = {p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").glob("*.md")}
    there |= {p.relative_to(ROOT).as_posix() for p in (ROOT / "notebooks").rglob("*.ipynb")
              if not {".ipynb_checkpoints", "instructor"} & set(p.parts)}  # fmt: skip
    assert set(pages) == there | {
        "RESULTS.md", "ERRATA.md", "data_prep/README.md", "notebooks/assignments/README.md"
    }  # fmt: skip


def test_the_contents_are_those_of_the_folder(tmp_path):
    names = ["04b_two", "04a_one", "10_ten", "A1_more", "solutions/04a_one"]
    write(tmp_path, {f"notebooks/{name}.ipynb": "" for name in names})
    write(tmp_path, {"docs/method.md": "", "notebooks/manage.py": ""})
    assert book.parts(tmp_path) == {
        "The course": [f"notebooks/{n}.ipynb" for n in ("04a_one", "04b_two", "10_ten")],
        "Appendices": ["notebooks/A1_more.ipynb"],
        "Solutions": ["notebooks/solutions/04a_one.ipynb"],
        "Results and reference": ["docs/method.md"],
    }
    assert book.contents({"The course": ["notebooks/00.ipynb", "docs/a.md"]}) == (
        'format: jb-book\nroot: "README.md"\nparts:\n- caption: "The course"\n  chapters:\n'
        '  - file: "notebooks/00.ipynb"\n  - file: "docs/a.md"\n'
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[a page](../RESULTS.md#one)", "[a page](../RESULTS.md#one)"),
        ("[a file](../LICENSE)", f"[a file]({URL}/blob/main/LICENSE)"),
        ("[with anchor](../MORE.md#two)", f"[with anchor]({URL}/blob/main/MORE.md#two)"),
        ("[a folder](../notebooks)", f"[a folder]({URL}/tree/main/notebooks)"),
        (f"[a page]({URL}/blob/main/RESULTS.md#one)", "[a page](../RESULTS.md#one)"),
        (f"[a file]({URL}/blob/main/LICENSE)", f"[a file]({URL}/blob/main/LICENSE)"),
        ("![a picture](../figures/a.png)", "![a picture](../figures/a.png)"),
        ("[missing](../NONE.md)", "[missing](../NONE.md)"),
        ("[outside](../../x.md)", "[outside](../../x.md)"),
        ("[here](#one), [far](https://a.example/LICENSE)",) * 2,
        ("```\n[code](../LICENSE)\n```\n[a](../LICENSE)",
         f"```\n[code](../LICENSE)\n```\n[a]({URL}/blob/main/LICENSE)"),
    ],
)  # fmt: skip
def test_links_lead_to_pages_or_into_the_repository(tmp_path, before, after):
    write(tmp_path, {name: "" for name in ("LICENSE", "MORE.md", "RESULTS.md", "figures/a.png")})
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "docs").mkdir()
    assert book.at_home(before, "docs/a.md", {"RESULTS.md", "docs/a.md"}, URL, tmp_path) == after


def test_a_fork_is_staged_with_its_address_and_without_badges(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": [f"{BADGE}\n", "\n", "# 00 Start\n", f"kept {BADGE}"]},
        {"cell_type": "code", "source": [f"# {BADGE} [a](../LICENSE)"], "outputs": ["an output"]},
    ]
    write(tmp_path, {
        "pyproject.toml": f'[project.urls]\nRepository = "{URL}"\n',
        "README.md": "# Home\n[licence](LICENSE)\n", "LICENSE": "", "figures/make.py": "",
        "figures/a.png": "", "notebooks/00_start.ipynb": json.dumps({"cells": cells}),
    })  # fmt: skip
    into = tmp_path / "build"
    write(into, {"old.md": ""})
    assert book.stage(tmp_path, into) == ["README.md", "notebooks/00_start.ipynb"]
    staged = json.loads((into / "notebooks/00_start.ipynb").read_text())["cells"]
    assert staged[0]["source"] == f"# 00 Start\nkept {BADGE}"
    assert staged[1] == cells[1]
    assert (into / "README.md").read_text() == f"# Home\n[licence]({URL}/blob/main/LICENSE)\n"
    assert (into / "_config.yml").read_text().endswith(f"\n  url: {URL}\n  branch: main\n")
    assert {p.name for p in (into / "figures").iterdir()} == {"a.png"}
    assert not (into / "old.md").exists()


# --------------------------------------------------------------------------- its checker


def test_dead_links_and_other_hosts_are_found(tmp_path):
    write(tmp_path, {
        "a.html": """<h1 id="top">A</h1><a href="#top">1</a><a href="#">2</a><a name="b c"></a>
            <a href="#none">3</a><a href="sub/b.html?x=1#in">4</a><a href="sub/b.html#out">5</a>
            <a href="gone.html">6</a><a href="sub">7</a><a href="sub/">8</a><a href="/a.html">9</a>
            <a href="../a.html">10</a><a href="https://far.example/gone">11</a>
            <a href="mailto:a@b">12</a><a href="#b%20c">13</a>
            <img src="p.png"><img src="gone.png"><img src="data:image/png;base64,AA">
            <img srcset="p.png 1x, //far.example/q.png 2x">
            <p style="background: url('//c.example')">
            <link rel="stylesheet" href="https://far.example/a.css">
            <link rel="canonical" href="https://far.example/a.html">
            <script src="http://far.example/a.js"></script>""",
        "sub/b.html": '<p id="in"><a href="../a.html#top">up</a>',
        "sub/index.html": "", "p.png": "",
        "_static/theme.html": '<a href="gone.html">the theme is not a page</a>',
        "_static/a.css": '@import "b.css"; p { background: url(//far.example/c.png) }',
    })  # fmt: skip
    assert problems(tmp_path) == [
        "a.html: loads //far.example/q.png",
        "a.html: loads //c.example",
        "a.html: loads https://far.example/a.css",
        "a.html: loads http://far.example/a.js",
        "a.html: #none: no such anchor",
        "a.html: sub/b.html#out: no such anchor",
        "a.html: gone.html: no such file",
        "a.html: /a.html: outside the site",
        "a.html: ../a.html: outside the site",
        "a.html: gone.png: no such file",
        "_static/a.css: loads //far.example/c.png",
    ]
    assert problems(tmp_path / "sub" / "none") == [f"{tmp_path}/sub/none: no page"]


# --------------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def site():
    """The built site, served by a port of this machine."""
    if not book.SITE.exists():
        pytest.skip("needs the built site: make site")
    handler = functools.partial(_Quiet, directory=str(book.SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_given) -> None:
        pass


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    from test_browser import BROWSER, QUIET

    if BROWSER is None:
        pytest.skip("needs a browser")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=QUIET.split())
        yield browser
        browser.close()


@pytest.fixture(params=[(1280, "light"), (400, "dark")], ids=["wide", "narrow"])
def page(request, site, browser):
    """A page of a browser that has seen nothing yet, and what went wrong in it."""
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, base_url=site
    )
    page, wrong = context.new_page(), []
    page.on("request", lambda r: _elsewhere(r.url, site) and wrong.append(r.url))
    page.on("response", lambda r: r.status >= 400 and wrong.append(f"{r.status} {r.url}"))
    page.on("console", lambda m: m.type == "error" and wrong.append(m.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    yield page
    context.close()
    assert wrong == []


def _elsewhere(url: str, site: str) -> bool:
    return not url.startswith((f"{site}/", "data:"))


def _markdown(name: str) -> str:
    """A page's text, of a notebook its Markdown cells, without code."""
    text = (ROOT / name).read_text(encoding="utf-8")
    if name.endswith(".ipynb"):
        cells = [c for c in json.loads(text)["cells"] if c["cell_type"] == "markdown"]
        text = "\n\n".join("".join(c["source"]) for c in cells)
    return re.sub(r"`[^`]+`", "", book.FENCE.sub("", text))


PAGES = [book.HOME, *(page for of_part in book.parts().values() for page in of_part)]
SHOWN = """() => {
    const count = what => document.querySelectorAll('.bd-article ' + what).length;
    const page = document.documentElement;
    return {
        wider: page.scrollWidth - page.clientWidth,
        math: count('.math'), typeset: count('.math mjx-container'), failed: count('mjx-merror'),
        folded: count('details'), open: count('details[open]'),
        missing: [...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src),
        theme: page.dataset.theme,
    };
}"""


@pytest.mark.browser
def test_every_page(page):
    for name in PAGES:
        text, path = _markdown(name), re.sub(r"\.\w+$", ".html", name)
        page.goto(f"/{path}", wait_until="load")
        page.wait_for_function("!window.MathJax?.startup || MathJax.startup.document")
        page.evaluate("window.MathJax?.startup?.promise")
        for fold in page.locator(".bd-article details").all():
            assert fold.evaluate("e => !e.open"), name
        seen = page.evaluate(SHOWN)
        assert seen["wider"] <= 0, name
        assert seen["missing"] == [], name
        assert seen["failed"] == 0, name
        assert seen["typeset"] == seen["math"], name
        assert (seen["math"] > 0) == ("$" in text), name
        assert seen["folded"] == text.count("<details"), name
        assert seen["open"] == 0, name
        assert seen["theme"] == ("light" if page.viewport_size["width"] == 1280 else "dark")


def test_buttons_open_this_repository(site):
    url = book.project()["urls"]["Repository"]
    for name in (n for n in PAGES if n.endswith(".ipynb")):
        links = Page(book.SITE / name.replace(".ipynb", ".html")).links
        short = url.removeprefix("https://github.com/")
        assert f"https://colab.research.google.com/github/{short}/blob/main/{name}" in links
        assert f"https://mybinder.org/v2/gh/{short}/main?urlpath=lab/tree/{name}" in links
        assert url in links


def test_a_slide_without_its_figure_is_refused(tmp_path):
    (tmp_path / "notebooks").mkdir()
    img = '<img alt="A bar" src="data:image/png;base64,AAAA">'
    output = {"data": {"text/html": [f"<p>{img}</p>", img.replace("A bar", "Two bars")]}}
    nb = {"cells": [{"outputs": []}, {"outputs": [output]}]}
    (tmp_path / "notebooks" / "00_a.ipynb").write_text(json.dumps(nb))
    deck = tmp_path / "deck.md"
    deck.write_text("# Title\n\n---\n\n![](00_a.ipynb#2)\n\ntext\n")
    second = img.replace("A bar", "Two bars")
    assert slides.slides(deck, tmp_path) == ["# Title", f"{second}\n\ntext"]
    for wrong in ("00_a.ipynb#3", "00_a.ipynb#0", "01_b.ipynb#1"):
        deck.write_text(f"![]({wrong})\n")
        with pytest.raises(SystemExit, match=wrong):
            slides.slides(deck, tmp_path)


@pytest.mark.browser
def test_every_slide(page):
    if page.viewport_size["width"] == 400:
        pytest.skip("slides are for a projector")
    for deck in slides.decks():
        page.goto(f"/slides/{deck.stem}.html", wait_until="load")
        page.wait_for_function("window.Reveal?.isReady()")
        assert page.evaluate("Reveal.getTotalSlides()") == len(slides.slides(deck))
        for k in range(len(slides.slides(deck))):
            page.evaluate(f"Reveal.slide({k})")
            seen = page.evaluate("""() => {
                const slide = Reveal.getCurrentSlide();
                const images = [...slide.querySelectorAll('img')];
                const bad = images.filter(i => !i.naturalWidth || !i.alt).length;
                return {height: slide.scrollHeight, bad};
            }""")
            assert seen["height"] <= 800, (deck.name, k)
            assert seen["bad"] == 0, (deck.name, k)


@pytest.mark.browser
def test_search_finds_a_page(page):
    page.goto("/search.html?q=neckline")
    title = page.get_by_role("link", name="00 Start here", exact=True)
    found = page.locator("#search-results li").filter(has=title)
    found.locator("p.context").wait_for()
    assert "neckline" in found.inner_text()
    found.get_by_role("link").first.click()
    page.wait_for_url("**/notebooks/00_start_here.html*")
    page.goto("/search.html?q=zyzzyva")
    page.get_by_text("did not match any documents").wait_for()
    assert page.locator("#search-results li").count() == 0
