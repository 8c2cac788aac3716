"""Notebooks in a real JupyterLab and a real browser: what is clicked or written, and then seen.

Each picture that the browser shows is compared with what the library gives in this process.
"""

from __future__ import annotations

import base64
import io
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from agman_lib.explain.maps import MAPS
from agman_lib.explain.widgets.attribute_panel import WORKING
from agman_lib.explain.widgets.controls import PHOTO, SIDE

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("jupyterlab")
playwright = pytest.importorskip("playwright.sync_api")
sys.path.insert(0, str(ROOT / "notebooks"))
import manage  # noqa: E402

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason=f"needs one of {', '.join(BROWSERS)}"),
]
NOTEBOOK = ROOT / "notebooks" / "07_attention_explorer.ipynb"
WITH_BLANKS = ROOT / "notebooks" / "00_start_here.ipynb"
QUIET = "--no-sandbox --disable-gpu --disable-background-networking --no-first-run "
QUIET += "--disable-component-update --disable-sync"
SETTINGS = {  # every cell is in the page, also those that are scrolled away
    "apputils-extension/notification": '{"fetchNews": "false"}',
    "notebook-extension/tracker": '{"windowingMode": "none"}',
}
HOLD = """\
# Grad-CAM waits while there is a file of this name, so that "meanwhile" can be tested.
import pathlib, time
at_once = Explainer.grad_cam
def held(*given):
    while pathlib.Path("hold").exists():
        time.sleep(0.02)
    return at_once(*given)
Explainer.grad_cam = held
"""
PROMPTS = ".jp-CodeCell .jp-InputPrompt"
RAN = rf"""() => {{
    const said = [...document.querySelectorAll('{PROMPTS}')].map(prompt => prompt.textContent);
    return said.some(text => /\d/.test(text)) && !said.some(text => text.includes('*'));
}}"""
BYTES = """async image => btoa(Array.from(
    new Uint8Array(await (await fetch(image.src)).arrayBuffer()), b => String.fromCharCode(b)
).join(''))"""


# --------------------------------------------------------------------------- JupyterLab


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with the two notebooks alone, without outputs."""
    folder = tmp_path_factory.mktemp("lab")
    for path in (NOTEBOOK, WITH_BLANKS):
        nb = nbformat.read(path, as_version=4)
        if path == NOTEBOOK:
            nb.cells.append(nbformat.v4.new_code_cell(HOLD))
        for cell in nb.cells:
            if cell.cell_type == "code":
                cell.update(outputs=[], execution_count=None)
        nbformat.write(nb, folder / path.name)
    return folder


@pytest.fixture(scope="module")
def lab(folder, tmp_path_factory):
    """The notebook's address in a JupyterLab that knows no settings but ours."""
    home = tmp_path_factory.mktemp("jupyter")
    for name, content in SETTINGS.items():
        path = home / f"config/lab/user-settings/@jupyterlab/{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    places = {f"JUPYTER_{n.upper()}_DIR": str(home / n) for n in ("config", "data", "runtime")}
    places |= {"IPYTHONDIR": str(home / "ipython"), "PYTHONPATH": str(ROOT)}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "AGMAN"))}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token, address = secrets.token_hex(16), f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
    command += ["--allow-root"] if os.name == "posix" and os.getuid() == 0 else []
    log = home / "log"
    with log.open("w") as to:
        server = subprocess.Popen(command, cwd=folder, env=kept | places, stdout=to, stderr=to)
    try:
        for _ in range(600):
            assert server.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(f"{address}/api/status?token={token}", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"{address}/lab/tree/{NOTEBOOK.name}?token={token}"
    finally:
        server.terminate()  # it then ends its kernels
        try:
            server.wait(20)
        finally:
            server.kill()


def run_all(page, address: str) -> None:
    """Open a notebook and run all of its cells."""
    page.goto(address)
    page.get_by_text("(ipykernel) | Idle").wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    page.wait_for_function(RAN, timeout=240_000)


@pytest.fixture(scope="module")
def page(lab):
    """The notebook, all of whose cells have been run."""
    problems: list[str] = []  # of the browser's console, and Python's that the kernel tells of

    def console(message) -> None:
        badge = "colab" in message.location.get("url", "")  # its host need not be within reach
        if message.type == "error" and not badge:
            problems.append(message.text)

    def frame(data) -> None:
        data = data if isinstance(data, bytes) else data.encode()
        if b'"msg_type": "error"' in data or b"Traceback (most" in data:
            problems.append(data.decode(errors="replace"))

    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=QUIET.split())
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("console", console)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("websocket", lambda socket: socket.on("framereceived", frame))
        run_all(page, lab)
        page.problems = problems
        yield page
        browser.close()


@pytest.fixture(autouse=True)
def _no_problems(page):
    yield
    assert page.problems == []
    assert page.locator(".jupyter-widgets-error-widget").count() == 0


# --------------------------------------------------------------------------- what should be seen


@pytest.fixture(scope="module")
def here(page, folder) -> dict:
    """The notebook's own names in this process: its cells up to the first explorer, and the last.

    So ``explorer`` and ``finder`` are as in the browser, and say what should be seen there.
    """
    names: dict = {}
    code = [c.source for c in nbformat.read(NOTEBOOK, 4).cells if c.cell_type == "code"]
    first = next(n for n, source in enumerate(code) if "= AttentionExplorer(" in source)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGMAN_WORK", str(folder / "agman-work"))  # its garments are drawn there
        for source in [*code[1 : first + 1], *(s for s in code if "= RetrievalExplorer(" in s)]:
            exec(source, names)
    return names


def drawn(axes) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


class Side:
    """An explorer in the browser, beside the same one here."""

    def __init__(self, page, words: str, here: dict, name: str) -> None:
        self.page, self.same, self.queries = page, here[name], here["queries"]
        self.box = page.locator(".jp-OutputArea-output").filter(has_text=words).first

    def button(self, name: str, nth: int = 0):
        return self.box.get_by_role("button", name=name, exact=True).nth(nth)

    def thumbnail(self, name: str, number: int):
        """A small picture that is itself a button."""
        named = re.compile(f"^{name} {number}: ")
        return self.box.get_by_role("button", name=named).locator("img")

    def picture(self, side: int = SIDE, nth: int = 0) -> bytes:
        image = self.box.locator(f'img[width="{side}"][height="{side}"]').nth(nth)
        return base64.b64decode(image.evaluate(BYTES))

    def until_shown(self, wanted: np.ndarray, side: int = SIDE, nth: int = 0) -> bytes:
        until, why = time.monotonic() + 20, ""
        while time.monotonic() < until:
            try:
                shown = self.picture(side, nth)
            except playwright.Error as error:  # it was replaced meanwhile
                why = str(error)
                continue
            pixels = np.asarray(Image.open(io.BytesIO(shown)))
            if np.array_equal(pixels, wanted):
                return shown
            why = f"it differs in {np.mean(pixels != wanted):.2%} of the numbers"
            self.page.wait_for_timeout(50)
        raise AssertionError(why)

    def wanted(self) -> list[np.ndarray]:
        """The pictures with a map, from the explorer's figure for print."""
        title = MAPS[self.same.map.value]
        return [drawn(a) for a in self.same.figure().axes if a.get_title() == title]

    def photo(self, nth: int) -> None:
        self.thumbnail("photo", nth).click()
        self.same.look_at(self.queries[nth - 1])

    def attribute(self, name: str, panel: int = 0) -> None:
        self.button(name.replace("_", " "), panel).click()
        self.same.panels[panel].attribute.value = name

    def map(self, name: str) -> None:
        self.button(MAPS[name]).click()
        self.same.map.value = name

    def tick(self, label: str, on: bool) -> None:
        self.box.get_by_label(label).set_checked(on)
        {"true region": self.same.regions, "two side by side": self.same.compare}[label].value = on


@pytest.fixture
def explorer(page, here) -> Side:
    """The first explorer: its first photo and its sleeve length, S over it, and its true region."""
    side = Side(page, "two side by side", here, "explorer")
    side.tick("two side by side", False)
    side.tick("true region", True)
    opacity = side.box.locator(".widget-readout")
    if opacity.inner_text() != "0.65":
        opacity.fill("0.65")
        opacity.press("Enter")
    side.same.opacity.value = 0.65
    side.map("attention")
    side.photo(1)
    side.attribute("sleeve_length")
    side.until_shown(side.wanted()[0])
    return side


# --------------------------------------------------------------------------- tests


def test_no_cell_fails(page):
    failed = page.locator('.jp-OutputArea-output[data-mime-type$=".stderr"]')  # errors too
    assert failed.all_inner_texts() == []
    assert all(re.search(r"\d", prompt) for prompt in page.locator(PROMPTS).all_inner_texts())
    assert page.locator(".jp-CodeCell .jupyter-widgets").count() > 0


def test_photo_map_and_what_is_found_fit_a_screen(explorer):
    box = explorer.box.bounding_box()
    assert 500 < box["height"] < 900
    assert box["width"] < 1280


def test_photo_and_attribute(explorer):
    seen = [explorer.picture()]
    for attribute in ("neckline", "closure"):
        explorer.attribute(attribute)
        seen.append(explorer.until_shown(explorer.wanted()[0]))
    explorer.photo(2)
    seen.append(explorer.until_shown(explorer.wanted()[0]))
    assert len(set(seen)) == 4
    explorer.thumbnail("look at", 2).click()
    explorer.same.look_at(explorer.same.panels[0].found["image"].iloc[1])
    assert explorer.until_shown(explorer.wanted()[0]) not in seen


def test_keys_alone(explorer):
    before, handle = explorer.picture(), explorer.box.get_by_role("slider")
    handle.focus()
    for key, opacity in (("ArrowRight", 0.7), ("ArrowLeft", 0.65), ("ArrowLeft", 0.6)):
        handle.press(key)
        explorer.same.opacity.value = opacity
        after = explorer.until_shown(explorer.wanted()[0])
        assert (after == before) == (opacity == 0.65)
    for attribute, key in (("neckline", "Space"), ("lapel", "Enter")):
        for _ in range(20):
            explorer.page.keyboard.press("Tab")
            if explorer.page.evaluate("document.activeElement.textContent") == attribute:
                break
        before = explorer.picture()
        explorer.page.keyboard.press(key)
        explorer.same.panels[0].attribute.value = attribute
        assert explorer.until_shown(explorer.wanted()[0]) != before


def test_gate_and_true_region(explorer):
    attention = explorer.picture()
    explorer.map("gate")
    gate = explorer.until_shown(explorer.wanted()[0])
    explorer.tick("true region", False)
    bare = explorer.until_shown(explorer.wanted()[0])
    assert len({attention, gate, bare}) == 3
    explorer.tick("true region", True)
    assert explorer.until_shown(explorer.wanted()[0]) == gate


def test_grad_cam_in_the_background(explorer, folder):
    explorer.attribute("neckline")
    seen = explorer.until_shown(explorer.wanted()[0])
    said = explorer.box.get_by_text("Grad-CAM of the similarity")
    (folder / "hold").touch()
    try:
        explorer.map("grad_cam")
        explorer.box.get_by_text(WORKING).wait_for()
        explorer.tick("true region", False)  # meanwhile
        explorer.until_shown(drawn(explorer.same.figure().axes[0]))
        assert not said.is_visible()
    finally:
        (folder / "hold").unlink()
    said.wait_for()
    explorer.tick("true region", True)
    assert explorer.until_shown(explorer.wanted()[0]) != seen


def test_two_side_by_side(explorer):
    pictures = explorer.box.locator(f'img[width="{SIDE}"][height="{SIDE}"]')
    assert pictures.count() == 1
    explorer.tick("two side by side", True)
    explorer.attribute("neckline", panel=1)
    left, right = (explorer.until_shown(w, nth=n) for n, w in enumerate(explorer.wanted()))
    assert pictures.count() == 2
    assert left != right
    explorer.tick("two side by side", False)
    playwright.expect(pictures).to_have_count(1)


def _upload(side: Side, name: str, content: bytes) -> None:
    with side.page.expect_file_chooser() as chooser:
        side.box.get_by_role("button", name="your own photo").click()
    chooser.value.set_files({"name": name, "mimeType": "image/png", "buffer": content})


def test_photos_of_ones_own(explorer, here):
    drawn = np.full((90, 60, 3), 230, np.uint8)
    drawn[20:60, 15:45] = (30, 90, 160)
    file = io.BytesIO()
    Image.fromarray(drawn).save(file, "PNG")
    before = explorer.picture()
    _upload(explorer, "mine.png", file.getvalue())
    explorer.box.get_by_text("Your photo mine.png").wait_for()
    explorer.same.look_at(here["gallery"].photo(file.getvalue()))
    own = explorer.until_shown(explorer.wanted()[0])
    assert own != before

    _upload(explorer, "broken.png", b"this is no picture")
    explorer.box.get_by_text("This photo cannot be used").wait_for()
    assert "Traceback" not in explorer.page.locator("body").inner_text()
    assert explorer.picture() == own
    explorer.photo(1)
    assert explorer.until_shown(explorer.wanted()[0]) == before


def test_what_is_found_becomes_the_query(page, here):
    finder = Side(page, "how many", here, "finder")
    finder.photo(1)
    finder.button("lapel").click()
    finder.same.attribute.value = "lapel"
    strip = finder.box.locator(".agman-pictures span")

    def captions() -> list[str]:
        return [*finder.same.chooser.strip.captions, *finder.same.strip.captions]

    found = captions()
    playwright.expect(strip).to_have_text(found)
    before = finder.until_shown(finder.same.photo.picture, PHOTO)
    finder.thumbnail("query", 2).click()
    finder.same.look_at(finder.same.found["image"].iloc[1])
    after = finder.until_shown(finder.same.photo.picture, PHOTO)
    assert after != before
    assert captions() != found
    playwright.expect(strip).to_have_text(captions())
    finder.button("query before").click()
    finder.same._back()
    assert finder.until_shown(finder.same.photo.picture, PHOTO) == before
    playwright.expect(strip).to_have_text(found)


def test_a_blank_is_tried_solved_and_used(page, lab):
    """A wrong answer, then the solution that is folded beneath, in the cell where it belongs."""
    solution = next(
        manage.SOLUTION.search(cell.source)[1].strip()
        for cell in nbformat.read(WITH_BLANKS, as_version=4).cells
        if cell.cell_type == "markdown" and "def rank(" in cell.source
    )
    asked = 'rank = course.check("rank", rank)'
    tab = page.context.browser.new_page(viewport=page.viewport_size)
    tab.set_default_timeout(30_000)
    run_all(
        tab, lab.replace("/lab/tree/" + NOTEBOOK.name, "/lab/workspaces/b/tree/" + WITH_BLANKS.name)
    )
    cell = tab.locator(".jp-CodeCell").filter(has_text=asked)
    said = cell.locator(".jp-OutputArea-output")
    playwright.expect(said).to_contain_text("○ rank: still `...`")

    def write(text: str) -> None:
        cell.locator(".cm-content").click()
        tab.keyboard.press("ControlOrMeta+a")
        tab.keyboard.insert_text(f"{text}\n\n\n{asked}")
        tab.keyboard.press("Control+Enter")

    write(solution.replace("-cosine", "cosine"))
    playwright.expect(said).to_contain_text("✗ rank: the worst come first")
    folded = tab.locator(".jp-MarkdownCell details").first
    playwright.expect(folded.locator("pre")).to_be_hidden()
    folded.locator("summary").click()
    playwright.expect(folded.locator("pre")).to_contain_text("np.argsort(-cosine)")
    write(solution)
    playwright.expect(said).to_have_text("✓ rank: right.")
    errors = tab.locator('.jp-OutputArea-output[data-mime-type$=".stderr"]')
    assert errors.all_inner_texts() == []
    tab.close()
