"""WebDataset tars, saved datasets, and sets on the Hub (a local stand-in of it)."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import datasets
import fsspec
import httpx2
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from huggingface_hub import errors
from reading import files_of, rows_of

from pipelines.sources import open_source, webdataset
from sanitizer.errors import InputError

Members = list[tuple[str, bytes]]


def write_tar(path: Path, members: Members, mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def members(real_images: list[bytes]) -> Members:
    """Twelve samples: an image, a label, a caption and some JSON."""
    return [
        member
        for i, image in enumerate(real_images[:12])
        for member in (
            (f"dir/{i:03d}.cls", b"%d\n" % (i % 3)),
            (f"dir/{i:03d}.png", image),
            (f"dir/{i:03d}.txt", f"caption ü {i}".encode()),
            (f"dir/{i:03d}.meta.json", json.dumps({"i": i}).encode()),
        )
    ]


@pytest.mark.parametrize(
    ("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz")]
)
def test_samples_of_a_tar(
    tmp_path: Path, members: Members, real_images: list[bytes], name: str, mode: str
) -> None:
    source = open_source(str(write_tar(tmp_path / name, members, mode)))
    rows = rows_of(source, batch_rows=5)
    assert (source.kind, source.rows, source.label_column) == ("webdataset", None, "label")
    expected = ["image", "label", "txt", "meta.json", "__key__", "__other__", "sample_id"]
    assert source.schema.names == expected
    assert [r["image"]["bytes"] for r in rows] == real_images[:12]
    assert [r["label"] for r in rows] == [i % 3 for i in range(12)]
    assert rows[3]["sample_id"] == f"{name}#dir/003"
    assert (rows[3]["txt"], rows[3]["meta.json"]) == ("caption ü 3", b'{"i": 3}')
    assert all(r["__other__"] is None for r in rows)
    assert datasets.Features.from_arrow_schema(source.schema)["label"].dtype == "int64"


def test_small_tars_share_a_shard_and_large_ones_do_not(
    tmp_path: Path, members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(3):
        write_tar(tmp_path / f"{i}.tar", members[16 * i : 16 * i + 16])
    source = open_source(str(tmp_path))
    assert sorted(set(files_of(source))) == ["0.tar", "1.tar", "2.tar"]
    assert [r["sample_id"] for r in rows_of(source)][::4] == [
        "0.tar#dir/000",
        "1.tar#dir/004",
        "2.tar#dir/008",
    ]
    assert open_source(str(tmp_path / "[12].tar")).rows is None
    assert len(source.shards) == 1
    monkeypatch.setattr(webdataset, "SHARD_BYTES", 1)
    assert len(open_source(str(tmp_path)).shards) == 3


def test_splits_of_tars_are_not_mixed(tmp_path: Path, members: Members) -> None:
    for name in ("set-train-0000.tar", "set-train-0001.tar", "set-val-0000.tar"):
        write_tar(tmp_path / name, members)
    with pytest.raises(InputError, match="found the splits train, val; choose one"):
        open_source(str(tmp_path))
    names = set(files_of(open_source(str(tmp_path), split="train")))
    assert names == {"set-train-0000.tar", "set-train-0001.tar"}


def test_nothing_of_an_odd_tar_is_lost(tmp_path: Path, members: Members) -> None:
    image = members[1][1]
    odd: Members = [
        ("x.depth", b"unseen"),
        ("x.JPG", image),
        ("x.\udcff", b"odd"),
        ("dir/000.png", image),
        ("alone.txt", b"\xff"),
        ("dir/000.png", image),
        ("dir/000.png", image),
        ("._mac.png", b"hidden"),
        ("README", b"read me"),
    ]
    path = write_tar(tmp_path / "a.tar", members + odd)
    rows = rows_of(open_source(str(path)))[12:]
    assert [r["sample_id"] for r in rows] == [
        "a.tar#x",
        "a.tar#dir/000##2",
        "a.tar#alone",
        "a.tar#dir/000##3",
        "a.tar#dir/000##4",
        "a.tar#README",
    ]
    assert rows[0]["__other__"] == [
        {"extension": "depth", "bytes": b"unseen"},
        {"extension": "./\\udcff", "bytes": b"odd"},
    ]
    assert rows[0]["image"] == {"bytes": image, "path": "x.jpg"}
    assert (rows[2]["image"]["bytes"], rows[2]["txt"]) == (None, None)
    assert rows[2]["__other__"] == [{"extension": "txt", "bytes": b"\xff"}]
    assert rows[5]["__other__"] == [{"extension": "", "bytes": b"read me"}]


def test_hidden_members_among_the_first_samples_are_noted(tmp_path: Path, members: Members) -> None:
    hidden: Members = [(".png", b"no name"), ("dir/._000.png", b"of a Mac")]
    source = open_source(write_tar(tmp_path / "a.tar", [*hidden, *members]))
    assert source.notes == (
        "hidden members of tars are left out; there are some among the first samples of a.tar: "
        ".png, dir/._000.png",
    )
    assert len(rows_of(source)) == 12


def test_extensions_choose_image_and_label(tmp_path: Path, members: Members) -> None:
    with_mask = list(members)
    for i in range(48, 0, -4):
        with_mask.insert(i, (members[i - 1][0].replace("meta.json", "seg.png"), b"m"))
    path = str(write_tar(tmp_path / "a.tar", with_mask))
    with pytest.raises(InputError, match=r"several images each: png, seg\.png; choose one"):
        open_source(path)
    source = open_source(path, image_column=".PNG", label_column="txt")
    rows = rows_of(source)
    assert (rows[2]["label"], rows[2]["seg.png"], rows[2]["cls"]) == ("caption ü 2", b"m", b"2\n")
    with pytest.raises(InputError, match=r"a\.tar have no \.jpg, only cls, png, txt, meta"):
        open_source(path, image_column="jpg")


def test_members_that_do_not_fit_their_column_are_kept_as_they_are(
    tmp_path: Path, members: Members
) -> None:
    image = members[1][1]
    labels = {"z": b"cat", "y": b"99999999999999999999", "x": b"007", "w": b"", "v": b" -12\n"}
    odd = [(f"{key}.{e}", data) for key, cls in labels.items() for e, data in _pair(image, cls)]
    path = write_tar(tmp_path / "a.tar", [*members, *odd, ("u.png", image), ("u.txt", b"\xff\n")])
    rows = rows_of(open_source(str(path)))[12:]
    assert [row["label"] for row in rows] == [None, None, None, None, -12, None]
    for row in rows[:4]:
        assert row["__other__"] == [{"extension": "cls", "bytes": labels[row["__key__"]]}]
    assert rows[4]["__other__"] is None
    assert rows[5]["txt"] is None
    assert rows[5]["__other__"] == [{"extension": "txt", "bytes": b"\xff\n"}]


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (b"007", "007"),
        (b"+7\n", "+7"),
        (b"1_0", "1_0"),
        (b"-0", "-0"),
        (b"99999999999999999999", "99999999999999999999"),
        (b"9223372036854775808", "9223372036854775808"),
        (b"9223372036854775807", 9223372036854775807),
        (b"-9223372036854775808\n", -9223372036854775808),
        (b"\tsea horse \n", "sea horse"),
        (b"0", 0),
        (b"\xff", None),
    ],
)
def test_labels_are_numbers_only_where_nothing_is_lost(
    tmp_path: Path, real_images: list[bytes], first: bytes, expected: object
) -> None:
    samples = [(f"1.{e}", data) for e, data in _pair(real_images[0], first)]
    samples += [(f"2.{e}", data) for e, data in _pair(real_images[1], b"7")]
    one, two = rows_of(open_source(str(write_tar(tmp_path / "a.tar", samples))))
    assert one["label"] == expected
    assert two["label"] == (7 if isinstance(expected, int) else "7")
    kept = None if expected is not None else [{"extension": "cls", "bytes": first}]
    assert one["__other__"] == kept


def _pair(image: bytes, label: bytes) -> Members:
    return [("png", image), ("cls", label)]


def test_keys_with_dots_are_explained_in_few_words(
    tmp_path: Path, real_images: list[bytes]
) -> None:
    dotted = [(f"a.b.{i}.png", image) for i, image in enumerate(real_images[:30])]
    with pytest.raises(InputError, match=r"each: b\.0\.png, b\.1\.png, b\.2\.png, …; .*first dot"):
        open_source(str(write_tar(tmp_path / "a.tar", dotted)))


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz")])
def test_truncated_tar_is_named_wherever_it_ends(
    tmp_path: Path, members: Members, name: str, mode: str
) -> None:
    path = write_tar(tmp_path / name, members, mode)
    whole = path.read_bytes()
    # Half blocks and whole ones, up to the zeros that end a tar.
    end = len(whole) - 9 if mode == "w:gz" else whole.rindex(b'{"i": 11}')
    for size in range(0, end, 1_280):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"a\.tar.*: cannot be read as a tar"):
            rows_of(open_source(str(path)))


def test_tar_without_images_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("a.txt", b"x")])
    with pytest.raises(InputError, match="hold no images"):
        open_source(str(path))
    with pytest.raises(InputError, match="hold no images"):
        open_source(str(write_tar(tmp_path / "b.tar", [])))


@pytest.fixture
def dataset(data_dir: Path) -> datasets.Dataset:
    return datasets.Dataset(pq.read_table(data_dir / "caltech101_32.parquet").slice(0, 90))


def test_saved_dataset_is_read_in_row_ranges(dataset: datasets.Dataset, tmp_path: Path) -> None:
    dataset.save_to_disk(tmp_path / "saved", num_shards=2)
    source = open_source(str(tmp_path / "saved"), shard_rows=20)
    rows = rows_of(source, batch_rows=7)
    assert (source.kind, source.rows, len(source.shards)) == ("saved dataset", 90, 6)
    assert source.class_names == tuple(dataset.features["label"].names)
    assert [r["image"]["bytes"] for r in rows] == dataset.data["image"].combine_chunks().field(
        "bytes"
    ).to_pylist()
    assert [r["label"] for r in rows] == dataset["label"][:]
    assert rows[45]["sample_id"] == "data-00001-of-00002.arrow#0"
    assert rows_of(open_source(str(tmp_path / "saved"))) == rows


def test_saved_splits_must_be_chosen(dataset: datasets.Dataset, tmp_path: Path) -> None:
    splits = datasets.DatasetDict(train=dataset, extra=dataset.select(range(5)))
    splits.save_to_disk(tmp_path / "saved")
    with pytest.raises(InputError, match="found the splits extra, train; choose one"):
        open_source(str(tmp_path / "saved"))
    source = open_source(str(tmp_path / "saved"), split="extra")
    assert [r["sample_id"] for r in rows_of(source)][4] == "extra/data-00000-of-00001.arrow#4"


def test_links_out_of_a_saved_dataset_are_followed_only_where_told(
    dataset: datasets.Dataset, tmp_path: Path
) -> None:
    dataset.save_to_disk(tmp_path / "saved")
    (arrow,) = (tmp_path / "saved").glob("*.arrow")
    arrow.rename(tmp_path / "elsewhere.arrow")
    arrow.symlink_to(tmp_path / "elsewhere.arrow")
    with pytest.raises(InputError, match=rf"{arrow.name} leads out of INPUT.*--follow-links"):
        open_source(str(tmp_path / "saved"))
    assert open_source(str(tmp_path / "saved"), follow_links=True).rows == 90


def test_paths_in_a_saved_dataset_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    features = datasets.Features({"image": datasets.Image(decode=False)})
    rows = [{"path": str(secret), "bytes": None}]
    made = datasets.Dataset.from_dict({"image": rows}, features=features)
    made.save_to_disk(tmp_path / "saved")
    for arrow in (tmp_path / "saved").glob("*.arrow"):
        with datasets.arrow_writer.ArrowWriter(path=str(arrow), features=features) as writer:
            writer.write_table(made.data.table)
            writer.finalize()
    (row,) = rows_of(open_source(str(tmp_path / "saved")))
    assert row["image"] == {"bytes": None, "path": str(secret)}


def test_damaged_saved_dataset_is_named(dataset: datasets.Dataset, tmp_path: Path) -> None:
    dataset.save_to_disk(tmp_path / "saved")
    arrow = tmp_path / "saved" / "data-00000-of-00001.arrow"
    source = open_source(str(tmp_path / "saved"))
    arrow.write_bytes(arrow.read_bytes()[:20_000])
    with pytest.raises(InputError, match=r"arrow: has changed"):
        rows_of(source)
    with pytest.raises(InputError, match=r"arrow: cannot be read as an Arrow stream"):
        open_source(str(tmp_path / "saved"))
    arrow.unlink()
    with pytest.raises(InputError, match=r"arrow: cannot be read \(No such file or directory\)$"):
        open_source(str(tmp_path / "saved"))


COMMIT, CONVERSION = "a" * 40, "c" * 40


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that answers for the Hub, with one folder for each commit of each set."""
    root = tmp_path / "hub"
    root.mkdir()

    class LocalHub(DirFileSystem):
        protocol = "hf"
        cachable = False

        def __init__(self, **options: object):
            super().__init__(path=str(root), fs=LocalFileSystem())

    def dataset_info(self: object, repo: str, *, revision: str | None, timeout: float) -> object:
        sha = CONVERSION if revision == "refs/convert/parquet" else COMMIT
        if not (root / "datasets" / f"{repo}@{sha}").is_dir():
            response = httpx2.Response(404, request=httpx2.Request("GET", "https://hub"))
            known = (root / "datasets" / f"{repo}@{COMMIT}").is_dir()
            kind = errors.RevisionNotFoundError if known else errors.RepositoryNotFoundError
            raise kind("not found", response=response)
        return SimpleNamespace(sha=sha)

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
    fsspec.register_implementation("hf", LocalHub, clobber=True)
    yield root / "datasets"
    fsspec.register_implementation("hf", huggingface_hub.HfFileSystem, clobber=True)


def put(data_dir: Path, *paths: Path) -> None:
    table = pq.read_table(data_dir / "caltech101_32.parquet").slice(0, 10)
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)


def test_hub_set_is_pinned_to_its_commit(hub: Path, data_dir: Path) -> None:
    repo = hub / f"org/set@{COMMIT}"
    put(data_dir, *(repo / f"data/{s}-00000-of-00001.parquet" for s in ("train", "test")))
    (repo / "README.md").write_text("a set")
    with pytest.raises(InputError, match="org/set: found the splits test, train; choose one"):
        open_source("org/set")
    for location in ("org/set", "hf://datasets/org/set", "hf://datasets/org/set/data"):
        source = open_source(location, split="train")
        rows = rows_of(source)
        assert (source.kind, source.rows, source.location) == ("hub", 10, location)
        assert rows[9]["sample_id"] == "data/train-00000-of-00001.parquet#9"
        assert COMMIT in source.reader.root
        assert rows_of(open_source(f"{location}:train")) == rows
    assert open_source("hf://datasets/org/set/data/test-*.parquet").rows == 10


def test_conversion_by_the_hub_is_used_where_a_set_is_not_parquet(
    hub: Path, data_dir: Path
) -> None:
    (hub / f"org/set@{COMMIT}").mkdir(parents=True)
    (hub / f"org/set@{COMMIT}" / "images.zip").write_bytes(b"zip")
    with pytest.raises(InputError, match="no Parquet files and no conversion"):
        open_source("org/set")
    converted = hub / f"org/set@{CONVERSION}"
    put(data_dir, converted / "default/train/0000.parquet", converted / "default/test/0000.parquet")
    source = open_source("org/set", split="train")
    assert rows_of(source)[0]["sample_id"] == "default/train/0000.parquet#0"
    put(data_dir, converted / "small/train/0000.parquet")
    with pytest.raises(InputError, match=r"several folders \(default, small\); choose one"):
        open_source("org/set", split="train")
    assert open_source("hf://datasets/org/set/small").rows == 10


def test_unknown_gated_and_unreachable_sets(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="org/none: no such file or folder here, and no public"):
        open_source("org/none")
    response = httpx2.Response(403, request=httpx2.Request("GET", "https://hub"))
    for error, message in (
        (errors.GatedRepoError("gated", response=response), "is gated; ask for access"),
        (httpx2.ConnectError("no route\nat all"), r"the Hub cannot be reached \(no route\)"),
        (errors.OfflineModeIsEnabled("offline"), "the Hub cannot be reached"),
    ):

        def fail(*args: object, error: Exception = error, **options: object) -> None:
            raise error

        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", fail)
        with pytest.raises(InputError, match=message):
            open_source("hf://datasets/org/set")


@pytest.mark.parametrize("location", ["nothing-here", "a/b/c", "/no/where", "./org/set"])
def test_what_is_no_hub_id_is_no_such_file(location: str) -> None:
    with pytest.raises(InputError, match=r"no such file or folder$"):
        open_source(location)


def test_a_source_tells_where_it_reads_and_how_much(
    tmp_path: Path, members: Members, dataset: datasets.Dataset, hub: Path, data_dir: Path
) -> None:
    write_tar(tmp_path / "set" / "a.tar", members)
    tar = tmp_path / "set" / "a.tar"
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "1.png").write_bytes(members[1][1])
    dataset.save_to_disk(tmp_path / "saved")
    saved = tmp_path / "saved"
    put(data_dir, hub / f"org/set@{COMMIT}" / "0.parquet", tmp_path / "pq" / "0.parquet")
    parquet = tmp_path / "pq" / "0.parquet"
    arrows = sum(path.stat().st_size for path in saved.glob("*.arrow"))
    expected = {
        f"{tmp_path}/set/": (tar.parent, tar.stat().st_size),
        f"{tar}": (tar, tar.stat().st_size),
        f"file://{tar}": (tar, tar.stat().st_size),
        f"{tmp_path}/s*/a.tar": (tmp_path, tar.stat().st_size),
        f"file://{tmp_path}/set/?.tar": (tar.parent, tar.stat().st_size),
        f"{parquet}": (parquet, parquet.stat().st_size),
        f"{saved}": (saved, arrows),
        f"file://{saved}": (saved, arrows),
        f"{tmp_path}/img": (tmp_path / "img", len(members[1][1])),
        "org/set": (None, parquet.stat().st_size),
    }
    for location, (root, nbytes) in expected.items():
        source = open_source(location)
        assert source.root == (str(root) if root else None), location
        assert source.nbytes == nbytes, location


def test_changed_tars_and_saved_datasets_are_noticed(
    tmp_path: Path, members: Members, dataset: datasets.Dataset, touch: Callable[[Path], None]
) -> None:
    dataset.save_to_disk(tmp_path / "saved")
    arrow = tmp_path / "saved" / "data-00000-of-00001.arrow"
    for location, file in (
        (tmp_path / "saved", arrow),
        (tmp_path / "a.tar", write_tar(tmp_path / "a.tar", members)),
    ):
        source = open_source(str(location))
        assert open_source(str(location)).digest() == source.digest()
        touch(file)
        with pytest.raises(InputError, match=f"{file.name}: has changed since .* --overwrite"):
            rows_of(source)
        assert open_source(str(location)).digest() != source.digest()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("state.json", b'{"app": 1}'),
        ("state.json", b"[]"),
        ("state.json", b'{"_data_files": {}}'),
        ("state.json", b'{"_data_files": [{"name": 1}, 2]}'),
        ("state.json", b"{"),
        ("dataset_dict.json", b"{}"),
        ("dataset_dict.json", b'{"splits": "train"}'),
        ("dataset_dict.json", b"\xff"),
    ],
)
def test_folder_with_json_of_something_else_is_no_saved_dataset(
    write_folder: Callable[..., Path], name: str, content: bytes
) -> None:
    root = write_folder("a/1.png")
    (root / name).write_bytes(content)
    source = open_source(str(root))
    assert (source.kind, source.rows) == ("image folder", 1)
    assert source.notes == ("ignored 1 file other than images: .json 1",)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "holds no rows"),
        ([{"filename": ""}], r"/\S+: state\.json lists a file without a name; expected names"),
        ([{"filename": "."}], r"/\S+: state\.json lists a file without a name; expected names"),
        ([{"filename": "a\0b"}], "cannot be read as an Arrow stream .embedded null byte"),
        ([{"filename": "../../etc/passwd"}], "passwd: cannot be read .No such file"),
    ],
)
def test_odd_lists_of_files_give_one_line(
    tmp_path: Path, files: list[dict[str, str]], message: str
) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": files}))
    with pytest.raises(InputError, match=message):
        open_source(str(tmp_path))


def test_splits_of_a_saved_dataset_lie_in_it(dataset: datasets.Dataset, tmp_path: Path) -> None:
    dataset.save_to_disk(tmp_path / "saved")
    root = tmp_path / "dict"
    root.mkdir()
    for splits, message in (
        (["../saved"], r"the split '\.\./saved' is not in a folder of that name"),
        (["train"], r"train/state\.json is missing or does not list any files"),
    ):
        (root / "dataset_dict.json").write_text(json.dumps({"splits": splits}))
        with pytest.raises(InputError, match=message):
            open_source(str(root))


def test_saved_text_that_is_not_utf8_is_named(
    real_images: list[bytes], dataset: datasets.Dataset, tmp_path: Path
) -> None:
    dataset.save_to_disk(tmp_path / "saved")
    words = pa.array([b"ok", b"\xff"], pa.binary()).view(pa.string())
    arrow = tmp_path / "saved" / "data-00000-of-00001.arrow"
    table = pa.table({"image": pa.array(real_images[:2]), "label": words})
    with pa.OSFile(str(arrow), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(InputError, match=r"arrow: the column label is damaged or not UTF-8"):
        open_source(str(tmp_path / "saved"), image_column="image")
