"""Look at the built documentation in a browser: searches, the catalogue, versions, console, hosts, links, widths.

    python docs/check_pages.py docs/_build/html [--chromium /usr/bin/chromium]

It needs playwright (``pip install playwright``) and a Chromium. What fails is printed, and the exit status says so.
"""

import argparse
import functools
import json
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urldefrag, urljoin, urlparse

# What readers type, and pages of which one must be among the first three results.
SEARCHES = {
    "SWA": ["collect.Tail", "WeightAveragingClassifier", "average.Mean"],
    "model soup": ["merge.Uniform", "merge.Greedy", "SoupClassifier"],
    "git re-basin": ["align.WeightMatching", "ReBasinMerger"],
    "TIES": ["merge.TIES"],
    "snapshot": ["collect.Snapshots", "SnapshotEnsembleClassifier"],
    "Tail": ["collect.Tail"],
}
PAGES = [
    "index", "auto_examples/index", "auto_examples/plot_quickstart", "catalogue/index", "changes", "search",
    "api/generated/skfusion.SoupClassifier", "api/generated/skfusion.merge.Greedy", "guide/concepts", "guide/rebasin",
    "guide/pools", "guide/fine_tunes", "results/tables", "results/trajectory", "results/connectivity",
]  # fmt: skip


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and logs nothing."""

    def log_message(self, *args: object) -> None:
        """Log nothing."""


class Page(HTMLParser):
    """The links of a page, and the places that links may lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Keep what a tag links to, and its own name."""
        for name, value in attributes:
            if value and (name in ("href", "src") and tag != "link"):
                self.links.add(value)
            if value and name in ("id", "name"):
                self.places.add(value)


def broken_links(root: Path) -> Iterator[str]:
    """Yield the links between pages that lead nowhere."""
    pages = {path.relative_to(root).as_posix(): Page(path.read_text(encoding="utf-8")) for path in root.rglob("*.html")}
    for name, page in pages.items():
        for link in page.links:
            address = urljoin(f"http://here/{name}", link)
            if urlparse(address).netloc != "here" or not address.startswith("http"):
                continue
            path, place = urldefrag(address)
            target = unquote(urlparse(path).path).lstrip("/") or "index.html"
            if not (root / target).exists():
                yield f"{name}: {link} leads nowhere"
            elif name.startswith("_modules/") or place.startswith("?"):
                continue  # sources name an object's page, not always its place there; a "?" is the state of a filter
            elif place and target in pages and unquote(place) not in pages[target].places:
                yield f"{name}: {link} has no such place"


def failures(root: Path, server: str, chromium: str) -> Iterator[str]:
    """Yield what a browser finds wrong."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        heard: list[str] = []
        page.on("console", lambda message: heard.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: heard.append(request.url) if foreign(request.url, server) else None)
        for name in PAGES:
            heard.clear()
            page.goto(f"{server}/{name}.html", timeout=120_000)
            page.wait_for_timeout(500)
            yield from (f"{name}: {text}" for text in heard)
            width = page.evaluate("document.documentElement.scrollWidth")
            if width > 390:
                yield f"{name}: {width} pixels wide on a screen of 390"
        for words, wanted in SEARCHES.items():
            found = search(page, server, words)
            if not any(name.endswith(tuple(wanted)) for name in found[:3]):
                yield f"search for {words!r}: {found[:5]}"
        yield from (f"versions: {problem}" for problem in versions(page, root, server))
        browser.close()


def foreign(url: str, server: str) -> bool:
    """Return whether an address is on another host."""
    return url.startswith("http") and not url.startswith(server)


def search(page: object, server: str, words: str) -> list[str]:
    """Return the names of the pages that a search finds, best first."""
    page.goto(f"{server}/search.html?q={quote(words)}", timeout=120_000)
    page.wait_for_function("/finished/.test(document.querySelector('.search-summary')?.innerText)", timeout=60_000)
    addresses = page.eval_on_selector_all("#search-results ul.search > li > a", "links => links.map(a => a.href)")
    return [urlparse(address).path.removesuffix(".html") for address in addresses]


def versions(page: object, root: Path, server: str) -> Iterator[str]:
    """Yield what is wrong with the choice of a version: hidden while there is one, and shown where there are two."""
    address = f"{server}/guide/concepts.html"
    page.goto(address)
    page.wait_for_timeout(300)
    if page.locator(".versions").get_attribute("hidden") is None:
        yield "shown for one version"
    own = json.loads((root / "versions.json").read_text())
    two = [*own, {"version": "0.0.1", "title": "0.0.1", "url": "./other/"}]
    page.route("**/versions.json", lambda route: route.fulfill(json=two))
    page.goto(address)
    page.wait_for_timeout(300)
    if page.locator(".versions").get_attribute("hidden") is not None:
        yield "hidden for two versions"
    options = page.eval_on_selector_all(".versions option", "all => all.map(o => [o.text, o.value, o.selected])")
    if [option[1:] for option in options] != [[f"{server}/", True], [f"{server}/other/", False]]:
        yield f"wrong choices {options}"
    page.unroute("**/versions.json")


def main() -> int:
    """Print all that is wrong, and return 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("root", type=Path, help="folder of the built pages")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser")
    args = parser.parse_args()
    handler = functools.partial(Quiet, directory=str(args.root))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    problems = [*broken_links(args.root), *failures(args.root, f"http://127.0.0.1:{server.server_port}", args.chromium)]
    print("\n".join(problems) or "all pages are well")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
