"""The distribution's Chromium; nothing is ever downloaded."""

from __future__ import annotations

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


def find_chromium() -> str | None:
    """Its path: LAZO_TEST_CHROMIUM, or the first known name on PATH."""
    return os.environ.get("LAZO_TEST_CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)


def browser_missing() -> str | None:
    """Why there is no browser, or None."""
    if find_chromium():
        return None
    return "no Chromium on PATH (Debian: apt-get install chromium), and LAZO_TEST_CHROMIUM is not set"
