"""``saers capture``."""

from saers.cli.console import AsJson, Force, RunOut, RunTarget, run_stage


def capture(
    target: RunTarget,
    out: RunOut = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compute activations of a layer over windows of a genome.

    Examples:

      saers capture recipe.toml -o RUN

      saers capture RUN --force
    """
    run_stage("capture", target, out, force=force, as_json=as_json)
