#!/usr/bin/env bash
# Scans manifests: annotations go to the log of the step, a summary to the page of the run. The exit code is that of the scan.
# Reads PATHS, POLICY, FAIL_ON, FAIL_UNDER, BASELINE, CONFIG, ARGS and SARIF; GitHub Actions sets GITHUB_STEP_SUMMARY.
set -euo pipefail

# Words with spaces between; no patterns of file names.
set -f
read -r -a paths <<<"$PATHS"
read -r -a args <<<"$ARGS"

args+=(--policy "$POLICY" --config "$CONFIG" -o github -o "markdown=$GITHUB_STEP_SUMMARY")
[[ -z $FAIL_ON ]] || args+=(--fail-on "$FAIL_ON")
[[ -z $FAIL_UNDER ]] || args+=(--fail-under "$FAIL_UNDER")
[[ -z $BASELINE ]] || args+=(--baseline "$BASELINE")
[[ -z $SARIF ]] || args+=(-o "sarif=$SARIF")

# From the folder of the repository, whose files the annotations name. `--` keeps a path from being read as a flag.
exec kube-devops scan "${args[@]}" -- "${paths[@]}"
