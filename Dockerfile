# The studio as a container; the commands are those of the Makefile.
#   docker build -t studio .                            for processors
#   docker build --build-arg KIND=gpu -t studio .       for CUDA GPUs: run it with --gpus all
#   docker run -p 7860:7860 -v studio:/data studio
ARG KIND=cpu
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS packages-cpu
# Processors need torch's own builds for them: those of the package index carry gigabytes of CUDA.
ENV REQUIREMENTS=requirements-cpu.txt PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu

FROM python:${PYTHON}-slim AS packages-gpu
ENV REQUIREMENTS=requirements.txt

FROM packages-${KIND} AS packages
WORKDIR /opt/studio
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY scripts/install.sh scripts/
COPY requirements.txt requirements-cpu.txt ./
RUN python -m venv .venv
RUN scripts/install.sh .venv/bin/python ${REQUIREMENTS}

FROM python:${PYTHON}-slim AS runtime-cpu

FROM python:${PYTHON}-slim AS runtime-gpu
# vLLM compiles small kernels when it starts.
RUN apt-get update && apt-get install -y --no-install-recommends gcc g++ \
    && rm -rf /var/lib/apt/lists/*

FROM runtime-${KIND} AS studio
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
