# The studio as a container; the commands are those of the Makefile.
#   docker build -t studio .                            for processors
#   docker build --build-arg KIND=gpu -t studio .       for CUDA GPUs: run it with --gpus all
#   docker run -p 7860:7860 -v studio:/data studio
# A mirror of torch's builds: --build-arg TORCH_INDEX=https://...
ARG KIND=cpu
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS packages
# Processors need torch's own builds for them: those of the package index carry gigabytes of CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG KIND
WORKDIR /opt/studio
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY scripts/install.sh scripts/
COPY requirements.txt requirements-cpu.txt ./
RUN python -m venv .venv
RUN case "$KIND" in \
    cpu) PIP_EXTRA_INDEX_URL="$TORCH_INDEX" scripts/install.sh .venv/bin/python requirements-cpu.txt ;; \
    gpu) scripts/install.sh .venv/bin/python requirements.txt ;; \
    *) echo "KIND is cpu or gpu, not '$KIND'." >&2; exit 2 ;; \
    esac

FROM python:${PYTHON}-slim AS studio
ARG KIND
# On a GPU vLLM compiles small kernels when it starts.
RUN if [ "$KIND" = gpu ]; then \
    apt-get update && apt-get install -y --no-install-recommends gcc g++ && rm -rf /var/lib/apt/lists/*; \
    fi
# Number 1000 is also who a hosted Space runs containers as.
RUN useradd --create-home --uid 1000 studio && install -d -o studio -g studio /data
WORKDIR /opt/studio
COPY --from=packages /opt/studio/.venv .venv
COPY app.py pyproject.toml requirements.txt requirements-cpu.txt ./
COPY protocols protocols
COPY evals evals
COPY studio studio
COPY assets assets
ENV STUDIO_WORKSPACE=/data STUDIO_HOST=0.0.0.0 STUDIO_PORT=7860 PYTHONUNBUFFERED=1
USER studio
# A new named volume begins with what is here; in a mounted folder the app fetches it again.
RUN .venv/bin/python -m studio doctor --fetch
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD [".venv/bin/python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/health', timeout=4)"]
CMD [".venv/bin/python", "app.py"]
