"""The ``agman prepare`` commands: each hands over to its module of `data_prep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

Source = Annotated[Positional[str], arg(metavar="SOURCE")]


def prepare_garments(
    out: str,
    size: int = 96,
    train: int = 4200,
    valid_queries: int = 20,
    valid_candidates: int = 80,
    test_queries: int = 50,
    test_candidates: int = 200,
    labels: Literal["one", "all", "every"] = "one",
    seed: int = 0,
    look: Literal["plain", "hard"] = "plain",
) -> None:
    """Draw the built-in garments.

    Args:
        out: Folder to make.
        size: Pixels, 64 to 224.
        train: Training images.
        valid_queries: Validation queries of each attribute.
        valid_candidates: Validation candidates of each attribute.
        test_queries: Test queries of each attribute.
        test_candidates: Test candidates of each attribute.
        labels: one: a training image is labelled for one attribute, as in FashionAI; all: for
            every attribute of its kind; every: validation and test images too, and all regions
            of test images.
        seed: Of everything drawn.
        look: plain, or hard: the same garments, smaller, turned further, partly hidden, in worse
            light.
    """
    from data_prep import garments

    garments.prepare(
        Path(out),
        size=size,
        train=train,
        valid_queries=valid_queries,
        valid_candidates=valid_candidates,
        test_queries=test_queries,
        test_candidates=test_candidates,
        labels=labels,
        seed=seed,
        look=look,
    )
    print(f"{out}: ready")


def prepare_fashion_products(
    source: Source,
    out: str,
    seed: int = 0,
    min_images: int = 100,
    attributes: Literal["every", "by-kind"] = "every",
    labels: Literal["one", "all"] | None = None,
) -> None:
    """Fashion Product Images (Small) into a prepared folder.

    Args:
        source: Kaggle's zip, its unpacked folder, or parquet files.
        out: Folder to make.
        seed: Of the split.
        min_images: Values with fewer images are dropped.
        attributes: The table's columns, which every photo has (every), or attributes that belong to
            kinds of products, as FashionAI's do (by-kind).
        labels: How many labels of a training image are used; by default one with by-kind, and all
            otherwise.
    """
    from data_prep import fashion_products

    report = fashion_products.prepare(
        Path(source),
        Path(out),
        seed=seed,
        min_images=min_images,
        attributes=attributes,
        labels=labels,
    )
    print(fashion_products.summary(report))


def prepare_fashionai(
    source: Source,
    out: str,
    splits: str | None = None,
    maybe: Literal["keep", "drop"] = "keep",
    seed: int = 0,
) -> None:
    """FashionAI attributes into a prepared folder.

    Args:
        source: Folder that holds fashionAI_attributes_train1, train2, or both.
        out: Folder to make.
        splits: Folder of ASEN's published split files; without it, a seeded split of ours.
        maybe: What happens to rows with a "maybe" beside their value.
        seed: Of our split.
    """
    from data_prep import fashionai

    report = fashionai.prepare(source, out, splits=splits, maybe=maybe, seed=seed)
    print(fashionai.summary(report))


def prepare_deepfashion(source: Source, out: str, splits: str | None = None, seed: int = 0) -> None:
    """DeepFashion (Category and Attribute Prediction) into a prepared folder.

    Args:
        source: Folder that holds Anno (or Anno_coarse), Eval and img.
        out: Folder to make.
        splits: Folder of ASEN's published split files; without it, a seeded choice of ours.
        seed: Of our choice.
    """
    from data_prep import deepfashion

    print(deepfashion.summary(deepfashion.prepare(source, out, splits=splits, seed=seed)))


def prepare_zappos50k(
    source: Source,
    out: str,
    triplets: str | None = None,
    metadata: str | None = None,
    max_missing: float = 0.01,
    seed: int = 0,
) -> None:
    """UT-Zappos50K into a prepared folder of triplets.

    Args:
        source: ut-zap50k-images.zip, or its unpacked folder.
        out: Folder to make.
        triplets: Folder of the published triplet lists; without it they are made from --metadata.
        metadata: meta-data.csv, its folder, or ut-zap50k-data.zip.
        max_missing: Largest share of listed photos that may be missing.
        seed: Of what is chosen or made here.
    """
    from data_prep import zappos50k

    report = zappos50k.prepare(
        source, out, triplets=triplets, metadata=metadata, max_missing=max_missing, seed=seed
    )
    print(zappos50k.summary(report))


def prepare_own_photos(
    source: Source,
    out: str,
    root: str | None = None,
    valid: float = 0.15,
    test: float = 0.15,
    query_share: float = 0.2,
    seed: int = 0,
) -> None:
    """Your own photos into a prepared folder.

    Args:
        source: A CSV with the columns path, attribute, value; or folders attribute/value/photo.
        out: Folder to make.
        root: Where the CSV's paths begin; by default the CSV's folder.
        valid: Share of the photos for validation.
        test: Share of the photos for the test.
        query_share: Share of those that are queries.
        seed: Of the split.
    """
    from data_prep import own_photos

    report = own_photos.prepare(
        source, out, seed=seed, valid=valid, test=test, query_share=query_share, root=root
    )
    print(own_photos.summary(report))


def prepare_subset(
    source: Source, out: str, label_share: float = 1.0, held_out: float = 0.0, seed: int = 0
) -> None:
    """A prepared folder with fewer training labels, or with values that training never sees.

    Args:
        source: A prepared folder.
        out: Folder to make.
        label_share: Share of each value's training labels, at least two.
        held_out: Share of each attribute's values whose training labels are left out; the test
            scores the queries with these values alone.
        seed: Of both draws.
    """
    from data_prep import subset

    report = subset.prepare(source, out, label_share=label_share, held_out=held_out, seed=seed)
    print(subset.summary(report))


def prepare_look_again(source: Source, run: str, out: str, zoom: float = 2.0) -> None:
    """A prepared folder of enlarged parts, cut out where a run's network attends.

    Args:
        source: A prepared folder.
        run: A run folder; its network has spatial attention.
        out: Folder to make.
        zoom: How much larger the part is shown than the photo was.
    """
    from agman_lib.explain.look_again import cut_windows, summary

    print(summary(cut_windows(source, run, out, zoom=zoom)))


PREPARE: dict[str, Any] = {
    "garments": prepare_garments,
    "fashion-products": prepare_fashion_products,
    "fashionai": prepare_fashionai,
    "deepfashion": prepare_deepfashion,
    "zappos50k": prepare_zappos50k,
    "own-photos": prepare_own_photos,
    "subset": prepare_subset,
    "look-again": prepare_look_again,
}
