"""``saers seqlets``."""

from saers.cli.console import AsJson, Force, RunOut, RunTarget, run_stage


def seqlets(
    target: RunTarget,
    out: RunOut = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Cut the sequence out at the strongest positions, and select and name the features.

    Examples:

      saers seqlets RUN

      saers seqlets recipe.toml -o RUN
    """
    run_stage("seqlets", target, out, force=force, as_json=as_json)
