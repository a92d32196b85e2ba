"""Where pages are, for links in Airflow and for mails: below what Airflow's base_url says, and coded for a URL."""

from __future__ import annotations

import pytest

SUBJECT = "partition 'physics' & more"
CODED = "partition%20%27physics%27%20%26%20more"


@pytest.mark.parametrize(
    ("base_url", "below", "host"),
    [
        pytest.param("", "", None, id="nobody said"),
        pytest.param("https://airflow.example.org", "", "https://airflow.example.org", id="a host of its own"),
        pytest.param("https://example.org:8443/af/", "/af", "https://example.org:8443", id="below a path"),
    ],
)
def test_paths_and_addresses(
    airflow: None, monkeypatch: pytest.MonkeyPatch, base_url: str, below: str, host: str | None
) -> None:
    from dynamo_airflow.pages import address_of, framed, path_of

    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    assert framed("today") == f"{below}/dynamo/ui/today"
    for page, choices, expected in (
        ("plans/17", {}, "plans/17"),
        ("gates", {"gate": "detox", "subject": SUBJECT}, f"gates?gate=detox&subject={CODED}"),
        ("gates", {"gate": "", "since": "2026-03-01"}, "gates?since=2026-03-01"),
    ):
        path = f"{below}/plugin/dynamo/dynamo/ui/{expected}"
        assert path_of(page, **choices) == path
        assert address_of(page, **choices) == (f"{host}{path}" if host else None)


def test_a_dags_page_links_to_ours_and_says_what_to_do_when_a_task_is_red(airflow: None) -> None:
    from dynamo_airflow.pages import explained

    text = explained("\n### Look\nIt looks.\n", {"What waits": "transfers"})
    assert text.startswith("### Look\nIt looks.\n")
    assert "#### When a task is red\n" in text
    assert text.endswith("* [What waits](/plugin/dynamo/dynamo/ui/transfers)\n")
