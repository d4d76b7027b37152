# shellcheck shell=bash
# What the scripts share: where things are, headings, and one function per tool that installs it when it is missing.
# Sourced, never run. Every function is idempotent and quick when there is nothing to do.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=$ROOT/.cache
VENV=$CACHE/venv
DEMO_VENV=$CACHE/venv-demo
KAFKA_VERSION=4.3.1
KAFKA_LIBS=$CACHE/kafka-$KAFKA_VERSION/libs
GRPCURL_VERSION=v1.9.3
RDKAFKA_SYS_VERSION=4.10.0
LIBRDKAFKA_SUITE=$CACHE/librdkafka-suite
RDKAFKA_VERSION=0.39.0
RDKAFKA_SUITE=$CACHE/rdkafka-suite
KAFKA_PYTHON_SUITE=$CACHE/kafka-python-suite
# grpcurl's dependencies need at least this Go; older ones (Debian 12 has 1.19) are replaced by GO_TOOLCHAIN.
GO_MINIMUM=1.21
GO_TOOLCHAIN=1.24.13
JAVA_MINIMUM=17

heading() { printf '\n== %s\n' "$*"; }
note() { printf '   %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; } # at_least MINIMUM VERSION

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"
  elif have sudo; then sudo "$@"
  else die "root is needed for: $* (run as root, or install sudo)"; fi
}

# apt_install PACKAGE... : Debian packages, with the package lists fetched at most once per run.
APT_UPDATED=
apt_install() {
  have apt-get || die "missing: $*; only Debian and Ubuntu are set up automatically, install them and run this again"
  note "installing $*"
  if [ -z "$APT_UPDATED" ]; then
    as_root apt-get update -qq || note "apt-get update failed; trying with the lists that are there"
    APT_UPDATED=yes
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
    die "apt-get install $* failed"
}

ensure_rust() {
  have cargo || die "cargo is missing: install Rust 1.88 or newer from https://rustup.rs and run this again"
  cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return
  have rustup || die "rustfmt or clippy is missing; install them beside cargo and run this again"
  note "adding rustfmt and clippy"
  rustup component add rustfmt clippy >/dev/null
}

ensure_build_tools() {
  have cc && have make || apt_install build-essential
}

ensure_kcat() {
  have kcat || apt_install kcat
}

ensure_python() {
  if ! have python3 || ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then apt_install python3; fi
  python3 -c 'import venv, ensurepip' 2>/dev/null || apt_install python3-venv
}

# ensure_venv DIR REQUIREMENTS : a virtual environment that holds exactly the pinned requirements.
ensure_venv() {
  local dir=$1 requirements=$2
  cmp -s "$requirements" "$dir/requirements.installed" && "$dir/bin/python" -c '' 2>/dev/null && return
  ensure_python
  note "installing Python packages into ${dir#"$ROOT"/}"
  rm -rf "$dir"
  mkdir -p "$CACHE"
  python3 -m venv "$dir"
  "$dir/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
  cp "$requirements" "$dir/requirements.installed"
}

java_is_new_enough() {
  have java || return 1
  local version
  version=$(java -version 2>&1 | sed -n 's/^[^"]*version "\([0-9]*\).*/\1/p')
  [ "${version:-0}" -ge "$JAVA_MINIMUM" ]
}

ensure_kafka() {
  # The matrix of clients has a program that is compiled as it starts.
  java_is_new_enough && have javac || apt_install default-jdk-headless
  local pom=$ROOT/tests/clients/java/pom.xml stamp=$KAFKA_LIBS/pom.installed
  cmp -s "$pom" "$stamp" && return
  have mvn || apt_install maven
  note "fetching Apache Kafka $KAFKA_VERSION from Maven Central"
  rm -rf "$KAFKA_LIBS"
  mvn -q -B -ntp -f "$pom" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$KAFKA_LIBS"
  cp "$pom" "$stamp"
}

# The clients of the matrix that are neither Python nor Java: tests/clients/matrix.
ensure_matrix_clients() {
  local matrix=$ROOT/tests/clients/matrix node=$CACHE/node
  have node && have npm || apt_install nodejs npm
  if ! cmp -s "$matrix/package.json" "$node/package.json"; then
    note "installing Node packages into .cache/node"
    rm -rf "$node" && mkdir -p "$node"
    npm install --prefix "$node" --silent --no-audit --no-fund --no-package-lock \
      "kafkajs@$(sed -n 's/.*"kafkajs": "\(.*\)".*/\1/p' "$matrix/package.json")"
    cp "$matrix/package.json" "$node/package.json"
  fi
  note "building rskafka for the matrix of clients"
  cargo build --quiet --release --locked --manifest-path "$matrix/rskafka/Cargo.toml" --target-dir "$CACHE/rskafka-matrix"
}

# Prints the path of a Go that can build grpcurl: the one on PATH, or a toolchain fetched through the Go module proxy.
go_command() {
  if ! have go; then apt_install golang-go >&2; fi
  local version
  version=$(go env GOVERSION | sed 's/^go//')
  if at_least "$GO_MINIMUM" "$version"; then command -v go; return; fi
  local module="golang.org/toolchain@v0.0.1-go$GO_TOOLCHAIN.linux-$(go env GOARCH)" dir
  (cd "$CACHE" && GOFLAGS=-mod=mod go mod download "$module" >&2) || die "could not fetch Go $GO_TOOLCHAIN"
  dir=$(go env GOMODCACHE)/$module
  # Module archives carry no executable bits.
  chmod -R u+w "$dir"
  chmod +x "$dir"/bin/* "$dir"/pkg/tool/*/*
  printf '%s\n' "$dir/bin/go"
}

ensure_grpcurl() {
  [ -x "$CACHE/bin/grpcurl" ] && return
  mkdir -p "$CACHE/bin"
  local go
  go=$(go_command)
  note "building grpcurl $GRPCURL_VERSION"
  GOBIN=$CACHE/bin GOFLAGS= "$go" install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$GRPCURL_VERSION"
}

# crate_sources NAME VERSION : where the sources of a crate are, fetched if need be.
crate_sources() {
  local fetch=$CACHE/fetch-$1
  mkdir -p "$fetch/src" && : >"$fetch/src/lib.rs"
  printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2024"\n[dependencies]\n%s = "=%s"\n[workspace]\n' \
    "$1" "$2" >"$fetch/Cargo.toml"
  dirname "$(cargo metadata --manifest-path "$fetch/Cargo.toml" --format-version 1 |
    python3 -c 'import json, sys; print(next(p["manifest_path"] for p in json.load(sys.stdin)["packages"] if p["name"] == sys.argv[1]))' "$1")"
}

# librdkafka with its own tests, from the sources in the rdkafka-sys crate, built.
ensure_librdkafka_suite() {
  [ -x "$LIBRDKAFKA_SUITE/tests/test-runner" ] && return
  apt_install build-essential libssl-dev libsasl2-dev libzstd-dev liblz4-dev zlib1g-dev libcurl4-openssl-dev rapidjson-dev
  note "fetching librdkafka (rdkafka-sys $RDKAFKA_SYS_VERSION)"
  local sources
  sources=$(crate_sources rdkafka-sys "$RDKAFKA_SYS_VERSION")
  rm -rf "$LIBRDKAFKA_SUITE"
  cp -a "$sources/librdkafka" "$LIBRDKAFKA_SUITE"
  chmod -R u+w "$LIBRDKAFKA_SUITE"
  note "building librdkafka and its tests"
  (cd "$LIBRDKAFKA_SUITE" && bash ./configure --enable-ssl --enable-zstd --enable-lz4-ext --enable-curl && make -j2 libs &&
    make -C tests -j2 build) >"$CACHE/librdkafka-suite.log" 2>&1 ||
    die "librdkafka's tests do not build: see .cache/librdkafka-suite.log"
}

# The crate rdkafka with its tests.
ensure_rdkafka_suite() {
  [ -d "$RDKAFKA_SUITE" ] && return
  apt_install build-essential zlib1g-dev
  note "fetching the crate rdkafka $RDKAFKA_VERSION"
  local sources
  sources=$(crate_sources rdkafka "$RDKAFKA_VERSION")
  cp -a "$sources" "$RDKAFKA_SUITE.part"
  chmod -R u+w "$RDKAFKA_SUITE.part"
  # A workspace of its own: it lies in a folder of ours.
  printf '\n[workspace]\n' >>"$RDKAFKA_SUITE.part/Cargo.toml"
  mv "$RDKAFKA_SUITE.part" "$RDKAFKA_SUITE"
}

# kafka-python's sources, with its tests; the version is the installed one.
ensure_kafka_python_suite() {
  [ -d "$KAFKA_PYTHON_SUITE" ] && return
  local version
  version=$("$VENV/bin/python" -c 'import kafka; print(kafka.__version__)')
  note "fetching kafka-python $version"
  rm -rf "$CACHE/kafka-python-fetch" && mkdir -p "$CACHE/kafka-python-fetch"
  "$VENV/bin/pip" download --quiet --no-deps --no-binary :all: --dest "$CACHE/kafka-python-fetch" "kafka-python==$version" ||
    die "kafka-python's sources cannot be fetched"
  tar -xzf "$CACHE"/kafka-python-fetch/*.tar.gz -C "$CACHE/kafka-python-fetch"
  mv "$CACHE/kafka-python-fetch"/*/ "$KAFKA_PYTHON_SUITE"
}

# Where cargo puts what it builds, CARGO_TARGET_DIR included.
target_dir() { printf '%s\n' "${CARGO_TARGET_DIR:-$ROOT/target}"; }
