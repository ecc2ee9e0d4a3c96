# Two images from one file:
#
#   docker build -t glidemq .                          console and commands
#   docker build -t glidemq-worker --target worker .   what the image of an application's workers starts from
#
# docs/deployment.md shows both in use. packaging/run_dockerfile.py runs these steps where no docker is.

FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements.txt requirements-build.txt ./
RUN python -m venv /opt/glidemq \
    && /opt/glidemq/bin/python -m pip install --no-cache-dir -r requirements.txt \
    && python -m venv /src/tools \
    && /src/tools/bin/python -m pip install --no-cache-dir -c requirements.txt -r requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY glidemq_core glidemq_core
COPY glidemq_console glidemq_console
COPY themes themes
RUN /src/tools/bin/python -m hatchling build --target wheel --directory /src/wheels \
    && /opt/glidemq/bin/python -m pip install --no-cache-dir --no-deps /src/wheels/*.whl

FROM python:3.13-slim AS base
COPY --from=build /opt/glidemq /opt/glidemq
# A number, since Kubernetes refuses to take a name for a user that is not root. USER names it in the audit.
RUN install -d -o 10001 -g 10001 /home/glidemq /app
ENV PATH=/opt/glidemq/bin:$PATH HOME=/home/glidemq USER=glidemq PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /app
ENTRYPOINT ["glidemq"]

FROM base AS worker
# An application adds its module: COPY app.py /app/
CMD ["worker", "app:worker", "--health", "8080"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/live')"]

FROM base AS console
CMD ["console"]
