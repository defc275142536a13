"""Package metadata; build system and tool settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

DASK = ["dask>=2026.7,<2027", "distributed>=2026.7,<2027"]
# Below 2 of MkDocs, which is another program; the theme loads nothing from the web if told so.
DOCS = ["latex2mathml>=3.77,<4", "mkdocs>=1.6,<2", "mkdocs-material>=9.6,<10"]
S3FS = "s3fs>=2026.9,<2028"

setup(
    name="freqsan",
    version="0.1.0",
    description="Clean an image training set before it poisons a model",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The freqsan authors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=["backdoor attacks", "data poisoning", "data sets", "DCT", "images"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Topic :: Security",
        "Typing :: Typed",
    ],
    python_requires=">=3.11,<3.14",
    py_modules=["freqsan"],
    packages=find_packages(
        include=["attacks*", "sanitizer*", "detector*", "pipelines*"],
    ),
    package_data={
        "attacks": ["artefacts/*.safetensors", "victims/weights/*.safetensors", "py.typed"],
        "detector": ["weights/*/weights.safetensors", "weights/*/detector.json", "py.typed"],
        "pipelines": ["sample/*.parquet", "sample/README.md", "py.typed"],
        "sanitizer": ["py.typed"],
        "pipelines.report": ["templates/*"],
    },
    install_requires=[
        "apache-beam>=2.77,<3",
        "click>=8.1.7,<9",
        "datasets>=5.2,<6",
        "filelock>=3.16",
        "fsspec>=2025.3",
        "great-expectations>=1.24,<2",
        "huggingface-hub>=1,<3",
        "jinja2>=3.1,<4",
        "matplotlib>=3.10,<4",
        "msgspec>=0.20",
        "numpy>=2,<3",
        "onnx>=1.17,<2",  # a network is written as its graph
        "onnxruntime>=1.20,<2",  # and this runs it on a CPU, without torch
        "pandas>=2.2,<4",
        "pillow>=11.3",
        "pyarrow>=21",
        "safetensors>=0.5,<1",
        "scipy>=1.15,<2",
        "threadpoolctl>=3.5,<4",
        # Below 2.14: a wider range installs gigabytes of CUDA beside the CPU build.
        "torch>=2.6,<2.14",
        "tqdm>=4.66,<5",
    ],
    extras_require={
        # `--runner dask`, by Beam's own runner, which asks for no more than some version of them.
        "dask": DASK,
        # The site of docs/, by `mkdocs build --strict`.
        "docs": DOCS,
        # From 2026.9 on a page of a listing that fails is asked for again. Before, it was lost.
        "s3": [S3FS],
        # Only for the comparison in benchmarks/rivals.py.
        "rivals": ["adversarial-robustness-toolbox>=1.20,<1.21", "scikit-learn>=1.5,<2"],
        "test": [
            *DASK,
            "duckdb>=1.4,<2",
            *DOCS,
            "hypothesis>=6.130",
            "ipykernel>=7,<8",
            "ipywidgets>=8.1,<9",  # by which Jupyter draws progress
            "jsonschema>=4.21,<5",
            "jupyter-client>=8.6,<9",
            "moto[server]>=5.1,<6",
            "mypy>=1.18",
            "pytest>=8.3",
            "pytest-xdist>=3.8",
            "ruff>=0.15",
            S3FS,
            "selenium>=4.30,<5",
            "setuptools>=77",  # which the tests build the wheel with
            "torchvision>=0.21,<0.29",  # those that go with torch 2.6 to 2.13
            "webdataset>=0.2.111,<2",
        ],
    },
    entry_points={"console_scripts": ["freqsan = freqsan:main"]},
)
