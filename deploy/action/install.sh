#!/usr/bin/env bash
# Downloads a release of kube-devops for this machine, compares it with its checksum, and puts it on the PATH of later steps.
# Reads VERSION and BASE_URL; GitHub Actions sets RUNNER_TEMP and GITHUB_PATH.
set -euo pipefail

fail() {
	echo "::error::$*" >&2
	exit 2
}

[[ $VERSION =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] || fail "version '$VERSION' is not a release such as v1.2.3"

case $(uname -s) in
Linux) os=linux ;;
Darwin) os=darwin ;;
MINGW* | MSYS* | CYGWIN*) os=windows ;;
*) fail "there is no release for $(uname -s)" ;;
esac
case $(uname -m) in
x86_64 | amd64) arch=amd64 ;;
aarch64 | arm64) arch=arm64 ;;
*) fail "there is no release for $(uname -m)" ;;
esac

folder=$RUNNER_TEMP/kube-devops-$VERSION
archive=kube-devops_${VERSION}_${os}_$arch.tar.gz
[[ $os == windows ]] && archive=${archive%.tar.gz}.zip

download() {
	curl --fail --silent --show-error --location --retry 3 --output "$folder/$1" "$BASE_URL/$VERSION/$1" || fail "cannot download $BASE_URL/$VERSION/$1"
}

mkdir -p "$folder"
download checksums.txt
download "$archive"
(
	cd "$folder"
	# The entry of this archive alone. sha256sum is missing on macOS, shasum on some Linux images.
	grep -F "  $archive" checksums.txt >expected.txt || fail "checksums.txt has no entry for $archive"
	if command -v sha256sum >/dev/null; then sha256sum -c expected.txt; else shasum -a 256 -c expected.txt; fi >/dev/null || fail "$archive does not match its checksum"
	if [[ $os == windows ]]; then unzip -oq "$archive"; else tar -xzf "$archive"; fi
)
echo "$folder" >>"$GITHUB_PATH"
