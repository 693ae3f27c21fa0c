# OpenGato with the simulators of its demo, drawing without a display:
#     docker build -t opengato .
#     docker run --rm -v "$PWD/demo:/home/agent/demo" opengato demo --out demo
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install -y --no-install-recommends libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opengato
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY src src
# Another build of torch, for GPUs say, is chosen by its index: --build-arg PIP_INDEX_URL=…
ARG EXTRAS=demo,serve,client,lerobot
ARG PIP_INDEX_URL
RUN pip install --no-cache-dir -c constraints.txt torch \
    && pip install --no-cache-dir -c constraints.txt ".[${EXTRAS}]"

RUN useradd --create-home agent
USER agent
WORKDIR /home/agent
ENV MUJOCO_GL=egl
ENTRYPOINT ["opengato"]
CMD ["--help"]
