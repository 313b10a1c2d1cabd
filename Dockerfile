FROM python:3.12-slim-bookworm

RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/adapter adapter

COPY . /src
RUN pip install --no-cache-dir --root-user-action=ignore '/src[postgres]' && rm -rf /src

USER adapter
WORKDIR /var/lib/adapter
VOLUME /var/lib/adapter
EXPOSE 8765
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 CMD ["python", "-c", \
  "import urllib.request as u; u.urlopen('http://127.0.0.1:8765/healthz', timeout=4)"]
CMD ["adapter", "serve", "--host", "0.0.0.0", "--port", "8765", "--shielded"]
