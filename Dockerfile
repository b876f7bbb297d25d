# Two stages: the first one builds, the second one only runs, as a user of its own.
FROM python:3.11.14-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/orchestrator
WORKDIR /source
COPY requirements.txt .
RUN /opt/orchestrator/bin/pip install --require-hashes -r requirements.txt
COPY . .
RUN /opt/orchestrator/bin/pip install --no-deps --no-build-isolation .

FROM python:3.11.14-slim-bookworm
COPY --from=build /opt/orchestrator /opt/orchestrator
RUN useradd --uid 10001 --create-home orchestrator && install --directory --owner orchestrator /data
ENV PATH=/opt/orchestrator/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ORCHESTRATOR_HOME=/data/home \
    ORCHESTRATOR_DESTINATION=/data/output
WORKDIR /data
USER 10001
CMD ["orchestrator", "--help"]
