#!/usr/bin/env bash
# Makes sure that the browser tests have a Chromium, by Debian's package when there is none.
set -u
for name in chromium chromium-browser google-chrome; do
  command -v "$name" >/dev/null && exit 0
done
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  echo "Installing Debian's chromium for the browser tests (about a minute) ..."
  { apt-get update && apt-get install -y --no-install-recommends chromium fonts-dejavu-core fonts-noto-color-emoji; } >/dev/null 2>&1 && exit 0
fi
echo "No Chromium found and it could not be installed: the browser tests will be skipped." >&2
echo "Install it with: sudo apt-get install chromium" >&2
