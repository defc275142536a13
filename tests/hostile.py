"""A folder of a stranger who wants his code to run."""

from pathlib import Path

#: What we, Python and our libraries import.
PACKAGES = (
    *("sanitizer", "pipelines", "attacks", "detector", "great_expectations"),
    *("numpy", "torch", "apache_beam", "grpc"),
)
MODULES = ("pathlib", "json", "tempfile", "click", "sitecustomize", "usercustomize", "evil")


def hostile_folder(folder: Path) -> Path:
    """Make a folder whose files stand in for what is imported, and ask to be.

    Returns:
        The path of a file that is there once one of them was executed.
    """
    executed = folder.with_name("executed")
    code = f"open({str(executed)!r}, 'a').write(__name__)\n"
    for name in (
        *(f"{package}/__init__.py" for package in PACKAGES),
        *(f"{m}.py" for m in MODULES),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(code)
    (folder / "evil.pth").write_text("import evil\n")
    for name in ("great_expectations.yml", "gx/great_expectations.yml"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("plugins_directory: .\nconfig_version: 4.0\n")
    (folder / "matplotlibrc").write_text("backend: module://evil\ntext.usetex: true\n")
    return executed


def hostile_variables(folder: Path) -> dict[str, str]:
    """What Python reads from its environment, pointed at such a folder."""
    return {
        "PYTHONPATH": f":lib:{folder}",
        "PYTHONHOME": str(folder),
        "PYTHONSTARTUP": str(folder / "evil.py"),
        "PYTHONWARNINGS": "error::evil.Category",
        "PYTHONBREAKPOINT": "evil.breakpoint",
        "PYTHONINSPECT": "1",
        "PYTHONUSERBASE": str(folder),
    }
