"""The verbs of the pipeline: each reads, calls its stage, and writes.

A verb takes a :class:`~saers.context.Context` and returns facts for the manifest and the
summary table. All science is in the modules it calls; all paths are the store's.
"""

import shutil
import warnings
from pathlib import Path
from typing import Any

import polars as pl

from saers.capturing import throughput
from saers.context import Context, train_config
from saers.splicing import check_layer
from saers.store import atomic_directory, atomic_path

METRICS = "metrics.jsonl"
ATLAS_TABLES = (
    "features",
    "seqlets",
    "motifs",
    "matches",
    "annotations",
    "relations",
    "embedding",
)
ANSWERS = ("effects", "shuffled")  # tables of questions that the atlas shows where they are there


def stats(context: Context) -> dict[str, Any]:
    """Measure each channel over the training windows."""
    from saers.stats import stream_stats

    source = context.source()
    table = stream_stats(
        source,
        windows=context.windows("train"),
        threads=context.threads,
        progress=context.progress,
    )
    context.store.write_table("stats", table)
    return {
        "channels": table.height,
        "positions": table["count"].item(0),
        **throughput(source),
    }


def train(context: Context) -> dict[str, Any]:
    """Train the SAE, or take the one that the recipe names."""
    from saers.sae.module import SAE
    from saers.sae.training import train_sae

    store, options = context.store, context.recipe.train
    layer = context.layer()
    if "pretrained" in options:
        sae = SAE.load(options["pretrained"])
        what = f"train.pretrained: {options['pretrained']}"
        check_layer(sae, layer, same=context.same_layer, what=what)
        with atomic_directory(store.path("sae")) as folder:
            sae.save(folder)
        return {"latents": sae.latents, "k": sae.k}
    config = train_config(options, channels=layer.channels, seed=context.recipe.seed)
    source = context.source()
    result = train_sae(
        source,
        config,
        device=context.device,
        stats=store.read_table("stats"),
        state_dir=store.path("train_state"),
        metrics_path=store.path("train_state") / METRICS,
        progress=context.progress,
    )
    result.sae.describe({"model": context.model_name, "genome": context.recipe.genome.fasta})
    with atomic_directory(store.path("sae")) as folder:
        result.sae.save(folder)
        shutil.copytree(store.path("train_state"), folder / "state")
        (folder / "state" / METRICS).rename(folder / METRICS)
    shown = ("fvu", "dead_share", "l0")
    facts = {key: result.metrics[key] for key in shown}
    return {"latents": result.sae.latents, "k": result.sae.k, **facts, **throughput(source)}


def encode(context: Context) -> dict[str, Any]:
    """Encode every position once and keep each feature's strongest."""
    from saers.codes import TopSeqlets
    from saers.encoding import encode_source
    from saers.sae.module import SAE
    from saers.seqlets import distance_of

    store, section = context.store, context.recipe.encode
    sae = SAE.load(store.path("sae"))
    distance = section.min_distance or distance_of(context.layer())
    top = TopSeqlets(sae.latents, section.per_window, section.per_feature, distance)
    source = context.source()
    encoded = encode_source(
        sae,
        source,
        top,
        windows=context.windows(section.split),
        strands=section.strands,
        device=context.device,
        codes_path=store.path("codes") if section.codes else None,
        progress=context.progress,
    )
    store.write_table("top", top.finish())
    store.write_table("totals", top.feature_stats())
    store.write_json("encoding", {"positions": encoded, "min_distance": distance})
    return {"positions": encoded, "positions apart": distance, **throughput(source)}


def seqlets(context: Context) -> dict[str, Any]:
    """Rank, select and name the features; cut out their sequences."""
    from saers.seqlets import features_table, seqlets_table, write_fasta

    store, section = context.store, context.recipe.seqlets
    top = store.read_table("top")
    features = features_table(
        store.read_table("totals"),
        top,
        n_tokens=store.read_json("encoding")["positions"],
        min_nonzero=section.min_nonzero,
        min_above_half=section.min_above_half,
    )
    table = seqlets_table(
        top,
        features,
        store.read_table("windows"),
        context.layer(),
        context.genome,
        width=section.width,
        places=_token_places(context, top),
    )
    store.write_table("features", features)
    store.write_table("seqlets", table)
    with atomic_directory(store.path("seqlets_fasta")) as folder:
        write_fasta(table, features, folder)
    return {
        "features": features.height,
        "selected": int(features["selected"].sum()),
        "seqlets": table.height,
    }


def _token_places(context: Context, top: pl.DataFrame) -> pl.DataFrame | None:
    """Ask the model where seqlets lie whose positions are tokens."""
    from saers.tokens import places_of

    if not context.layer().tokens:
        return None
    return places_of(context.model, context.genome, context.store.read_table("windows"), top)


def motifs(context: Context) -> dict[str, Any]:
    """Discover motifs in the seqlets of each selected feature."""
    from saers.genome import read_fasta
    from saers.matches import motifs_of
    from saers.motif import write_motifs
    from saers.motifs.discovery import discover_features
    from saers.motifs.search import preset

    store, section = context.store, context.recipe.motifs
    options = section.model_dump(exclude={"preset", "control"})
    found = discover_features(
        store.read_table("seqlets"),
        store.read_table("features"),
        **preset(section.preset, options),
        control=read_fasta(section.control) if section.control else None,
        seed=context.recipe.seed,
        workers=context.threads,
        resume_dir=store.path("motifs_parts"),
        progress=context.progress,
    )
    for feature, error in found.failures.iter_rows():
        context.progress.say(f"  motifs: feature {feature} left out: {error}")
    store.write_table("motifs", found.motifs)
    meme = store.path("motifs_meme")
    if found.motifs.is_empty():
        meme.unlink(missing_ok=True)  # no motif at all is a result, which MEME's format cannot tell
    else:
        write_motifs(motifs_of(found.motifs), meme)
    return {
        "motifs": found.motifs.height,
        "features with one": found.motifs["feature"].n_unique(),
        "failed": found.failures.height,
    }


def match(context: Context) -> dict[str, Any]:
    """Compare the motifs with databases of known ones."""
    from saers.matches import match_motifs, write_tomtom_tsv
    from saers.motifs.databases import load_database

    store, section = context.store, context.recipe.match
    targets = [motif for name in section.databases for motif in load_database(name)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = match_motifs(
            store.read_table("motifs"),
            targets,
            dist=section.dist,
            min_overlap=section.min_overlap,
            thresh=section.thresh,
            evalue=section.evalue,
            threads=context.threads,
        )
    for warning in caught:
        context.progress.say(f"  match: {warning.message}")
    store.write_table("matches", table)
    with atomic_path(store.path("tomtom_tsv")) as temporary:
        write_tomtom_tsv(table, temporary)
    named = table.filter(pl.col("e_value") < 0.05)
    return {
        "targets": len(targets),
        "motifs named (E < 0.05)": named["query_id"].n_unique(),
        "features named": named["feature"].n_unique(),
    }


def annotate(context: Context) -> dict[str, Any]:
    """Measure the overlap of seqlets with annotations against shuffled placements."""
    from saers.annotations import annotate as measure
    from saers.intervals import named_annotations

    store, section = context.store, context.recipe.annotate
    annotations = named_annotations(
        section.bed,
        repeatmasker=section.repeatmasker or None,
        repeat_level=section.repeat_level,
    )
    table = measure(
        store.read_table("seqlets"),
        annotations,
        genome=context.genome,
        within=store.read_table("windows"),
        n_controls=section.n_controls,
        gc_match=section.gc_match,
        seed=context.recipe.seed,
        threads=context.threads,
        progress=context.progress,
    )
    store.write_table("annotations", table)
    return {
        "tests": table.height,
        "enriched (q < 0.05)": table.filter(
            (pl.col("q_value") < 0.05) & (pl.col("fold") > 1)
        ).height,
    }


def relate(context: Context) -> dict[str, Any]:
    """Compute the Jaccard index of all pairs of features."""
    from saers.relations import jaccard

    intervals = context.store.read_table("seqlets").select("feature", "chrom", "start", "end")
    table = jaccard(intervals, threads=context.threads)
    context.store.write_table("relations", table)
    return {"overlapping pairs": table.height}


def embed(context: Context) -> dict[str, Any]:
    """Lay out the decoder directions in the plane and cluster them."""
    from saers.embedding import embed as lay_out
    from saers.sae.module import SAE

    store, section = context.store, context.recipe.embed
    # A dead feature's direction is where its random start left it: it would only blur the map.
    alive = store.read_table("features").filter(pl.col("n_nonzero") > 0)["feature"].sort()
    decoder = SAE.load(store.path("sae")).W_dec.numpy(force=True)
    table = lay_out(
        decoder[alive.to_numpy()],
        alive,
        n_neighbors=section.n_neighbors,
        min_dist=section.min_dist,
        seed=context.recipe.seed,
    )
    store.write_table("embedding", table)
    return {
        "features": table.height,
        "clusters": table.filter(pl.col("cluster") >= 0)["cluster"].n_unique(),
    }


def atlas(context: Context) -> dict[str, Any]:
    """Gather all tables into one AnnData and one page."""
    from saers.atlas import build_anndata, write_atlas
    from saers.motifs.databases import families, load_database
    from saers.viewer import write_site

    store, recipe = context.store, context.recipe
    tables: dict[str, Any] = {name: store.read_table(name) for name in ATLAS_TABLES}
    tables |= {name: store.read_table(name) for name in ANSWERS if store.has(name)}
    asked = store.read_manifest().get("effects", {}).get("options", {})
    databases = recipe.match.databases
    family = {id: family for name in databases for id, family in families(name).iter_rows()}
    told = recipe.model_dump(exclude_none=True)
    write_atlas(store.path("atlas_h5ad"), build_anndata(**tables, families=family, metadata=told))
    known = [motif for name in databases for motif in load_database(name)]
    write_site(
        store.path("atlas"),
        **tables,
        meta=_page_facts(context),
        edit=asked.get("edit", ""),
        targets={motif.id: motif.matrix for motif in known},
        families=family,
    )
    return {"page": str(store.path("atlas") / "index.html")}


def _page_facts(context: Context) -> dict[str, Any]:
    store, recipe, layer = context.store, context.recipe, context.layer()
    trained = store.read_manifest().get("train", {}).get("facts", {})
    return {
        "title": recipe.atlas.title or f"{context.model_name}, {layer.name}",
        "model": context.model_name,
        "layer": f"{layer.name}: {layer.channels} channels, {layer.receptive_field} bp",
        "genome": Path(recipe.genome.fasta).name,
        "n_windows": store.read_table("windows").height,
        "k": trained.get("k"),
        "fvu": trained.get("fvu"),
        "database": ", ".join(Path(name).name for name in recipe.match.databases),
    }
