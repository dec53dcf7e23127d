# A CUDA host needs the NVIDIA driver and container toolkit only: torch's wheels carry the CUDA libraries.
#
#   docker build -t physim .
#   docker run --rm --gpus all --ipc=host -v "$PWD:/work" -e WANDB_API_KEY physim fit --config large
#
# --ipc=host gives data-loading workers shared memory. The W&B key is passed at run time and never becomes part of the
# image; without it runs are logged offline. Runs and data appear under the mounted folder, which must be writable for
# user 1000 (or add --user "$(id -u):$(id -g)").
FROM python:3.11.14-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
WORKDIR /src
# torch first: the layer of several gigabytes survives a change of the package.
COPY constraints.txt ./
RUN pip install -c constraints.txt torch
COPY pyproject.toml README.md LICENSE ./
COPY lightning_physim ./lightning_physim
RUN pip install -c constraints.txt . && rm -rf /src/*
# The simulator's machine code, for whoever runs the image; another processor than this one adds its own.
ENV NUMBA_CACHE_DIR=/opt/numba
RUN python -m lightning_physim.physics && chmod -R a+rwX /opt/numba

RUN useradd --create-home --uid 1000 physim
USER physim
WORKDIR /work
ENTRYPOINT ["physim"]
CMD ["--help"]
