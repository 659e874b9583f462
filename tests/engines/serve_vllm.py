"""Starts vLLM's OpenAI-compatible server as this repository starts vLLM."""

from __future__ import annotations

import os
import runpy

from protocols.engines.vllm_arguments import CPU_ENVIRONMENT

if __name__ == "__main__":
    for name, value in CPU_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")
