"""The page: one file that loads nothing, read in headless Chromium as a person would."""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

import page
from common.cli import InputError
from tests import results
from tests.results import Comparison

ROOT = Path(__file__).parents[1]
TEMPLATES = ROOT / "scripts" / "templates"
ATTACK = "<script>alert(1)</script>"
HOSTILE = "<img src=x onerror=alert(1)>"  # a dataset's name; as that of a directory it has no slash
LONGEST_SECONDS, MOST_BYTES = 3, 20e6
NO_BROWSER = "no Chromium: install the Debian package chromium (apt-get install chromium)"
LETTERS_ON_GROUNDS = [
    *((letters, "paper") for letters in ("ink", "muted", "accent", "warn", "good")),
    ("accent", "accent-soft"), ("warn", "warn-soft"), ("muted", "raised"), ("ink", "raised"),
]  # fmt: skip
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

Change = Callable[[dict[str, Any]], object]  # of the datasets of verdicts.json


def write(root: Path, plan: Comparison, *more: str, change: Change | None = None) -> Path:
    """Make results up, and the page of them; before that, the verdicts may be changed."""
    made = results.make(root, plan)
    if change:
        verdicts = json.loads((made / "verdicts.json").read_text())
        change(verdicts["datasets"])
        (made / "verdicts.json").write_text(json.dumps(verdicts))
    page.main([*words_for(made, root / "report.html"), *more])
    return root / "report.html"


def words_for(made: Path, output: Path) -> list[str]:
    """Return the command line that makes a page of results."""
    read = ["--results", made, "--verdicts", made / "verdicts.json"]
    read += ["--config", made / "config.yaml", "--templates", TEMPLATES]
    return list(map(str, [*read, "--page", output]))


def table_of(tab: Page, figure: str) -> list[list[str]]:
    """Return the cells of the table of a figure."""
    tab.locator(f"#figure-{figure} summary").click()
    tab.locator(f"#figure-{figure} details tbody tr").first.wait_for()
    rows = tab.locator(f"#figure-{figure} details tbody tr").all()
    return [row.locator("td").all_inner_texts() for row in rows]


def pair_of(part: dict[str, Any], a: str, b: str) -> dict[str, Any]:
    """Return the comparison of two variants, whichever of them comes first."""
    (found,) = [pair for pair in part["comparisons"] if {pair["a"], pair["b"]} == {a, b}]
    return found


PLAN = Comparison(
    {"sms-spam": ["ham", "spam"], HOSTILE: [ATTACK, "b & c", "__proto__"]},
    extra_texts=[f"{ATTACK} </textarea><img src=x onerror=alert(2)> & \\u003c"] * 4,
)


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("page"), PLAN)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip(NO_BROWSER)
    with sync_playwright() as driver:
        # Root, as in most containers, may not use the sandbox.
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, made) -> Iterator[Callable[..., Page]]:
    """Open a page; at the end, no error, no dialog and no request may have been seen."""
    complaints: list[str] = []
    requests: list[str] = []
    own: set[str] = set()
    contexts = []

    def opened(path: Path = made, **options) -> Page:
        context = chromium.new_context(**{"viewport": DESKTOP, **options})
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: complaints.append(f"console: {message.text}"))
        tab.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        tab.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        own.add(path.as_uri())
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(path.as_uri())
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert set(requests) == own


def scroll_through(tab: Page) -> None:
    """Bring everything into view once, as a reader would, and let it be drawn."""
    for figure in tab.locator("figure, #confusion, #errors").all():
        figure.scroll_into_view_if_needed()
        tab.wait_for_timeout(120)


def column(tab: Page, title: str) -> list[str]:
    """Return the cells of one column of the table, as they are read."""
    heads = [text.rstrip(" ↑↓") for text in tab.locator("#table thead th").all_inner_texts()]
    place = heads.index(title) + 1
    return tab.locator(f"#table tbody tr > :nth-child({place})").all_inner_texts()


# What is in the file.


def test_equal_results_give_an_equal_page(made, tmp_path):
    assert write(tmp_path, PLAN).read_bytes() == made.read_bytes()


def test_the_page_names_no_address_to_load_from(made):
    text = made.read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy
    assert "default-src 'none'" in policy[1]
    assert "http" not in policy[1]
    # Vega's own source names addresses; nothing outside of it may.
    outside = re.sub(r'<script type="text/plain".*?</script>', "", text, flags=re.DOTALL)
    assert not re.search(r"""(?:src|href)=["'](?!#|data:|x onerror)""", outside)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|innerHTML|eval\(", outside)


def test_no_tag_comes_of_a_text_or_a_name(made):
    text = made.read_text()
    assert ATTACK not in text
    assert HOSTILE not in text
    assert "&lt;script&gt;alert(1)" in text
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert data
    assert "<" not in data[1]
    assert ATTACK in json.loads(data[1])["datasets"][HOSTILE]["classes"]


def test_few_letters_hold_predictions_and_texts_of_disputed_rows(made):
    data = re.search(r'id="data">(.*?)</script>', made.read_text(), re.DOTALL)
    assert data
    part = json.loads(data[1])["datasets"]["sms-spam"]
    cells = [cell for variant in part["variants"] for cell in variant["cells"]]
    assert len(cells) == 12
    assert {len(cell["predictions"]) for cell in cells} == {PLAN.rows}
    frame = pd.read_parquet(made.parent / "results/sms-spam/minilm/full/seed1/predictions.parquet")
    (full,) = [variant for variant in part["variants"] if variant["name"] == "minilm/full"]
    digits = "".join(str(["ham", "spam"].index(name)) for name in frame["prediction"])
    assert full["cells"][1]["predictions"] == digits
    assert len(part["texts"]) == part["disputed"] <= PLAN.rows


def test_what_is_missing_is_one_line(tmp_path):
    made = results.make(tmp_path, Comparison({"d": ["a", "b"]}, seeds=(0,), rows=20))
    arguments = words_for(made, tmp_path / "p.html")

    def complaint() -> str:
        with pytest.raises(InputError) as caught:
            page.main(arguments)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "p.html").exists()
        return str(caught.value)

    cell = made / "d/minilm/full/seed0/predictions.parquet"
    frame = pd.read_parquet(cell)
    frame.assign(probability_a=1.0, probability_b=0.0).to_parquet(cell)
    assert "metrics.json is not of the rows in predictions.parquet" in complaint()
    frame.iloc[1:].to_parquet(cell)
    assert "have not the same test rows (id 'test/0' is in one alone)" in complaint()
    cell.unlink()
    assert "predictions.parquet is not there" in complaint()
    frame.to_parquet(cell)
    told = (made / "verdicts.json").read_text()
    (made / "verdicts.json").write_text(told.replace('"classes": ["a", "b"]', '"classes": ["a"]'))
    assert "the verdicts on d are of other classes: run `verdicts`" in complaint()
    (made / "verdicts.json").write_text(told)
    (made / "config.yaml").unlink()
    assert "config.yaml cannot be read" in complaint()
    (made / "d/passport.md").unlink()
    assert "passport.md cannot be read" in complaint()
    (made / "d/minilm/full/seed0/metrics.json").unlink()
    assert "run the stage that writes it" in complaint()
    (made / "verdicts.json").write_text("{}")
    assert "has no 'metric'" in complaint()


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda told: told.update(datasets=[]), "AttributeError"),
        (lambda told: told.update(level=None), "None is no number"),
        (lambda told: told["datasets"]["d"].pop("variants"), "KeyError: 'variants'"),
        (lambda told: told["datasets"]["d"].update(variants=[]), "d has no variants"),
        (lambda told: told["datasets"]["d"].pop("comparisons"), "KeyError: 'comparisons'"),
        (lambda told: told["datasets"]["d"].pop("classes"), "KeyError: 'classes'"),
        (lambda told: told["datasets"]["d"]["comparisons"][0].pop("outcome"), "KeyError"),
        (lambda told: told["datasets"]["d"]["comparisons"][0].update(p=float("nan")), "ValueError"),
        (lambda told: told["datasets"]["d"]["variants"][0].update(name="x"), "'x' is 'majority'"),
    ],
)
def test_damaged_verdicts_are_one_line(tmp_path, damage, complaint):
    made = results.make(tmp_path, Comparison({"d": ["a", "b"]}, seeds=(0,), rows=20))
    path = made / "verdicts.json"
    told = json.loads(path.read_text())
    damage(told)
    path.write_text(json.dumps(told))
    with pytest.raises(InputError) as caught:
        page.main(words_for(made, tmp_path / "p.html"))
    assert str(caught.value).startswith(f"{path} is not as `verdicts` writes it (")
    assert complaint in str(caught.value)
    assert str(caught.value).endswith("): run `verdicts`")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda record: record["train_info"].update(metrics=[{"step": "x", "loss": 1}]), "'x'"),
        (lambda record: record["train_info"].update(metrics=[3]), "is no mapping"),
        (lambda record: record["run_info"].update(peft_config=3), "peft_config is no mapping"),
        (lambda record: record["meta_info"].update(system_info=None), "system_info is no mapping"),
        (lambda record: record["meta_info"].update(dataset_info=None), "dataset_info is no mapp"),
    ],
)
def test_a_damaged_cell_is_one_line(tmp_path, damage, complaint):
    made = results.make(tmp_path, Comparison({"d": ["a", "b"]}, seeds=(0,), rows=20))
    path = made / "d/minilm/full/seed0/metrics.json"
    record = json.loads(path.read_text())
    damage(record)
    path.write_text(json.dumps(record))
    with pytest.raises(InputError) as caught:
        page.main(words_for(made, tmp_path / "p.html"))
    assert str(caught.value).startswith(f"{path} ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_in_another_order_give_the_same_page(made, tmp_path):
    again = results.make(tmp_path, PLAN)
    cell = again / "sms-spam/minilm/full/seed0/predictions.parquet"
    pd.read_parquet(cell).iloc[::-1].to_parquet(cell, index=False)
    page.main(words_for(again, tmp_path / "report.html"))
    assert (tmp_path / "report.html").read_bytes() == made.read_bytes()


@pytest.mark.full
def test_texts_are_found_by_the_ids_of_their_rows(tmp_path, visit):
    """The first cell gives the order of the rows, which need not be that of the splits."""
    again = results.make(tmp_path, Comparison({"d": ["a", "b"]}, seeds=(0,), rows=40))
    cell = again / "d/baselines/majority/predictions.parquet"
    pd.read_parquet(cell).iloc[::-1].to_parquet(cell, index=False)
    page.main(words_for(again, tmp_path / "report.html"))
    tab = visit(tmp_path / "report.html")
    tab.locator("#errors").scroll_into_view_if_needed()
    tab.select_option("#row-right", "any")
    tab.locator("#row-count", has_text="of 40 test rows").wait_for()
    for row in tab.locator("#row-list li").all():
        row_id = row.locator("dd").last.inner_text()
        assert row.locator(".text").inner_text().endswith(f" {row_id.removeprefix('test/')}")


@pytest.mark.full
def test_the_cap_on_texts_is_told(tmp_path, monkeypatch, visit):
    monkeypatch.setattr(page, "TEXT_BYTES", 3000)
    tab = visit(write(tmp_path, Comparison({"d": ["a", "b"]}, rows=600)))
    tab.locator("#errors").scroll_into_view_if_needed()
    tab.locator("#row-notice", has_text="To keep the page small").wait_for()
    notice = tab.locator("#row-notice").inner_text()
    assert re.search(r"it holds the texts of \d+ of the \d+ rows", notice)
    assert "long texts are cut" in notice
    tab.select_option("#row-right", "any")
    tab.locator("#row-count", has_text="of 600 test rows").wait_for()


# What a reader meets.


def test_it_loads_without_an_error_or_a_request(visit):
    tab = visit()
    assert tab.title() == f"Comparison of sms-spam, {HOSTILE}"
    scroll_through(tab)
    for name in ("costs", "comparison", "ranks", "learning", "reliability"):
        figure = tab.locator(f"#figure-{name}")
        assert figure.locator("svg.marks").count() > 0, name
        assert figure.locator(".plot").get_attribute("aria-label"), name
    assert tab.locator("#figure-costs .point_marks path").count() == 4
    assert tab.locator("#figure-comparison .seed_marks path").count() == 12
    assert tab.locator("#matrices table").count() == 7


@pytest.mark.full
def test_the_library_waits_until_a_figure_is_in_view(visit):
    tab = visit(viewport={"width": 1280, "height": 300})
    assert tab.evaluate("window.vegaEmbed === undefined")
    tab.locator("#figure-costs .plot").scroll_into_view_if_needed()
    tab.locator("#figure-costs svg.marks").first.wait_for()
    assert tab.evaluate("window.vegaEmbed !== undefined")


def test_verdicts_come_first_in_words(visit):
    tab = visit()
    first = tab.locator("#verdicts article").first
    assert first.locator("h2").inner_text() == "sms-spam"
    verdicts = json.loads((tab_path(tab) / "results/verdicts.json").read_text())
    told = verdicts["datasets"]["sms-spam"]["verdict"]
    assert first.locator(".sentences p").first.inner_text() == told[0]
    assert first.locator(".forest .line").count() == 7
    assert first.locator(".forest .line.recommended").count() == 1
    assert first.locator(".line", has_text="minilm/base").locator(".tag.warn").count() == 1


def test_it_sorts(visit):
    tab = visit()
    heading = tab.get_by_role("columnheader", name="macro_f1")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    values = [float(text.split()[0].rstrip("†")) for text in column(tab, "macro_f1")]
    assert values == sorted(values, reverse=True)
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert [float(t.split()[0].rstrip("†")) for t in column(tab, "macro_f1")] == values[::-1]
    tab.get_by_role("columnheader", name="Parameters").get_by_role("button").click()
    shown = [text.split("\n")[0] for text in column(tab, "Parameters")]
    assert shown[0] == "1.3 M"
    assert {text[0] for text in shown[-6:]} == {"–"}, "what is missing comes last"
    assert tab.locator("th[aria-sort]").count() == 1


def test_it_filters_and_compares(visit):
    tab = visit()
    tab.select_option("#filter-dataset", "sms-spam")
    tab.locator("#table-count", has_text="7 of 14 variants").wait_for()
    tab.fill("#filter-text", "lora")
    tab.locator("#table-count", has_text="2 of 14 variants").wait_for()
    assert [text.split("\n")[0].split()[0] for text in column(tab, "Variant")] == [
        "lora-r4",
        "lora-r16",
    ]
    tab.fill("#filter-text", "")
    tab.select_option("#filter-kind", "baseline")
    tab.locator("#table-count", has_text="2 of 14 variants").wait_for()
    tab.select_option("#reference", "majority")
    tab.locator("#table tbody tr", has_text="majority").get_by_text("itself").wait_for()
    verdicts = json.loads((tab_path(tab) / "results/verdicts.json").read_text())
    (pair,) = [pair for pair in verdicts["datasets"]["sms-spam"]["comparisons"]
               if {pair["a"], pair["b"]} == {"majority", "tfidf"}]  # fmt: skip
    # Compared as majority minus tfidf, and shown as tfidf minus majority.
    assert f"better +{-pair['difference']:.2f}" in column(tab, "Difference")[1]


def tab_path(tab: Page) -> Path:
    return Path(tab.url.removeprefix("file://")).parent


def test_disagreements_are_found_as_pandas_finds_them(visit):
    tab = visit()
    tab.locator("#errors").scroll_into_view_if_needed()
    tab.select_option("#row-a", "tfidf")
    tab.select_option("#row-b", "majority")
    tab.select_option("#row-right", "a")
    tab.select_option("#row-label", "1")
    directory = tab_path(tab) / "results/sms-spam/baselines"
    tfidf, majority = (pd.read_parquet(directory / name / "predictions.parquet")
                       for name in ("tfidf", "majority"))  # fmt: skip
    right = (tfidf["prediction"] == tfidf["label"]) & (majority["prediction"] != tfidf["label"])
    count = int((right & (tfidf["label"] == "spam")).sum())
    tab.locator("#row-count", has_text=f"{count} of 120 test rows").wait_for()
    assert tab.locator("#row-list li").count() == min(count, 20)
    assert tab.locator("#row-page").inner_text() == f"Page 1 of {-(-count // 20)}"
    tab.click("#row-next")
    assert tab.locator("#row-page").inner_text().startswith("Page 2")
    assert tab.locator("#row-list li").count() == min(count - 20, 20)
    tab.fill("#row-text", "no such words")
    tab.locator("#row-count", has_text="0 of 120 test rows").wait_for()
    assert tab.locator("#row-next").is_disabled()


def test_hostile_names_and_texts_are_shown_letter_by_letter(visit):
    tab = visit()
    tab.select_option("#dataset", HOSTILE)
    scroll_through(tab)
    tab.select_option("#row-right", "any")
    tab.fill("#row-text", ATTACK)
    text = tab.locator("#row-list .text").first
    text.filter(has_text=ATTACK).wait_for()
    assert text.inner_text() == PLAN.extra_texts[0]
    assert tab.locator("#matrices th", has_text=ATTACK).count() > 0
    assert tab.locator("[data-dataset-name]").first.inner_text() == HOSTILE
    assert tab.locator(f"#row-label option:text-is('{ATTACK}')").count() == 1
    assert tab.locator("#data-passport summary").nth(1).inner_text() == HOSTILE
    assert tab.locator("main img[src='x']").count() == 0
    assert tab.evaluate("document.scripts.length") == 4, "the library is the only one added"


def test_the_policy_stops_what_would_get_past_the_escaping(chromium, made):
    tab = chromium.new_page()
    tab.goto(made.as_uri())
    ran = tab.evaluate(
        """() => { const script = document.createElement("script");
        script.textContent = "window.hurt = true"; document.body.append(script);
        return window.hurt === true; }"""
    )
    assert ran is False
    tab.close()


@pytest.mark.full
def test_where_lower_is_better_the_words_say_so(tmp_path, visit):
    plan = Comparison({"d": ["a", "b"]}, metric="loss", rows=600, seeds=(0, 1, 2, 3, 4))
    tab = visit(write(tmp_path, plan))
    verdicts = json.loads((tmp_path / "results/verdicts.json").read_text())["datasets"]["d"]
    losses = {v["variant"]: v["metrics"]["loss"]["value"] for v in verdicts["variants"]}
    assert "by loss; lower is better" in tab.locator("#verdicts article header").inner_text()
    names = [text.split()[0] for text in column(tab, "Variant")]
    words = dict(zip(names, column(tab, "Difference"), strict=True))
    assert losses["lora-r16"] < losses["tfidf"] < losses["majority"]
    assert words["majority"].startswith("worse +")
    assert words["full"].startswith("better −")
    tab.select_option("#reference", "majority")
    tab.locator("#table tbody tr", has_text="majority").get_by_text("itself").wait_for()
    words = dict(zip(names, column(tab, "Difference"), strict=True))
    assert words["full"].startswith("better −")
    assert words["tfidf"].startswith("better −")
    assert "Of loss, lower is better." in tab.locator("#table-notes").inner_text()


@pytest.mark.full
def test_where_lower_is_better_the_best_come_first(tmp_path, visit):
    tab = visit(write(tmp_path, Comparison({"d": ["a", "b"]}, metric="loss")))
    verdicts = json.loads((tmp_path / "results/verdicts.json").read_text())["datasets"]["d"]
    losses = {v["name"]: v["metrics"]["loss"]["value"] for v in verdicts["variants"]}
    heading = tab.get_by_role("columnheader", name="loss")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    values = [float(text.split()[0].rstrip("†")) for text in column(tab, "loss")]
    assert values == sorted(values)
    scroll_through(tab)
    assert tab.locator("#row-a").input_value() == min(losses, key=lambda name: losses[name])
    on_front = {
        name for name, *_, place in table_of(tab, "costs") if "trainable parameters" in place
    }
    costs = {v["name"]: v["costs"]["trainable_parameters"] or 0 for v in verdicts["variants"]}
    candidates = {name for name in losses if name != "minilm/base"}
    assert on_front == {
        name
        for name in candidates
        if not any(
            losses[other] <= losses[name]
            and (costs[other], losses[other]) < (costs[name], losses[name])
            for other in candidates
        )
    }


@pytest.mark.full
def test_of_very_many_variants_the_best_stand_at_the_head(tmp_path):
    models = tuple(f"model{number}" for number in range(4))
    for metric, best in (("loss", min), ("macro_f1", max)):
        plan = Comparison({"d": ["a", "b"]}, models=models, metric=metric, seeds=(0,))
        made = results.make(tmp_path / metric, plan)
        part = json.loads((made / "verdicts.json").read_text())["datasets"]["d"]
        values = {v["name"]: v["metrics"][metric]["value"] for v in part["variants"]}
        told = page.summary("d", part, metric)
        assert len(told["variants"]) == page.MOST_LINES
        names = [line["name"] for line in (*told["variants"], *told["others"])]
        assert values[names[0]] == best(values.values())
        assert [values[name] for name in names] == sorted(values.values(), reverse=best is max)


@pytest.mark.full
def test_a_verdict_stands_beside_both_p_values(tmp_path, visit):
    def change(datasets):
        pair = pair_of(datasets["d"], "tfidf", "minilm/full")
        pair.update(outcome="open", p=0.0123, p_holm=0.21, caution="few seeds")
        pair.update(a="minilm/full", b="tfidf", difference=0.031, low=0.01, high=0.05)
        pair_of(datasets["d"], "tfidf", "minilm/head").update(
            outcome="at most as good", difference=0.0004, low=-0.03, high=0.03
        )
        pair_of(datasets["d"], "tfidf", "majority").update(p=0.0000123, p_holm=0.0004)

    tab = visit(write(tmp_path, Comparison({"d": ["a", "b"]}), change=change))

    def told_of(variant: str) -> str:
        row = tab.locator("#table tbody tr", has_text=re.compile(f"^{variant}"))
        return " ".join(row.locator("td").nth(4).inner_text().split())

    said = "open +0.031 +0.010 to +0.050 p 0.012, corrected 0.21"
    assert told_of("full") == f"{said} caution: see below"
    assert told_of("head").startswith("at least as good 0.000 −0.030 to +0.030")
    assert "p < 0.001, corrected < 0.001" in tab.locator("#table tbody").inner_text()
    assert "Caution: few seeds." in tab.locator("#table-notes").inner_text()
    told = tab.locator("#comparison").inner_text()
    assert "95 % interval and its p are of this comparison alone" in told
    assert "corrected (Holm) for all comparisons that answer the same question" in told
    tab.select_option("#reference", "minilm/full")
    row = tab.locator("#table tbody tr", has_text=re.compile("^tfidf")).locator("td").nth(4)
    row.filter(has_text="open −0.031").wait_for()


@pytest.mark.full
def test_a_metric_that_stands_in_is_used_and_named(tmp_path, visit):
    plan = Comparison({"two": ["a", "b"], "three": ["a", "b", "c"]}, metric="f1")
    tab = visit(write(tmp_path, plan))
    heads = tab.locator("#verdicts article header").all_inner_texts()
    assert "by f1" in heads[0]
    assert "in place of" not in heads[0]
    assert "by macro_f1, in place of f1" in heads[1]
    tab.select_option("#filter-dataset", "three")
    tab.locator("#table-count", has_text="7 of 14 variants").wait_for()
    figures, differences = column(tab, "f1"), column(tab, "Difference")
    assert all(text.endswith("macro_f1") for text in figures)
    assert differences[0].startswith("worse −")
    assert "On three, macro_f1 stands in for f1." in tab.locator("#table-notes").inner_text()
    tab.select_option("#dataset", "three")
    scroll_through(tab)
    for figure in ("costs", "comparison"):
        assert "macro_f1 in place of f1" in tab.locator(f"#figure-{figure} svg").text_content()
    assert table_of(tab, "costs")
    assert "macro_f1 in place of f1" in tab.locator("#figure-costs thead").inner_text()


@pytest.mark.full
def test_the_front_is_of_baselines_too_and_not_of_untrained_heads(tmp_path, visit):
    def change(datasets):
        variants = {variant["name"]: variant for variant in datasets["d"]["variants"]}
        for variant in variants.values():  # few seeds have intervals as wide as the range
            figure = variant["metrics"]["macro_f1"]
            figure.update(low=figure["value"] - 0.01, high=figure["value"] + 0.01)
        low = {"value": 0.88, "low": 0.8, "high": 0.9, "shown": "0.88 (0.80 to 0.90)"}
        variants["minilm/head"]["metrics"]["macro_f1"].update(low)
        variants["tfidf"]["metrics"]["macro_f1"].update(low | {"value": 0.89})
        variants["minilm/base"]["metrics"]["macro_f1"].update(low | {"value": 0.99, "high": 1.0})
        variants["minilm/base"]["costs"]["trainable_parameters"] = 10
        variants["minilm/full"]["metrics"]["macro_f1"].update(low | {"value": 0.98, "high": 1.0})

    tab = visit(write(tmp_path, Comparison({"d": ["a", "b"]}), change=change))
    scroll_through(tab)
    front = {name: place for name, *_, place in table_of(tab, "costs")}
    every = "trainable parameters, training time, peak memory, file size"
    assert front["tfidf"] == every
    assert front["majority"] == "no"
    assert front["minilm/head"] == "no", "the baseline is cheaper and better"
    assert front["minilm/base"] == "no: untrained head"
    assert front["minilm/full"] == every
    legend = tab.locator("#figure-costs .role-legend-label text").all_text_contents()
    assert {"Pareto front", "tfidf"} <= set(legend)
    assert "majority" not in legend, "it is far off"
    assert "too far off to be drawn" in tab.locator("#figure-costs svg").text_content()
    caption = tab.locator("#figure-costs figcaption").inner_text()
    assert "the Pareto front of all but untrained heads" in caption
    assert "lines across are baselines" in caption


@pytest.mark.full
def test_the_reliability_figure_says_what_is_pooled_and_what_is_a_mean(visit):
    caption = visit().locator("#figure-reliability figcaption").inner_text()
    assert "of the answers of all seeds together" in caption
    assert "ECE and Brier score are computed for each seed, and are means over the seeds" in caption


PUBLISHED = [
    {"dataset": "sms-spam", "variant": ATTACK, "source": f"{HOSTILE} https://example.org/paper",
     "model": "opt", "metrics": {"accuracy": 0.984, "f1": 0.91}, "note": "500 <b>rows</b>"},
    {"dataset": "sms-spam", "variant": "naive Bayes", "source": "A book", "metrics": {"f1": 0.5}},
    {"dataset": "left out", "variant": "x", "source": "y", "metrics": {"f1": 0.5}},
]  # fmt: skip


@pytest.mark.full
def test_published_figures_are_shown_apart(tmp_path, visit):
    tab = visit(write(tmp_path, PLAN, "--published", json.dumps(PUBLISHED)))
    assert tab.get_by_role("heading", name="Published elsewhere").count() == 1
    rows = tab.locator("#published tbody tr")
    assert rows.count() == 2
    texts = [" ".join(row.inner_text().split()) for row in rows.all()]
    source = f"{HOSTILE} https://example.org/paper"
    assert texts[0] == f"{ATTACK} published {source} 500 <b>rows</b> opt sms-spam 0.984 0.910"
    assert texts[1] == "naive Bayes published A book – sms-spam – 0.500"
    assert "compared with nothing above" in tab.locator("#comparison").inner_text()
    assert tab.locator("#table tbody tr").count() == 14
    assert tab.locator("#published a, #published img, #published b").count() == 0
    scroll_through(tab)
    assert tab.locator("#figure-comparison .seed_marks path").count() == 12


@pytest.mark.full
def test_without_published_figures_there_is_no_table_of_them(visit):
    assert visit().locator("#published").count() == 0


def test_published_figures_that_are_none_are_refused(run_script, tmp_path):
    words = words_for(tmp_path, tmp_path / "p.html")
    for wrong in ("{", "[1]", '[{"dataset": "d"}]'):
        done = run_script("page", *words, "--published", wrong)
        assert done.returncode == 2
        assert "is no JSON" in done.stderr


@pytest.mark.full
def test_on_a_phone_the_difference_is_in_view_and_the_table_says_that_it_scrolls(tmp_path, visit):
    tab = visit(write(tmp_path, Comparison({"sms-spam": ["a", "b"]})), viewport=PHONE)
    for cell in tab.locator("#table tbody tr td:nth-of-type(5)").all():
        box = cell.bounding_box()
        assert box
        assert box["x"] + box["width"] <= PHONE["width"], cell.inner_text()
    name = tab.locator("#table tbody th", has_text="majority")
    assert name.evaluate("(cell) => cell.scrollWidth <= cell.clientWidth")
    assert name.evaluate("(cell) => cell.getClientRects()[0].width") > 90, "no word is broken"
    assert tab.get_by_text("The table scrolls sideways").is_visible()
    assert not visit().get_by_text("The table scrolls sideways").is_visible()


@pytest.mark.full
def test_figures_fit_the_window_whatever_its_width(tmp_path, visit):
    plan = Comparison({"d": ["a", "b"]}, models=("minilm", "smollm2", "distilbert"), rows=600)
    path = write(tmp_path, plan)
    tab = visit(path)
    for viewport in (DESKTOP, PHONE):
        tab.set_viewport_size(viewport)
        scroll_through(tab)
        tab.wait_for_timeout(300)
        found = boxes(tab, "figure svg.marks")
        assert len(found) >= 5
        assert all(left >= 0 and right <= viewport["width"] for left, _, right, _ in found)
        assert len(boxes(tab, "#figure-costs .point_marks path")) == 12


Box = tuple[float, float, float, float]


def boxes(tab: Page, selector: str) -> list[Box]:
    """Left, top, right and bottom of all elements that have a size."""
    found = tab.locator(selector).evaluate_all(
        "(all) => all.map((each) => each.getBoundingClientRect())"
        ".filter(({ width }) => width).map(({ left, top, right, bottom }) =>"
        " [left, top, right, bottom])"
    )
    return [tuple(box) for box in found]


@pytest.mark.full
def test_a_point_tells_its_figure_and_a_name_stays_a_text(visit):
    tab = visit()
    tab.select_option("#dataset", HOSTILE)
    tab.locator("#figure-comparison").scroll_into_view_if_needed()
    tab.locator("#figure-comparison .seed_marks path").last.hover()
    told = tab.locator("#vg-tooltip-element.visible")
    told.wait_for()
    assert "minilm/full" in told.inner_text()
    assert re.search(r"0\.\d+ \(0\.\d+ to [01]\.\d+\)", told.inner_text())


@pytest.mark.full
def test_figures_take_the_colours_of_the_theme(visit):
    light, dark = visit(color_scheme="light"), visit(color_scheme="dark")
    shades = []
    for tab in (light, dark):
        tab.locator("#figure-comparison").scroll_into_view_if_needed()
        mark = tab.locator("#figure-comparison .seed_marks path").last
        mark.wait_for()
        shades.append(mark.get_attribute("fill"))
    assert shades[0] != shades[1]
    light.get_by_role("button", name="Dark").click()
    light.wait_for_timeout(300)
    assert (
        light.locator("#figure-comparison .seed_marks path").last.get_attribute("fill") == shades[1]
    )


@pytest.mark.full
def test_on_a_phone_nothing_scrolls_sideways(visit):
    tab = visit(viewport=PHONE, has_touch=True)
    for dataset in PLAN.datasets:
        tab.select_option("#dataset", dataset)
        scroll_through(tab)
        assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.full
def test_dark_follows_the_system_and_the_switch(visit):
    shade = "getComputedStyle(document.body).backgroundColor"
    light, dark = visit(color_scheme="light"), visit(color_scheme="dark")
    paper = light.evaluate(shade)
    assert paper == "rgb(255, 255, 255)"
    assert dark.evaluate(shade) != paper
    assert dark.get_by_role("button", name="Dark").get_attribute("aria-pressed") == "true"
    light.get_by_role("button", name="Dark").click()
    assert light.evaluate(shade) == dark.evaluate(shade)
    light.reload()
    assert light.evaluate(shade) == dark.evaluate(shade), "the choice is remembered"


@pytest.mark.full
def test_letters_stand_out_from_their_ground(visit):
    """WCAG 2.2, 1.4.3: the ratio of the luminances, each plus 0.05, is at least 4.5."""
    for scheme in ("light", "dark"):
        tab = visit(color_scheme=scheme)
        for letters, ground in LETTERS_ON_GROUNDS:
            pair = [luminance(colour(tab, name)) for name in (letters, ground)]
            ratio = (max(pair) + 0.05) / (min(pair) + 0.05)
            assert ratio >= 4.5, (scheme, letters, ground, ratio)


def colour(tab: Page, name: str) -> list[int]:
    """Red, green and blue, 0 to 255, of a colour of the style sheet."""
    shown = tab.evaluate(
        """(name) => { const probe = document.createElement("span"); document.body.append(probe);
        probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; }""",
        name,
    )
    return [int(part) for part in re.findall(r"\d+", shown)[:3]]


def luminance(rgb: list[int]) -> float:
    """Return the relative luminance of WCAG 2.2."""
    parts = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4
             for c in rgb]  # fmt: skip
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@pytest.mark.full
def test_the_keyboard_reaches_the_controls(visit):
    tab = visit()
    reached: list[str] = []
    for _ in range(40):
        tab.keyboard.press("Tab")
        reached.append(tab.evaluate(
            """() => { const at = document.activeElement;
            return at.id || at.textContent.trim(); }"""
        ))  # fmt: skip
    assert reached[0] == "Skip to the content"
    for control in ("Verdicts", "dataset", "theme", "filter-text", "filter-kind", "metric",
                    "reference", "Variant"):  # fmt: skip
        assert control in reached
    tab.get_by_role("columnheader", name="Variant").get_by_role("button").focus()
    tab.keyboard.press("Enter")
    assert tab.locator("th[aria-sort='ascending']").inner_text().startswith("Variant")
    assert tab.evaluate("document.activeElement.textContent") == "Variant", "focus stays"


@pytest.mark.full
def test_every_control_and_region_has_a_name(visit):
    tab = visit()
    scroll_through(tab)
    nameless = tab.evaluate(
        """() => [...document.querySelectorAll(
          "select, input, button, [role=region], nav, section")]
        .filter((each) => !each.labels?.length && !each.getAttribute("aria-label")
          && !each.getAttribute("aria-labelledby")
          && !(each.tagName === "BUTTON" && each.textContent))
        .map((each) => each.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
    assert tab.locator("main").count() == 1
    assert tab.locator("h1").count() == 1


@pytest.mark.full
def test_every_figure_is_a_table_too(visit):
    tab = visit()
    scroll_through(tab)
    for name in ("costs", "comparison", "ranks", "learning", "reliability"):
        tab.locator(f"#figure-{name} summary").click()
        tab.locator(f"#figure-{name} details tbody tr").first.wait_for()
    assert tab.locator("#figure-comparison details tbody tr").count() == 12
    filled = tab.locator("#figure-reliability details tbody tr", has_text="minilm/full")
    assert filled.count() == 5, "empty bins are left out"
    assert "MiB" in tab.locator("#figure-costs details tbody tr").last.inner_text()
    tab.select_option("#costs-panel", "2")
    tab.locator("#figure-costs svg", has_text="peak memory").wait_for()


@pytest.mark.full
def test_on_paper_everything_is_there(visit):
    tab = visit(color_scheme="dark")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    tab.emulate_media(media="print")
    assert tab.locator("figure svg.marks").count() >= 5
    assert tab.locator("#row-list li").count() > 0
    assert not tab.locator(".bar").is_visible()
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.locator(".configuration pre").is_visible()
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not tab.locator(".configuration").get_attribute("open")


def test_failed_trainings_are_marked(tmp_path, visit):
    def change(datasets):
        (lora,) = [v for v in datasets["d"]["variants"] if v["name"] == "minilm/lora-r16"]
        lora["failed"] = [1]

    tab = visit(write(tmp_path, Comparison({"d": ["a", "b"]}), change=change))
    marked = tab.locator("#table tbody tr", has_text="failed in 1 of 2 seeds")
    assert [row.inner_text().split()[0] for row in marked.all()] == ["lora-r16"]
    lines = tab.locator(".forest .line", has_text="failed with some seed")
    assert [line.inner_text().split()[0] for line in lines.all()] == ["minilm/lora-r16"]


@pytest.mark.full
def test_what_was_not_measured_is_shown_as_such(tmp_path, visit):
    tab = visit(write(tmp_path, Comparison({"d": ["a", "b"]}, variants=("base",), seeds=(0,))))
    scroll_through(tab)
    for name in ("costs", "ranks", "learning"):
        assert tab.locator(f"#figure-{name} .absent").count() == 1
    base = tab.locator("#table tbody tr", has_text="collapsed in 1 of 1 seeds")
    assert base.locator("td", has_text="not on record").count() == 4
    assert "†" not in base.inner_text()  # an untrained head that was drawn once stands for itself


@pytest.mark.full
def test_many_cells_open_at_once(tmp_path, visit):
    """200 cells and 5,000 rows: in less than three seconds, in less than 20 MB.

    The best of three, since other jobs may hold the cores.
    """
    plan = Comparison(
        {"reviews": ["negative", "positive"]},
        models=tuple(f"model{number}" for number in range(8)),
        variants=("head", "lora-r4", "lora-r8", "lora-r16", "full"),
        seeds=(0, 1, 2, 3, 4),
        rows=5000,
        words=60,
    )
    path = write(tmp_path, plan)
    assert path.stat().st_size < MOST_BYTES
    fastest = min(seconds_to_open(visit, path, "42 of 42 variants") for _ in range(3))
    assert fastest < LONGEST_SECONDS
    tab = visit(path)
    assert (
        tab.locator("#verdicts summary", has_text="more").inner_text()
        == "28 variants more, below these"
    )
    tab.locator("#errors").scroll_into_view_if_needed()
    tab.locator("#row-count", has_text="of 5,000 test rows").wait_for()
    assert tab.locator("#row-list li").count() == 20


def seconds_to_open(visit: Callable[..., Page], path: Path, said: str) -> float:
    """Return how long a page takes until its table is there, in a browser that has not seen it."""
    began = time.perf_counter()
    visit(path).locator("#table-count", has_text=said).wait_for()
    return time.perf_counter() - began


def test_mistake_ends_in_one_line(run_script, tmp_path):
    words = ["--results", tmp_path, "--verdicts", tmp_path / "none.json", "--config", tmp_path]
    done = run_script("page", *words, "--templates", TEMPLATES, "--page", tmp_path / "p.html")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path}/none.json cannot be read")
    assert "Traceback" not in done.stderr
