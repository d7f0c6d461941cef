"""The atlas: what each feature is summed up as, and the h5ad file that others open."""

from pathlib import Path

import anndata
import numpy as np
import polars as pl
import pytest

from saers import schema
from saers.atlas import build_anndata, summarise, write_atlas


def table(columns, *rows):
    """Rows given as mappings; what they leave out is zero or empty."""
    blank = {
        name: ""
        if dtype == pl.String
        else []
        if dtype.is_nested()
        else False
        if dtype == pl.Boolean
        else 0
        for name, dtype in columns.items()
    }
    return pl.DataFrame([blank | row for row in rows], schema=dict(columns), orient="row")


@pytest.fixture
def run():
    """Three features: 4 has two motifs and two classes, 9 one motif, 2 is dead."""
    return {
        "features": table(
            schema.FEATURES,
            {"feature": 9, "rank": 2, "name": "2_n9", "selected": True, "density": 0.25},
            {"feature": 4, "rank": 1, "name": "1_n4", "selected": True, "n_nonzero": 12},
            {"feature": 2, "rank": 3, "name": "3_n2"},
        ),
        "seqlets": table(schema.SEQLETS, *({"feature": f} for f in (4, 4, 9))),
        "motifs": table(
            schema.MOTIFS,
            {"motif_id": "1_n4.1", "feature": 4, "index": 1, "consensus": "AAAA"},
            {"motif_id": "1_n4.2", "feature": 4, "index": 2, "consensus": "TGACTCA"},
            {"motif_id": "2_n9.1", "feature": 9, "index": 1, "consensus": "GGCGG"},
        ),
        "matches": table(
            schema.MATCHES,
            match("1_n4.1", 4, "MA1", "WEAK", 0.4, -2.0),
            match("1_n4.2", 4, "MA3", "FOS", 0.001, -7.0),
            match("1_n4.2", 4, "MA2", "JUN", 0.001, -7.0),
        ),
        "annotations": table(
            schema.ANNOTATIONS,
            enrichment(4, "ccre", "PLS", observed=30, mean=1.0, z=9.0, fold=30.0, q=1e-9),
            enrichment(4, "ccre", "dELS", observed=0, mean=3.0, z=-2.0, fold=0.0, q=0.01),
            enrichment(9, "repeat", "Alu", observed=7, mean=3.0, z=2.0, fold=2.3, q=0.2),
        ),
        "relations": table(
            schema.RELATIONS, {"feature_a": 4, "feature_b": 9, "jaccard": 0.5, "n_overlap": 3}
        ),
        "embedding": table(
            schema.EMBEDDING,
            {"feature": 4, "x": 1.0, "y": 2.0, "cluster": 0},
            {"feature": 9, "x": 3.0, "y": 4.0, "cluster": -1},
        ),
    }


def match(query, feature, target, name, q, log10_p):
    return {
        "query_id": query,
        "feature": feature,
        "target_id": target,
        "target_name": name,
        "q_value": q,
        "log10_p": log10_p,
        "p_value": 10**log10_p,
    }


def enrichment(feature, annotation, name, *, observed, mean, z, fold, q):
    return {
        "feature": feature,
        "annotation": annotation,
        "class": name,
        "observed": observed,
        "control_mean": mean,
        "z": z,
        "fold": fold,
        "q_value": q,
    }


def summary_of(run, **changes):
    tables = {name: frame for name, frame in (run | changes).items() if name != "relations"}
    return summarise(tables.pop("features"), **tables)


def row(summary, feature):
    return summary.row(by_predicate=pl.col("feature") == feature, named=True)


def test_features_come_sorted_by_id(run):
    assert summary_of(run)["feature"].to_list() == [2, 4, 9]


def test_a_significant_match_makes_a_later_motif_the_lead(run):
    lead = row(summary_of(run), 4)
    assert (lead["motif_id"], lead["consensus"]) == ("1_n4.2", "TGACTCA")


def test_ties_of_matches_go_to_the_lower_target_id(run):
    assert row(summary_of(run), 4)["match_name"] == "JUN"


def test_without_a_significant_match_the_first_motif_leads(run):
    weak = run["matches"].with_columns(q_value=pl.lit(0.9))
    lead = row(summary_of(run, matches=weak), 4)
    assert (lead["motif_id"], lead["match_name"]) == ("1_n4.1", "WEAK")


def test_a_motif_without_any_match_still_leads(run):
    lead = row(summary_of(run), 9)
    assert (lead["consensus"], lead["match_name"]) == ("GGCGG", None)


def test_only_significant_enrichment_names_a_feature(run):
    summary = summary_of(run)
    assert row(summary, 4)["enriched"] == "ccre:PLS"
    assert row(summary, 9)["enriched"] is None


def test_an_undefined_z_does_not_outrank_a_high_one(run):
    undefined = enrichment(4, "repeat", "L1", observed=1, mean=0, z=np.nan, fold=9, q=0.01)
    annotations = pl.concat([run["annotations"], table(schema.ANNOTATIONS, undefined)])
    assert row(summary_of(run, annotations=annotations), 4)["enriched"] == "ccre:PLS"


def test_a_dead_feature_keeps_its_row(run):
    dead = row(summary_of(run), 2)
    assert (dead["n_seqlets"], dead["n_motifs"], dead["cluster"]) == (0, 0, -1)
    assert dead["motif_id"] is dead["enriched"] is dead["x"] is None


def test_seqlets_and_motifs_are_counted(run):
    assert summary_of(run).select("n_seqlets", "n_motifs").rows() == [(0, 0), (2, 2), (1, 1)]


def test_families_of_the_best_matches_are_kept(run, tmp_path):
    write_atlas(tmp_path / "a.h5ad", build_anndata(**run, families={"MA2": "Jun-related"}))
    obs = anndata.read_h5ad(tmp_path / "a.h5ad").obs
    assert obs["match_family"].astype(object).to_list()[1] == "Jun-related"
    assert obs["match_family"].isna().to_list() == [True, False, True]
    assert build_anndata(**run).obs["match_family"].isna().all()


def test_the_matrix_is_features_by_classes(run):
    atlas = build_anndata(**run)
    assert list(atlas.obs_names) == ["3_n2", "1_n4", "2_n9"]
    assert list(atlas.var_names) == ["ccre:PLS", "ccre:dELS", "repeat:Alu"]
    expected = [[0, 0, 0], [np.log2(31 / 2), np.log2(1 / 4), 0], [0, 0, 1]]
    np.testing.assert_allclose(atlas.X, expected, rtol=1e-6)


def test_layers_tell_untested_from_unenriched(run):
    atlas = build_anndata(**run)
    nan = np.nan
    np.testing.assert_allclose(atlas.layers["z"], [[nan] * 3, [9, -2, nan], [nan, nan, 2]])
    np.testing.assert_allclose(atlas.layers["fold"][1], [30, 0, nan])
    assert set(atlas.layers) == {"z", "fold", "q_value"}


def test_the_map_is_nan_for_features_that_are_not_on_it(run):
    umap = build_anndata(**run).obsm["X_umap"]
    np.testing.assert_array_equal(umap, [[np.nan, np.nan], [1, 2], [3, 4]])


def test_the_jaccard_matrix_is_symmetric(run):
    jaccard = build_anndata(**run).obsp["jaccard"].toarray()
    np.testing.assert_array_equal(jaccard, [[0, 0, 0], [0, 0, 0.5], [0, 0.5, 0]])


def test_pairs_of_features_that_are_not_in_the_table_are_left_out(run):
    outside = run["relations"].with_columns(feature_b=pl.lit(77, pl.UInt32))
    assert build_anndata(**run | {"relations": outside}).obsp["jaccard"].nnz == 0


def test_the_file_comes_back_as_it_was_written(run, tmp_path):
    path = tmp_path / "atlas.h5ad"
    recipe = {"sae": {"k": 30, "topk": True}, "windows": ["a", "b"], "edge": None}
    metadata = {"recipe": recipe | {"genome": Path("hg38.fa"), "bed": {"a/b": "c"}, "none": {}}}
    written = build_anndata(**run, metadata=metadata)
    write_atlas(path, written)
    atlas = anndata.read_h5ad(path)
    np.testing.assert_array_equal(atlas.X, written.X)
    np.testing.assert_array_equal(atlas.obsm["X_umap"], written.obsm["X_umap"])
    assert atlas.obs["consensus"].astype(object).tolist()[1:] == ["TGACTCA", "GGCGG"]
    assert atlas.obs["consensus"].isna().tolist() == [True, False, False]
    assert atlas.obs["density"].tolist() == [0, 0, 0.25]
    assert atlas.obs["selected"].tolist() == [False, True, True]
    recipe = atlas.uns["saers"]["recipe"]
    assert recipe["sae"]["k"] == 30
    assert recipe["windows"] == '["a", "b"]'
    assert "edge" not in recipe
    assert recipe["genome"] == "hg38.fa"
    assert recipe["bed"] == {"a|b": "c"}
    assert atlas.uns["saers"]["versions"]["saers"]


def test_a_failed_write_leaves_the_old_file(run, tmp_path):
    path = tmp_path / "atlas.h5ad"
    write_atlas(path, build_anndata(**run))
    before = path.read_bytes()
    broken = build_anndata(**run)
    broken.uns["unwritable"] = object()
    with pytest.raises(Exception, match="unwritable"):
        write_atlas(path, broken)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_without_findings_is_still_an_atlas(run, tmp_path):
    names = ("annotations", "embedding", "matches", "motifs", "relations", "seqlets")
    nothing = {name: schema.empty(getattr(schema, name.upper())) for name in names}
    atlas = build_anndata(run["features"], **nothing)
    assert atlas.shape == (3, 0)
    write_atlas(tmp_path / "atlas.h5ad", atlas)
    assert anndata.read_h5ad(tmp_path / "atlas.h5ad").shape == (3, 0)


def test_effects_become_matrices_of_features_by_tracks(run, tmp_path):
    rows = [
        {"feature": f, "track": t, "name": f"T{t}", "assay": "RNA", "effect": f + t / 10,
         "effect_low": -1.0, "log2_effect": 0.5, "q_value": 0.25}
        for f in (9, 2) for t in (7, 3)
    ]  # fmt: skip
    effects = table(schema.EFFECTS, *rows).with_columns(effect_high=pl.lit(None, pl.Float64))
    shuffled = table(schema.SHUFFLED, {"feature": 4, "track": 1, "name": "T1", "log_d2": 2.5})
    write_atlas(tmp_path / "a.h5ad", build_anndata(**run, effects=effects, shuffled=shuffled))
    atlas = anndata.read_h5ad(tmp_path / "a.h5ad")
    nan = np.nan
    np.testing.assert_allclose(atlas.obsm["effect"], [[2.3, 2.7], [nan, nan], [9.3, 9.7]])
    np.testing.assert_allclose(atlas.obsm["effect_q"][0], [0.25, 0.25])
    assert np.isnan(atlas.obsm["effect_high"]).all()
    assert atlas.uns["effect_tracks"]["name"].tolist() == ["T3", "T7"]
    np.testing.assert_allclose(atlas.obsm["log_d2"], [[nan], [2.5], [nan]])
    assert atlas.uns["log_d2_tracks"].index.tolist() == ["1"]
