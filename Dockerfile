# One image for every process: `stockade serve gateway`, `stockade serve worker`.
# Nothing is downloaded at run time; what is installed is checked by its hash at build time.

FROM python:3.13-slim AS build
WORKDIR /build
COPY requirements.lock requirements-runtime.lock ./
RUN python -m venv tools \
 && tools/bin/pip install --no-cache-dir --no-deps --require-hashes --requirement requirements.lock \
 && python -m venv /opt/stockade \
 && /opt/stockade/bin/pip install --no-cache-dir --no-deps --require-hashes --requirement requirements-runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY policies policies
COPY sdk/python sdk/python
COPY src src
RUN tools/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir wheels . \
 && /opt/stockade/bin/pip install --no-cache-dir --no-deps --no-index wheels/*.whl

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin stockade \
 && install --directory --owner=stockade --mode=0700 /data
COPY --from=build /opt/stockade /opt/stockade
ENV PATH=/opt/stockade/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["stockade"]
CMD ["--help"]
