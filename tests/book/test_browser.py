"""What becomes of the browser's tests where there is no browser."""

import browser
import pytest


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    return monkeypatch


def test_without_a_browser_a_test_is_skipped_and_says_why(nowhere):
    nowhere.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Chromium: none of chromium, "):
        browser.chromium()


def test_without_a_browser_a_test_fails_in_ci(nowhere):
    nowhere.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no Chromium: none of chromium, "):
        browser.chromium()
