"""The commands ``agman index``, ``agman search`` and ``agman explain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from agman_lib.errors import AgmanError

if TYPE_CHECKING:
    from agman_lib.dataset import PreparedDataset
    from agman_lib.gallery import Gallery, Query
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
    _say_left_out(gallery, f"; {Path(out) / 'gallery.json'} names them")
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


def explain(
    model: Annotated[Positional[str], arg(metavar="MODEL")],
    photos: Annotated[Positional[str], arg(metavar="PHOTOS")],
    out: str,
    attributes: tuple[str, ...] = (),
    k: Annotated[int, arg(aliases=["-k"])] = 5,
    most: int = 50,
) -> None:
    """Draw where a network looks: a picture for each photo, with a row for each attribute.

    A row has the photo, spatial attention, gate, their product, Grad-CAM of the similarity to the
    nearest other photo, the channel attention, and the nearest photos. Maps that the network does
    not have are left out.

    Args:
        model: Gallery made by `agman index`, which is then searched. Or a run folder, a weights
            file of ours, or the word garments; then the photos are searched among themselves.
        photos: A photo; a folder of photos, with its subfolders; a prepared folder, whose true
            regions are drawn (photos with a region first); or the id of an image in the gallery.
        out: Folder to make.
        attributes: Attributes to draw; by default all.
        k: How many of the nearest photos.
        most: At most so many pictures.
    """
    from agman_lib.dataset import PreparedDataset
    from agman_lib.explain import MAPS, Explainer
    from agman_lib.figures import explanation_row
    from agman_lib.folders import whole_folder
    from agman_lib.gallery import Gallery
    from agman_lib.overlays import explanation_grid
    from agman_lib.progress import bar

    if k < 1 or most < 1:
        raise AgmanError("options -k and --most must be at least 1")
    prepared = (Path(photos) / "dataset.json").is_file()
    dataset = PreparedDataset.load(photos) if prepared else None
    if (Path(model) / "gallery.json").is_file():
        gallery = Gallery.load(model)
        asked = _asked(gallery, photos if dataset is None else dataset)
    else:
        gallery = Gallery.build(*_network(model), photos if dataset is None else dataset)
        asked = {image: image for image in gallery.items["image"]}
        _say_left_out(gallery, "")
    if dataset is not None and dataset.regions is not None:
        known = set(dataset.regions["image"])
        asked = dict(sorted(asked.items(), key=lambda item: item[0] not in known))
        first = sum(name in known for name in list(asked)[:most])
        print(f"{first} of the pictures have a true region; they come first")
    for name in attributes:
        gallery.attribute_index(name)
    explainer, written = Explainer(gallery, dataset), 0
    with whole_folder(Path(out)) as folder:
        for name, query in bar(list(asked.items())[:most], "explain", unit="photo"):
            try:
                photo = explainer.open(query)
            except AgmanError as error:
                print(f"left out: {error}")
                continue
            rows = [
                explanation_row(explainer, photo, attribute, list(MAPS), k=k)
                for attribute in attributes or gallery.attribute_names
            ]
            plain = Path(name).with_suffix("").as_posix().replace("/", "__")
            file = folder / f"{plain}.png"
            if file.exists():  # of two photos that differ in their ending alone
                file = folder / f"{name.replace('/', '__')}.png"
            explanation_grid(rows, name).savefig(file, dpi=100)
            written += 1
        if not written:
            raise AgmanError(f"{photos}: no photo that can be used")
    more = f" (of {len(asked)}; --most draws more)" if len(asked) > most else ""
    print(f"{out}: {written} picture{'s' if written > 1 else ''}{more}")


def _asked(gallery: Gallery, photos: str | PreparedDataset) -> dict[str, Query]:
    """Photos by name: as the gallery's images where they are the same files."""
    from agman_lib.gallery_files import list_photos

    if isinstance(photos, str) and not Path(photos).exists():
        gallery.row(photos)
        return {photos: photos}
    items, root, _ = list_photos(photos, gallery.attribute_names)
    own = zip(gallery.items["path"], gallery.items["image"], strict=True)
    known = {(gallery.root / path).resolve(): image for path, image in own}
    files = {i: root / p for i, p in zip(items["image"], items["path"], strict=True)}
    return {name: known.get(file.resolve(), file) for name, file in files.items()}


def _say_left_out(gallery: Gallery, where: str) -> None:
    """Name the first photos that are not in a gallery."""
    for why in list(gallery.left_out.values())[:NAMED]:
        print(f"left out: {why}")
    if len(gallery.left_out) > NAMED:
        print(f"left out: {len(gallery.left_out)} in all{where}")


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
