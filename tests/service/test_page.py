"""The page in a browser: a picture goes in, and what comes out is read, by eye, ear or key."""

import re
from dataclasses import replace

import pytest

from advdetect.guard import Guard
from tests.service.browsing import Watched, chromium, launched
from tests.service.pictures import encode

pytest.importorskip("playwright")
pytestmark = pytest.mark.skipif(chromium() is None, reason="needs Debian's chromium")

TOKEN = "a-token-of-some-length"
DROP = """([bytes, name, type]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name, { type }));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    document.querySelector("#drop").dispatchEvent(
      new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
  }
}"""
REFUSED = "Failed to load resource: the server responded with a status of "


@pytest.fixture(scope="module")
def browser():
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def shown(start):
    """A server of the small guard that the page's tests share."""
    with start(max_bytes=100_000) as running:
        yield running


@pytest.fixture
def opened(browser, shown):
    """The page, with its first sample shown; whatever a test does, nobody else is asked."""
    watched = Watched(browser, shown.url).until_shown()
    watched.page.locator(".sample").first.wait_for()
    yield watched
    assert watched.strangers() == []
    assert [c for c in watched.complaints if not c.startswith(REFUSED)] == []
    watched.context.close()


def expect(locator):
    from playwright.sync_api import expect as expected

    return expected(locator)


def samples(server, *, attacked):
    """Positions and descriptions of samples, and what the service says of each."""
    found = []
    for i, sample in enumerate(server.client.get("/v1/samples").json()["samples"]):
        if bool(sample["eps"]) == attacked:
            body = {"inputs": [sample["picture"].partition(",")[2]]}
            found.append((i, sample, server.client.post("/v1/explain", json=body).json()))
    return found


def choose(opened, position):
    opened.page.locator(".sample").nth(position).click()
    expect(opened.page.locator(".sample").nth(position)).to_have_attribute("aria-pressed", "true")


def slide(opened, eps):
    opened.page.locator("#eps").fill(str(eps))
    caption = f"Attacked, PGD {eps}/255" if eps else re.compile("^What the guard sees")
    expect(opened.page.locator("#seen-caption")).to_have_text(caption)


def test_a_dropped_picture_gets_its_verdict(opened, shown, sent):
    for i in range(3):
        opened.page.evaluate(DROP, [list(sent.pictures[i]), "digit.png", "image/png"])
        found = shown.client.post("/v1/explain", json={"inputs": sent.base64[i : i + 1]}).json()
        headline = "Flagged" if found["flagged"] else "Passed"
        expect(opened.page.locator("#verdict")).to_contain_text(headline)
        expect(opened.page.locator("#reading strong")).to_have_text(found["class_name"])
        expect(opened.page.locator("#seen")).to_have_attribute("src", found["picture"])
        p = found["p_value"]
        expect(opened.page.locator("#scale .value")).to_have_text(
            f"p = {p:.2f}" if p >= 0.1 else f"p = {p:.2g}"
        )
    expect(opened.page.locator(".sample[aria-pressed=true]")).to_have_count(0)
    assert opened.complaints == []


def test_a_chosen_file_of_another_size_is_scaled_and_said_so(opened, sent):
    large = encode(sent.images[1].repeat_interleave(3, 1).repeat_interleave(4, 2))
    opened.page.set_input_files("#file", {"name": "x.png", "mimeType": "", "buffer": large})
    caption = re.compile("^Scaled from 32\\s×\\s24 to 8\\s×\\s8, as the guard sees it$")
    expect(opened.page.locator("#seen-caption")).to_have_text(caption)
    assert opened.complaints == []


def test_a_clean_sample_is_explained(opened, shown):
    position, sample, found = next(one for one in samples(shown, attacked=False) if one[0] == 3)
    choose(opened, position)
    expect(opened.page.locator("#seen")).to_have_attribute("src", found["picture"])
    expect(opened.page.locator("#reading")).to_contain_text("and that is what it shows")
    expect(opened.page.locator("#verdict")).to_have_text(
        "Flagged: this looks adversarial" if found["flagged"] else "Passed: this looks clean"
    )
    # Every layer's evidence, as the service gives it.
    rows = opened.page.locator("#evidence tbody tr")
    expect(rows).to_have_count(len(found["evidence"]))
    for i, (layer, value) in enumerate(found["evidence"].items()):
        text = re.sub(r"\s+", " ", rows.nth(i).inner_text()).strip().replace("−", "-")
        assert text.startswith(layer)
        assert float(text.split()[-1]) == pytest.approx(value, abs=0.06)
    # The landmarks nearest, with their pictures, once these have been found.
    tiles = opened.page.locator("#neighbors li")
    nearest = [one for layer in found["neighbors"] for one in layer["nearest"]]
    expect(tiles.locator("img")).to_have_count(len(nearest))
    assert [name.strip() for name in tiles.locator(".name").all_inner_texts()] == [
        one["class_name"] for one in nearest
    ]
    others = sum(one["label"] != found["label"] for one in nearest)
    expect(opened.page.locator("#neighbors .other")).to_have_count(others)
    # A map of all landmarks, and a ring on it.
    points = shown.client.get("/v1/landmarks").json()["points"]
    expect(opened.page.locator("#map .landmarks path")).to_have_count(len(points))
    expect(opened.page.locator("#map .here-ring")).to_be_visible()
    expect(opened.page.locator("#map .legend li")).to_have_count(10)
    assert "near landmarks of" in opened.page.locator("#map-text").text_content()


def test_attacked_samples_are_flagged_in_words(opened, shown):
    checked = 0
    for position, sample, found in samples(shown, attacked=True):
        if not found["flagged"]:
            continue
        choose(opened, position)
        expect(opened.page.locator("#reading")).to_contain_text(
            f"; it shows: {sample['class_name']}."
        )
        expect(opened.page.locator("#verdict")).to_have_text("Flagged: this looks adversarial")
        expect(opened.page.locator("#reading strong")).to_have_text(found["class_name"])
        checked += 1
    assert checked


def test_the_slider_attacks_and_takes_back(opened, shown):
    clean = samples(shown, attacked=False)
    position, sample, found = next(one for one in clean if not one[2]["flagged"])
    choose(opened, position)
    expect(opened.page.locator("#seen")).to_have_attribute("src", found["picture"])
    before = opened.verdict()
    expect(opened.page.locator("#perturbation")).to_be_hidden()
    slide(opened, 32)
    expect(opened.page.locator("#eps")).to_have_attribute("aria-valuetext", "32 of 255")
    expect(opened.page.locator("#eps-value")).to_have_text("32/255")
    expect(opened.page.locator("#perturbation")).to_be_visible()
    expect(opened.page.locator("#added-caption")).to_have_text("What it added, 4-fold")
    expect(opened.page.locator("#reading")).to_contain_text(f"it shows: {sample['class_name']}.")
    attacked = opened.verdict()
    assert attacked != before
    assert opened.page.locator("#seen").get_attribute("src") != found["picture"]
    opened.page.get_by_role("radio", name="FGSM").check()
    expect(opened.page.locator("#seen-caption")).to_have_text("Attacked, FGSM 32/255")
    opened.page.get_by_role("radio", name="PGD").check()
    slide(opened, 0)
    expect(opened.page.locator("#perturbation")).to_be_hidden()
    assert opened.verdict() == before
    expect(opened.page.locator("#seen")).to_have_attribute("src", found["picture"])
    # The next picture is not attacked before it is asked for.
    slide(opened, 16)
    choose(opened, position + 1)
    expect(opened.page.locator("#eps-value")).to_have_text("none")
    expect(opened.page.locator("#perturbation")).to_be_hidden()


def test_a_late_answer_never_follows_a_newer_one(opened):
    """The first attack is held back until the slider has long been elsewhere."""
    held = []

    def hold(route):
        if "eps=9&" in route.request.url + "&":
            held.append(route)
        else:
            route.continue_()

    opened.page.route("**/v1/attack*", hold)
    opened.page.locator("#eps").fill("9")
    for _ in range(200):
        if held:
            break
        opened.page.wait_for_timeout(50)
    opened.page.locator("#eps").fill("20")
    opened.page.wait_for_timeout(300)
    expect(opened.page.locator("#seen-caption")).to_contain_text("What the guard sees")
    captions = opened.page.evaluate_handle("""() => {
      const seen = [];
      const caption = document.querySelector("#seen-caption");
      new MutationObserver(() => seen.push(caption.textContent)).observe(
        caption, { childList: true, characterData: true, subtree: true });
      return seen;
    }""")
    held[0].continue_()
    expect(opened.page.locator("#seen-caption")).to_have_text("Attacked, PGD 20/255")
    opened.page.wait_for_timeout(300)
    assert captions.json_value() == ["Attacked, PGD 9/255", "Attacked, PGD 20/255"]


def test_an_attack_asked_for_before_the_verdict_is_made(opened):
    """The slider moves while the new picture's verdict is still on its way."""
    held = []
    opened.page.route("**/v1/explain*", lambda route: held.append(route))
    choose(opened, 5)
    opened.page.locator("#eps").fill("16")
    for _ in range(200):
        if held:
            break
        opened.page.wait_for_timeout(50)
    opened.page.wait_for_timeout(300)
    held[0].continue_()
    expect(opened.page.locator("#seen-caption")).to_have_text("Attacked, PGD 16/255")
    expect(opened.page.locator("#eps-value")).to_have_text("16/255")
    expect(opened.page.locator("#perturbation")).to_be_visible()


def test_a_picture_given_up_for_another_is_never_shown(opened, shown):
    held = []

    def hold(route):
        held.append(route)
        if len(held) > 1:
            route.continue_()

    opened.page.route("**/v1/explain*", hold)
    opened.page.locator(".sample").nth(5).click()
    opened.page.locator(".sample").nth(6).click()
    for _ in range(200):
        if held:
            break
        opened.page.wait_for_timeout(50)
    (first,) = held  # the second is not asked for before the first is answered
    pictures = opened.page.evaluate_handle("""() => {
      const seen = [];
      const picture = document.querySelector("#seen");
      new MutationObserver(() => seen.push(picture.src)).observe(picture, { attributes: true });
      return seen;
    }""")
    first.continue_()
    wanted = shown.client.get("/v1/samples").json()["samples"][6]
    expect(opened.page.locator("#reading")).to_contain_text(wanted["class_name"])
    expect(opened.page.locator("#seen")).to_have_attribute("src", wanted["picture"])
    assert set(pictures.json_value()) == {wanted["picture"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"broken", "This is no picture that the service reads"),
        (bytes(200_000), "The file is too large for this service."),
        ("cut off", "The picture is damaged or cut off."),
        ("coloured", "The service refused it: expected a grey picture, got a coloured one"),
    ],
)
def test_a_broken_file_is_told_and_the_page_works_on(opened, sent, content, message):
    slide(opened, 16)
    before = opened.verdict()
    if content == "cut off":
        content = encode(sent.images[0].repeat_interleave(9, 1).repeat_interleave(9, 2))[:-60]
    elif content == "coloured":
        content = encode(sent.images[:3, 0])
    opened.page.set_input_files(
        "#file", {"name": "x.png", "mimeType": "image/png", "buffer": content}
    )
    alert = opened.page.get_by_role("alert")
    expect(alert).to_contain_text(message)
    assert opened.verdict() == before
    expect(opened.page.locator("#eps-value")).to_have_text("16/255")
    opened.page.evaluate(DROP, [list(sent.pictures[2]), "digit.png", "image/png"])
    expect(alert).to_have_text("")
    expect(opened.page.locator("#reading strong")).to_have_text(str(sent.labels[2]))


def test_by_keyboard_alone(opened, shown):
    """From the top: every control is met by Tab, in order, and works by keys."""
    page = opened.page
    page.on("filechooser", lambda _: None)  # from now on: the browser is told of it only later
    page.locator("body").press("Tab")
    reached = []
    for _ in range(60):
        tag = page.evaluate(
            "() => document.activeElement.id || document.activeElement.className"
            " || document.activeElement.name || document.activeElement.tagName"
        )
        reached.append(tag)
        focused = page.evaluate(
            """() => {
              const one = document.activeElement;
              const boxes = [one, one.parentElement, one.nextElementSibling].filter(Boolean);
              return boxes.some((box) => getComputedStyle(box).outlineStyle !== "none");
            }"""
        )
        assert focused, tag
        if tag == "eps":
            break
        page.keyboard.press("Tab")
    assert reached[:3] == ["skip", "file", "sample"]
    assert reached[-2:] == ["attack", "eps"]
    total = len(shown.client.get("/v1/samples").json()["samples"])
    assert reached.count("sample") == total
    page.keyboard.press("End")
    expect(page.locator("#seen-caption")).to_have_text("Attacked, PGD 32/255")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#seen-caption")).to_have_text("Attacked, FGSM 32/255")
    page.locator(".sample").nth(4).focus()
    page.keyboard.press("Enter")
    expect(page.locator(".sample").nth(4)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#seen-caption")).to_contain_text("What the guard sees")
    page.locator("#file").focus()
    with page.expect_file_chooser():
        page.keyboard.press("Enter")


def test_what_a_screen_reader_is_given(opened):
    page = opened.page
    assert page.locator("html").get_attribute("lang") == "en"
    expect(page.locator("#verdict").locator("xpath=..")).to_have_attribute("aria-live", "polite")
    expect(page.get_by_role("slider", name="Largest change of a pixel")).to_be_visible()
    expect(page.get_by_role("radio", name="PGD")).to_be_checked()
    expect(page.get_by_role("button", name=re.compile(", clean$"))).to_have_count(10)
    expect(
        page.get_by_role("img", name=re.compile("^P-value .* flags 0.05 and below"))
    ).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^Map of .* landmarks"))).to_be_visible()
    expect(page.get_by_role("img", name="The picture, as the guard sees it")).to_be_visible()
    expect(page.get_by_role("region", name="Traffic")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text("advdetect")
    # Every picture says what it is, or that it only decorates; every control has a name.
    assert page.locator("img:not([alt])").count() == 0
    nameless = page.evaluate("""() =>
      [...document.querySelectorAll("input, button")].filter((one) =>
        !one.labels?.length && !one.querySelector("img[alt]") && !one.textContent.trim()
      ).length""")
    assert nameless == 0


def luminance(colour):
    parts = [int(number) / 255 for number in re.findall(r"\d+", colour)[:3]]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


COLOURS = """() => {
  const background = (node) => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.checkVisibility()) continue;
    const style = getComputedStyle(node);
    found.push([node.closest("svg") ? style.fill : style.color, background(node),
                walker.currentNode.textContent.trim()]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_in_light_and_dark(browser, shown, scheme):
    watched = Watched(browser, shown.url, color_scheme=scheme).until_shown()
    slide(watched, 32)
    watched.page.locator("#traffic .tile").first.wait_for()
    paper = watched.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (luminance(paper) > 0.5) == (scheme == "light")
    found = watched.page.evaluate(COLOURS)
    assert len(found) > 50
    for colour, background, text in found:
        dark, light = sorted((luminance(colour), luminance(background)))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, colour, background)
    watched.context.close()


def test_on_a_phone_nothing_reaches_over_the_edge(browser, shown):
    watched = Watched(browser, shown.url, viewport={"width": 360, "height": 740}).until_shown()
    slide(watched, 16)
    watched.page.locator("#neighbors li").first.wait_for()
    width = "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    assert watched.page.evaluate(width) == [360, 360]
    over = watched.page.evaluate("""() => [...document.querySelectorAll("main *")].filter((one) => {
      const box = one.getBoundingClientRect();
      return box.width > 1 && box.right > 360.5 && !one.closest("svg");
    }).map((one) => one.outerHTML.slice(0, 80))""")
    assert over == []
    watched.context.close()


def test_who_wants_no_motion_gets_none(browser, shown):
    moving = "() => getComputedStyle(document.querySelector('.dot')).transitionDuration"
    for motion, expected in (("reduce", "0s"), ("no-preference", "0.2s, 0.2s")):
        watched = Watched(browser, shown.url, reduced_motion=motion).until_shown()
        assert watched.page.evaluate(moving) == expected
        watched.context.close()


def test_traffic_is_seen_as_it_comes(browser, start, sent):
    with start() as server:
        watched = Watched(browser, server.url).until_shown()
        page = watched.page
        expect(page.locator("#traffic")).to_contain_text("Nothing has come in yet")
        server.client.post("/v1/detect", json={"inputs": sent.base64})
        expect(page.locator("#traffic")).to_contain_text("10 in all")
        expect(page.locator("#traffic rect")).to_have_count(10)
        expect(page.locator("#traffic .alarming")).to_have_count(0)
        for _ in range(3):  # the same ten pictures over and over
            server.client.post("/v1/detect", json={"inputs": sent.base64 * 20})
        drift = page.locator("#traffic .alarming").filter(has_text="does not look like the clean")
        expect(drift).to_be_visible()
        watched.context.close()


def test_a_token_is_asked_for_and_kept_in_memory_alone(browser, start):
    with start(token=TOKEN, headers={"Authorization": f"Bearer {TOKEN}"}) as server:
        watched = Watched(browser, server.url)
        page = watched.page
        field = page.get_by_label("Token", exact=True)
        expect(field).to_be_focused()
        expect(page.locator("#content")).to_be_hidden()
        field.fill("another-token-altogether")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text(
            "This is not the service's token. Try again."
        )
        field.fill(TOKEN)
        page.keyboard.press("Enter")
        watched.until_shown()
        expect(page.locator("#token")).to_be_hidden()
        slide(watched, 8)
        kept = page.evaluate(
            "() => [localStorage.length, sessionStorage.length, document.cookie, location.href]"
        )
        assert kept == [0, 0, "", server.url + "/"]
        assert all(c.startswith(REFUSED + "401") for c in watched.complaints)
        page.reload()
        expect(page.locator("#token")).to_be_visible()
        watched.context.close()


def test_a_guard_that_replaces_another_is_seen(browser, start, small_guard, tmp_path):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    small_guard.save(tmp_path / "small")
    with start(tmp_path / "small", token=TOKEN, headers=headers) as server:
        watched = Watched(browser, server.url)
        watched.page.get_by_label("Token", exact=True).fill(TOKEN)
        watched.page.keyboard.press("Enter")
        watched.until_shown()
        expect(watched.page.locator("#reading")).to_contain_text(re.compile(r"at 5\s% and below"))
        before = watched.page.locator("#guard").inner_text()
        replace(small_guard, false_alarm_rate=0.2).save(tmp_path / "small")
        assert server.client.post("/v1/reload").status_code == 200
        watched.page.locator(".sample").nth(1).click()
        expect(watched.page.locator("#reading")).to_contain_text(re.compile(r"at 20\s% and below"))
        assert watched.page.locator("#guard").inner_text() != before
        watched.context.close()


def test_a_service_that_goes_is_missed(browser, start):
    with start() as server:
        watched = Watched(browser, server.url).until_shown()
        watched.page.locator("#traffic .tile").first.wait_for()
        watched.page.route("**/v1/*", lambda route: route.abort())
        alert = watched.page.get_by_role("alert")
        expect(alert).to_contain_text("The service does not answer.")
        watched.page.unroute("**/v1/*")
        expect(alert).to_have_text("")
        watched.context.close()


def test_a_guard_of_another_kind_says_what_it_has_not(
    browser, start, small_guard, digits, sent, tmp_path
):
    one = Guard.fit(small_guard.model, digits["reference"].images, detector="energy")
    one.architecture = small_guard.architecture
    one.save(tmp_path / "energy")
    with start(tmp_path / "energy") as server:
        watched = Watched(browser, server.url)
        page = watched.page
        expect(page.locator("#samples")).to_contain_text("Give it one of yours.")
        page.evaluate(DROP, [list(sent.pictures[0]), "digit.png", "image/png"])
        watched.until_shown()
        expect(page.locator("#reading strong")).to_have_text(f"class {sent.labels[0]}")
        expect(page.locator("#evidence")).to_contain_text("cannot say what each adds")
        expect(page.locator("#neighbors")).to_contain_text("compares inputs with no landmarks")
        expect(page.locator("#map")).to_contain_text("too few landmarks to draw a map")
        slide(watched, 32)
        assert watched.complaints == []
        watched.context.close()


def test_a_guard_without_data_at_hand_says_why(browser, start, small_guard, tmp_path):
    before = dict(small_guard.about)
    try:
        small_guard.about.update(data="own", classes=[f"thing {i}" for i in range(10)])
        small_guard.save(tmp_path / "own")
    finally:
        small_guard.about.clear()
        small_guard.about.update(before)
    with start(tmp_path / "own") as server:
        watched = Watched(browser, server.url)
        page = watched.page
        expect(page.locator("#samples")).to_contain_text("Give it one of yours.")
        expect(page.locator("#result")).to_be_hidden()
        blank = encode(small_guard.held_out.rows.new_full((1, 8, 8), 0.5))
        page.evaluate(DROP, [list(blank), "blank.png", "image/png"])
        watched.until_shown()
        expect(page.locator("#neighbors")).to_contain_text("activation patterns, not as pictures")
        expect(page.locator("#neighbors .blank").first).to_be_visible()
        assert watched.complaints == []
        watched.context.close()
