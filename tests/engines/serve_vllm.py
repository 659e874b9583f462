"""Starts vLLM's OpenAI-compatible server with the repository's guard for CPU installs."""

from __future__ import annotations

import runpy

import protocols  # noqa: F401  hides the torch extras that cannot be loaded

if __name__ == "__main__":
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")
