"""The commands ``agman index`` and ``agman search``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from agman_lib.errors import AgmanError

if TYPE_CHECKING:
    from agman_lib.models import RetrievalModel

BUILT_IN = "garments"
NAMED = 10


def index(
    model: Annotated[Positional[str], arg(metavar="MODEL")],
    source: Annotated[Positional[str], arg(metavar="SOURCE")],
    out: str,
    batch_size: int = 64,
) -> None:
    """Make a searchable gallery: photos embedded under every attribute of a network.

    Args:
        model: Run folder, a weights file of ours, or the word garments: the small network that
            comes with the package (it knows drawn garments and nothing else).
        source: Folder of photos, searched with its subfolders; or a prepared folder, whose value
            names are kept.
        out: Folder to make.
        batch_size: Images at once.
    """
    from agman_lib.dataset import PreparedDataset
    from agman_lib.devices import make_accelerator
    from agman_lib.folders import refuse_existing
    from agman_lib.gallery import Gallery

    refuse_existing(Path(out))
    if batch_size < 1:
        raise AgmanError("option --batch-size must be at least 1")
    network, about = _network(model)
    network.to(make_accelerator().device)
    prepared = (Path(source) / "dataset.json").is_file()
    photos = PreparedDataset.load(source) if prepared else source
    gallery = Gallery.build(network, about, photos, batch_size=batch_size, progress=True)
    gallery.save(out)
    for why in list(gallery.left_out.values())[:NAMED]:
        print(f"left out: {why}")
    if len(gallery.left_out) > NAMED:
        print(f"left out: {len(gallery.left_out)} in all; {Path(out) / 'gallery.json'} names them")
    print(f"{out}: {len(gallery)} images under {', '.join(gallery.attribute_names)}")
    print(f"next: agman search {out} {gallery.items['image'].iloc[0]} {gallery.attribute_names[0]}")


def search(
    gallery: Annotated[Positional[str], arg(metavar="GALLERY")],
    query: Annotated[Positional[str], arg(metavar="QUERY")],
    attribute: Annotated[Positional[str], arg(metavar="ATTRIBUTE")],
    k: Annotated[int, arg(aliases=["-k"])] = 5,
    figure: str | None = None,
) -> None:
    """Find the images of a gallery that are nearest to a photo in an attribute.

    Args:
        gallery: Folder made by `agman index`.
        query: A photo file, or the id of an image in the gallery (it is left out of the result).
        attribute: What to compare.
        k: How many.
        figure: Picture of the result to write, ending in .png.
    """
    from agman_lib.gallery import Gallery

    if figure and not figure.endswith(".png"):
        raise AgmanError(f"{figure}: the picture must end in .png")
    opened = Gallery.load(gallery)
    found = opened.search(query, attribute, k)
    same = found["image"].equals(found["path"])
    shown = found.drop(columns="path") if same else found
    print(shown.to_string(index=False, float_format="{:.3f}".format))
    print(f"photos: {opened.root}")
    if (opened.items[attribute].ne("") & opened.items["image"].ne(query)).any():
        votes = opened.guess(query, attribute)
        shares = ", ".join(f"{row.value} {row.share:.0%}" for row in votes.itertuples())
        print(f"{attribute} of the nearest with a known value (a vote, no certainty): {shares}")
    if figure:
        opened.figure(query, attribute, k).savefig(figure, dpi=100)
        print(f"picture: {figure}")


def _network(model: str) -> tuple[RetrievalModel, dict[str, Any]]:
    from agman_lib.checkpoints import load_model
    from agman_lib.course import start_model
    from agman_lib.runs import Run

    if model == BUILT_IN:
        return start_model()
    path = Path(model)
    if not path.exists():
        raise AgmanError(
            f"{model}: no such run folder or weights file; runs: `agman train`; the network that "
            f"comes with the package: {BUILT_IN}"
        )
    return load_model(Run.load(path).folder / "best.safetensors" if path.is_dir() else path)
