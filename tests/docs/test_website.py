"""The page of the how-to in a real browser, on another origin than the API's: tokens, CORS, streams, cuts, reloads."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Page, async_playwright, expect
from starlette.types import Receive, Scope, Send

from syntera_crds.contract.agent_config import Access
from syntera_crds.contract.api_key import ApiKey, KeyKind
from syntera_dev.errors import MissingTool
from syntera_dev.packages import BROWSER_REQUIREMENTS, ensure_packages
from syntera_runtime.errors import ModelRefused
from tests.runtime.builders import make_agent, make_publishable_key
from tests.runtime.conftest import insert_api_key
from tests.runtime.serving import served

from .code_blocks import code_blocks
from .conftest import Api

pytestmark = pytest.mark.long
SECONDS = 60
"""How long a page may take on a busy machine."""


class Website:
    """Serves one page."""

    def __init__(self) -> None:
        self.html = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_page = scope["path"] == "/"
        headers = [(b"content-type", b"text/html; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200 if is_page else 404, "headers": headers})
        await send({"type": "http.response.body", "body": self.html.encode() if is_page else b""})


@pytest.fixture(scope="module", autouse=True)
def chromium() -> None:
    """The browser, which is installed where it is missing."""
    try:
        ensure_packages(BROWSER_REQUIREMENTS)
    except MissingTool as error:
        pytest.skip(str(error))


def find_chromium() -> str:
    (browser,) = BROWSER_REQUIREMENTS
    return next(filter(None, map(shutil.which, browser.any_of)))


@asynccontextmanager
async def visiting(api: Api, *, allowed: bool = True) -> AsyncIterator[Page]:
    """The how-to's page, opened in a browser of its own."""
    (html,) = code_blocks("how-to/embed-in-a-website.md", "html")
    website, key = Website(), ApiKey.generate(KeyKind.PUBLISHABLE)
    async with served(website) as origin, async_playwright() as playwright:  # type: ignore[arg-type]  # any ASGI app will do
        stored = make_publishable_key(key, allowed_origins=frozenset({origin} if allowed else ()))
        await insert_api_key(api.site.database, api.site.tenant_id, stored)
        for placeholder, real in (("https://acme.chat.example", api.url), ("syn_pk_...", key.text)):
            assert html.count(f'"{placeholder}"') == 1
            html = html.replace(placeholder, real)
        website.html = html
        browser = await playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        page = await (await browser.new_context()).new_page()
        page.set_default_timeout(SECONDS * 1000)
        await page.goto(origin)
        yield page
        await browser.close()


async def say(page: Page, text: str) -> None:
    await page.fill("#text", text)
    await page.click("button")


async def expect_lines(page: Page, *lines: str) -> None:
    await expect(page.locator("#log p")).to_have_text(list(lines), timeout=SECONDS * 1000)


async def test_visitor_is_greeted_answered_and_known_after_a_reload(api: Api) -> None:
    async with visiting(api) as page:
        await expect_lines(page, "Hello, how can I help?")
        await say(page, "Hi")
        lines = ("Hello, how can I help?", "Hi", "Hello world")
        await expect_lines(page, *lines)
        await page.reload()
        await expect_lines(page, *lines)
        await say(page, "And?")
        await expect_lines(page, *lines, "And?", "Hello world")


async def test_reply_goes_on_after_a_cut(api: Api) -> None:
    go_on = asyncio.Event()
    api.models.scripts = [["One", go_on, " two"]]
    async with visiting(api) as page:
        await expect_lines(page, "Hello, how can I help?")
        await say(page, "Count")
        await expect_lines(page, "Hello, how can I help?", "Count", "One")
        with api.gates[0].shut():
            go_on.set()
            await api.models.ended.wait()
        await expect_lines(page, "Hello, how can I help?", "Count", "One two")
        await expect(page.locator("#log p").last).to_have_attribute("data-state", "done", timeout=SECONDS * 1000)
    assert len(api.models.asked) == 1


async def test_failure_is_shown(api: Api) -> None:
    api.models.scripts = [["One", ModelRefused()]]
    async with visiting(api) as page:
        await expect_lines(page, "Hello, how can I help?")
        await say(page, "Hi")
        await expect_lines(page, "Hello, how can I help?", "Hi", f"One ({ModelRefused().message})")


async def test_words_of_a_model_are_no_markup(api: Api) -> None:
    api.models.scripts = [["<img src=x onerror=\"document.title='owned'\">"]]
    async with visiting(api) as page:
        await expect_lines(page, "Hello, how can I help?")
        await say(page, "Hi")
        await expect_lines(page, "Hello, how can I help?", "Hi", "<img src=x onerror=\"document.title='owned'\">")
        assert await page.title() == "Acme Travel"


async def test_token_that_is_refused_is_replaced(api: Api) -> None:
    async with visiting(api) as page:
        await expect_lines(page, "Hello, how can I help?")
        await page.evaluate("localStorage.setItem('visitor', 'syn_vt_nonsense')")
        await page.reload()
        await expect_lines(page, "Hello, how can I help?")
        await say(page, "Hi")
        await expect_lines(page, "Hello, how can I help?", "Hi", "Hello world")


async def test_page_of_another_origin_gets_nothing(api: Api) -> None:
    async with visiting(api, allowed=False) as page:
        refused = page.expect_console_message(lambda message: "CORS" in message.text)
        async with refused, page.expect_event("pageerror"):
            await page.reload()
        assert await page.locator("#log p").count() == 0


async def test_agent_for_identified_people_says_so(api: Api) -> None:
    api.agents.put(make_agent(access=Access.AUTHENTICATED))
    async with visiting(api) as page:
        async with page.expect_event("pageerror") as caught:
            await page.reload()
        assert "who signed in" in str(await caught.value)
