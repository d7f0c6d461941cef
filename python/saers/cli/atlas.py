"""``saers atlas``."""

from saers.cli.console import AsJson, Force, RunOut, RunTarget, run_stage


def atlas(
    target: RunTarget,
    out: RunOut = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Gather all tables of a run into one AnnData and one page for the browser.

    Examples:

      saers atlas recipe.toml -o RUN

      saers atlas RUN --force
    """
    run_stage("atlas", target, out, force=force, as_json=as_json)
