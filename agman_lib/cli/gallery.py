"""The commands ``agman index``, ``agman search`` and ``agman explain``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from agman_lib.base.errors import AgmanError, unknown

if TYPE_CHECKING:
    from agman_lib.data.dataset import PreparedDataset
    from agman_lib.explain.overlays import ExplanationRow
    from agman_lib.networks.model import RetrievalModel
    from agman_lib.search.gallery import Gallery, Query

BUILT_IN = "garments"
NAMED = 10


def index(
    model: Annotated[Positional[str], arg(metavar="MODEL")],
    source: Annotated[Positional[str], arg(metavar="SOURCE")],
    out: str,
    batch_size: int = 64,
    precision: Literal["float32", "float16"] = "float32",
    approximate: bool = False,
) -> None:
    """Make a searchable gallery: photos embedded under every attribute of a network.

    Args:
        model: Run folder, a weights file of ours, or the word garments: the small network that
            comes with the package (it knows drawn garments and nothing else).
        source: Folder of photos, searched with its subfolders; or a prepared folder, whose value
            names are kept.
        out: Folder to make.
        batch_size: Images at once.
        precision: Of the embeddings that are kept; float16 halves their file, changes each score by
            less than 0.001, and makes a search slower.
        approximate: Also make the lists that `agman search --approximate` needs, for galleries of
            more than about 100,000 photos. It needs faiss, which the extra faiss installs.
    """
    from agman_lib.base.devices import make_accelerator
    from agman_lib.base.folders import refuse_existing
    from agman_lib.data.dataset import PreparedDataset
    from agman_lib.search.approximate import LEAST, need_faiss
    from agman_lib.search.gallery import Gallery

    refuse_existing(Path(out))
    if batch_size < 1:
        raise AgmanError("option --batch-size must be at least 1")
    if approximate:
        need_faiss()
    network, about = _network(model)
    network.to(make_accelerator().device)
    prepared = (Path(source) / "dataset.json").is_file()
    photos = PreparedDataset.load(source) if prepared else source
    gallery = Gallery.build(
        network, about, photos, batch_size=batch_size, precision=precision, progress=True
    )
    enough = len(gallery) >= LEAST
    if approximate and not enough:  # no reason to throw away what took long to embed
        print(f"no lists for approximate search: they need at least {LEAST:,} photos")
    gallery.save(out, approximate=approximate and enough)
    _say_left_out(gallery, f"; {Path(out) / 'gallery.json'} names them")
    print(f"{out}: {len(gallery)} images under {', '.join(gallery.attribute_names)}")
    print(f"next: agman search {out} {gallery.items['image'].iloc[0]} {gallery.attribute_names[0]}")


def search(
    gallery: Annotated[Positional[str], arg(metavar="GALLERY")],
    query: Annotated[Positional[str], arg(metavar="QUERY")],
    attribute: Annotated[Positional[str], arg(metavar="ATTRIBUTE")],
    k: Annotated[int, arg(aliases=["-k"])] = 5,
    figure: str | None = None,
    approximate: bool = False,
) -> None:
    """Find the images of a gallery that are nearest to a photo in an attribute.

    Args:
        gallery: Folder made by `agman index`.
        query: A photo file; or, where no file has this name, the id of an image in the gallery. An
            image of the gallery, also when named by its file, is left out of the result.
        attribute: What to compare.
        k: How many.
        figure: Picture of the result to write, ending in .png.
        approximate: Look only among the candidates that compressed lists name, for a gallery made
            with `agman index --approximate`. Scores are exact, but a near image can be missed.
    """
    from agman_lib.base.pictures import save_picture
    from agman_lib.search.gallery import Gallery

    if figure and not figure.endswith(".png"):
        raise AgmanError(f"{figure}: the picture must end in .png")
    if figure and not (parent := Path(figure).absolute().parent).is_dir():
        raise AgmanError(f"{figure}: there is no folder {parent}; make it first")
    opened = Gallery.load(gallery)
    found, row = opened.search(query, attribute, k, approximate), opened.row(query)
    same = found["image"].equals(found["path"])
    shown = found.drop(columns="path") if same else found
    print(shown.to_string(index=False, float_format="{:.3f}".format))
    print(f"photos: {opened.root}")
    if opened.items[attribute].drop(index=[] if row is None else [row]).any():
        votes = opened.guess(query, attribute, approximate=approximate)
        shares = ", ".join(f"{row.value} {row.share:.0%}" for row in votes.itertuples())
        print(f"{attribute} of the nearest with a known value (a vote, not a certainty): {shares}")
    if figure:
        save_picture(opened.figure(query, attribute, k, approximate), Path(figure))
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
    not have are left out. When the first is drawn, it says about how long all will take.

    Args:
        model: Gallery made by `agman index`, which is then searched. Or a run folder, a weights
            file of ours, or the word garments; then the photos are searched among themselves.
        photos: A photo; a folder of photos, with its subfolders; a prepared folder, whose true
            regions are drawn (photos with a region first); or, where nothing has this name, the id
            of an image in the gallery.
        out: Folder to make.
        attributes: Attributes to draw; by default all.
        k: How many of the nearest photos.
        most: At most so many pictures.
    """
    from agman_lib.base.folders import refuse_existing, whole_folder
    from agman_lib.base.pictures import save_picture
    from agman_lib.base.progress import bar
    from agman_lib.data.dataset import PreparedDataset
    from agman_lib.explain.explainer import Explainer
    from agman_lib.explain.figures import explanation_row
    from agman_lib.explain.maps import MAPS
    from agman_lib.explain.overlays import explanation_grid

    if k < 1 or most < 1:
        raise AgmanError("options -k and --most must be at least 1")
    refuse_existing(Path(out))
    prepared = (Path(photos) / "dataset.json").is_file()
    dataset = PreparedDataset.load(photos) if prepared else None
    gallery, asked = _searched_and_drawn(model, dataset or photos, attributes)
    if dataset is not None and dataset.regions is not None:
        known = set(dataset.regions["image"])
        asked = dict(sorted(asked.items(), key=lambda item: item[0] not in known))
        first = sum(name in known for name in list(asked)[:most])
        print(f"{first} of the pictures have a true region; they come first")
    explainer, written, drawn = Explainer(gallery, dataset), 0, list(asked.items())[:most]
    with whole_folder(Path(out)) as folder:
        for name, query in bar(drawn, "explain", unit="photo"):
            began = time.perf_counter()
            try:
                photo = explainer.open(query)
            except AgmanError as error:
                print(f"left out: {error}")
                continue
            rows = [
                explanation_row(explainer, photo, attribute, list(MAPS), k=k)
                for attribute in attributes or gallery.attribute_names
            ]
            _say_without_grad_cam(name, rows)
            plain = Path(name).with_suffix("").as_posix().replace("/", "__")
            file = folder / f"{plain}.png"
            if file.exists():  # of two photos that differ in their ending alone
                file = folder / f"{name.replace('/', '__')}.png"
            save_picture(explanation_grid(rows, name), file)
            written += 1
            if written == 1 and len(drawn) > 1:
                seconds = (time.perf_counter() - began) * len(drawn)
                print(f"about {seconds:.0f} s for {len(drawn)} photos", flush=True)
        if not written:
            raise AgmanError(f"{photos}: no usable photo")
    more = f" (of {len(asked)}; --most draws more)" if len(asked) > most else ""
    print(f"{out}: {written} picture{'s' if written > 1 else ''}{more}")


def _searched_and_drawn(
    model: str, photos: str | PreparedDataset, attributes: Sequence[str]
) -> tuple[Gallery, dict[str, Query]]:
    """The gallery that `explain` searches, and the photos that it draws, by name.

    The attributes' names are checked before photos are embedded.
    """
    from agman_lib.search.files import attributes_of
    from agman_lib.search.gallery import Gallery

    def check(known: list[str]) -> None:
        for name in attributes:
            if name not in known:
                raise unknown("attribute", name, known)

    if (Path(model) / "gallery.json").is_file():
        gallery = Gallery.load(model)
        check(gallery.attribute_names)
        return gallery, _asked(gallery, photos)
    network, about = _network(model)
    check(attributes_of(network, about))
    gallery = Gallery.build(network, about, photos)
    _say_left_out(gallery, "")
    return gallery, {image: row for row, image in enumerate(gallery.items["image"])}


def _asked(gallery: Gallery, photos: str | PreparedDataset) -> dict[str, Query]:
    """The photos by name: files, or the one image of the gallery with this id."""
    from agman_lib.search.files import list_photos

    if isinstance(photos, str) and not Path(photos).exists():
        gallery.row(photos)
        return {photos: photos}
    items, root, _ = list_photos(photos, gallery.attribute_names)
    return {i: root / p for i, p in zip(items["image"], items["path"], strict=True)}


def _say_without_grad_cam(name: str, rows: Sequence[ExplanationRow]) -> None:
    """Say in one line why rows of a photo have no Grad-CAM."""
    from agman_lib.explain.maps import MAPS

    if not rows[0].found:
        print(
            f"{name}: no Grad-CAM, because it explains the similarity to another photo, and there "
            "is none; give a folder of photos, or as MODEL a gallery made by `agman index`"
        )
    elif without := [row.label for row in rows if MAPS["grad_cam"] not in row.pictures]:
        same = "the network sees no difference between the photos that it found"
        print(f"{name}: no Grad-CAM ({', '.join(without)}): {same}")


def _say_left_out(gallery: Gallery, where: str) -> None:
    """Name the first photos that are not in a gallery."""
    for why in list(gallery.left_out.values())[:NAMED]:
        print(f"left out: {why}")
    if len(gallery.left_out) > NAMED:
        print(f"left out: {len(gallery.left_out)} in all{where}")


def _network(model: str) -> tuple[RetrievalModel, dict[str, Any]]:
    from agman_lib.course import start_model
    from agman_lib.networks.weights import load_model
    from agman_lib.training.run import Run

    if model == BUILT_IN:
        return start_model()
    path = Path(model)
    if not path.exists():
        raise AgmanError(
            f"{model}: no such run folder or weights file; runs: `agman train`; the network that "
            f"comes with the package: {BUILT_IN}"
        )
    return load_model(Run.load(path).folder / "best.safetensors" if path.is_dir() else path)
