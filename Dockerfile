# Impasto in a container: docker build --tag impasto . && docker run --rm --volume "$PWD:/pictures" impasto translate photos --output monets
# docs/cluster.md has more. TORCH is cpu (about 2 GB in all) or cuda (about 9 GB, which also runs without a GPU).
FROM python:3.12-slim

ARG TORCH=cpu
WORKDIR /impasto
COPY . .
# What PyPI has of torch is for CUDA; PyTorch's own index has the one for processors.
RUN if [ "$TORCH" = cpu ]; then \
        pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu; \
    fi \
    && pip install --no-cache-dir '.[app,fetch,film,heif,onnx,survey,tensorboard]' \
    && rm -rf /impasto

# Files in the volume belong to whoever runs it with --user, and no process is root.
RUN useradd --create-home impasto
USER impasto
ENV HOME=/tmp PYTHONUNBUFFERED=1
WORKDIR /pictures
# 7860: impasto app --host 0.0.0.0 --open_browser false
EXPOSE 7860
ENTRYPOINT ["impasto"]
CMD ["--help"]
