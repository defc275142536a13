# freqsan with torch's CPU build:
#   docker build -t freqsan .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" freqsan clean photos/ cleaned/
FROM python:3.12-slim AS installed

# uv knows where torch's CPU builds are; what Linux gets otherwise is three times as large.
RUN pip install --no-cache-dir 'uv>=0.8,<1'
ENV VIRTUAL_ENV=/opt/freqsan
RUN python -m venv --without-pip "$VIRTUAL_ENV"
COPY . /source
RUN uv pip install --no-cache --torch-backend cpu '/source[s3]'

FROM python:3.12-slim
COPY --from=installed /opt/freqsan /opt/freqsan
# Caches go where every user may write, also one of --user without a home.
ENV PATH=/opt/freqsan/bin:$PATH \
    HF_HOME=/tmp/huggingface \
    MPLCONFIGDIR=/tmp/matplotlib
RUN useradd --create-home freqsan
USER freqsan
WORKDIR /data
ENTRYPOINT ["freqsan"]
CMD ["--help"]
