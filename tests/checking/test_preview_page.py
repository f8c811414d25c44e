"""A previewed mail in a browser: it loads nothing from elsewhere, and runs nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from mailsluice import Content, Engine, Mailing, Recipient, Settings
from mailsluice.checking.preview import NO_REMOTE_CONTENT
from mailsluice.config.settings import SesSettings
from mailsluice.emulator import Emulator
from tests.support.browser import CHROMIUM, opened

HOSTILE = """\
<p id="greeting">Dear {{name}}</p>
<img src="URL/image">
<link rel="stylesheet" href="URL/sheet">
<style>@import "URL/import"; p { background: url(URL/background) }</style>
<script>fetch("URL/script"); parent.document.title = "taken"</script>
<iframe src="URL/frame"></iframe>
<meta http-equiv="refresh" content="0; url=URL/refresh">
<img src=x onerror="parent.document.title = 'taken'">
"""


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
async def test_a_preview_loads_nothing_and_runs_nothing(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    asked: list[str] = []

    async def note(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(text="")

    app = web.Application()
    app.router.add_get("/{path}", note)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    mailing = Mailing(
        from_address="news@example.com",
        content=Content(subject="Hi", html=HOSTILE.replace("URL", f"http://{host}:{port}")),
    )
    async with Engine.open(Settings(ses=SesSettings(endpoint_url=ses_emulator.url))) as engine:
        [made] = await engine.previews(
            mailing, [Recipient("ann@example.org", data={"name": '"><script>'})]
        )
    page = tmp_path / "page.html"
    page.write_text(made.preview.page(), encoding="utf-8")
    plain = tmp_path / "plain.html"
    plain.write_text(made.preview.html or "", encoding="utf-8")
    try:
        async with opened(page.as_uri()) as tab:
            await tab.until("document.readyState == 'complete'")
            assert await tab.evaluate("document.title") == "Hi"
            assert await tab.evaluate("document.querySelectorAll('script').length") == 0
            assert asked == []
            # The control: without the page around it the same mail does ask for things.
            await tab.navigate(plain.as_uri())
            await tab.until("document.readyState == 'complete'")
        assert asked
    finally:
        await runner.cleanup()


async def test_a_notebook_shows_the_same_frame(ses_emulator: Emulator) -> None:
    mailing = Mailing(
        from_address="news@example.com",
        content=Content(subject="<b>{{name}}</b>", text="a < {{name}}"),
    )
    async with Engine.open(Settings(ses=SesSettings(endpoint_url=ses_emulator.url))) as engine:
        [made] = await engine.previews(mailing, [Recipient("ann@example.org", data={"name": "b"})])
    shown = made.preview._repr_html_()
    assert "&lt;b&gt;b&lt;/b&gt;" in shown
    assert '<iframe sandbox="" srcdoc="' in shown
    assert "a &amp;lt; b" in shown
    assert shown in made.preview.page()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
async def test_the_mail_itself_is_seen_as_a_file_and_as_the_worker_serves_it(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    pages = {}
    async with Engine.open(Settings(ses=SesSettings(endpoint_url=ses_emulator.url))) as engine:
        for colour in ("red", "tan"):  # nothing else differs, not even the size
            content = Content(subject="Hi", html=f'<body style="background: {colour}">Hi</body>')
            mailing = Mailing(from_address="news@example.com", content=content)
            [made] = await engine.previews(mailing, ["ann@example.org"])
            pages[colour] = made.preview.page()

    async def serve(request: web.Request) -> web.Response:
        policy = f"sandbox; {NO_REMOTE_CONTENT}; frame-ancestors 'none'"
        return web.Response(
            text=pages[request.path[1:]],
            content_type="text/html",
            headers={"Content-Security-Policy": policy},
        )

    app = web.Application()
    app.router.add_get("/{colour}", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        async with opened("about:blank") as tab:
            seen = []
            for colour, page in pages.items():
                (tmp_path / colour).with_suffix(".html").write_text(page, encoding="utf-8")
                await tab.navigate((tmp_path / colour).with_suffix(".html").as_uri())
                seen.append(await tab.picture())
                await tab.navigate(f"http://{host}:{port}/{colour}")
                seen.append(await tab.picture())
        assert len(set(seen)) == 2
        assert seen[0] == seen[1] != seen[2] == seen[3]
    finally:
        await runner.cleanup()
